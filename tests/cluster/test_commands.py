"""The commands as a user types them, in processes of their own: output, exit code, and what is left behind."""

import csv
import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import psutil
import pytest
import requests

from configs.job import JobSpec
from orchestrator.session import is_alive

pytestmark = pytest.mark.cluster

Make = Callable[..., JobSpec]
RINGMASTER = [sys.executable, "-m", "orchestrator"]


def ringmaster(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*RINGMASTER, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def last_json(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 1, "with --json nothing else goes to standard output"
    return json.loads(lines[0])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """Start a command that can be interrupted, also where these tests run in the background of a shell."""
    return subprocess.Popen(
        [*RINGMASTER, *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@contextmanager
def until_interrupted(*arguments: str, cwd: Path) -> Iterator[dict[str, Any]]:
    """Run a command that serves until Ctrl-C; yields what it printed with --json."""
    process = start(*arguments, "--json", cwd=cwd)
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    try:
        yield json.loads(line)
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, ""), err


def test_demo_trains_serves_and_leaves_nothing_running(tmp_path: Path) -> None:
    before = set(Path(tempfile.gettempdir()).glob("ringmaster-*"))
    shown = last_json(ringmaster("demo", "--json", cwd=tmp_path))
    assert shown["metrics"]["test_accuracy"] >= 0.97
    assert shown["workers"] == 2
    assert len(shown["weights_sha256"]) == 64
    assert len(shown["answers"]) == 10
    assert sum(answer == truth for answer, truth in zip(shown["answers"], shown["truth"], strict=True)) >= 9
    with pytest.raises(requests.ConnectionError):
        requests.get("http://127.0.0.1:8000/health", timeout=5)
    assert [path.name for path in tmp_path.iterdir()] == ["ringmaster-runs"]
    assert set(Path(tempfile.gettempdir()).glob("ringmaster-*")) <= before


def test_demo_prints_our_lines_only(tmp_path: Path) -> None:
    done = ringmaster("demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    starts = ("Digits", "  loading: indexed", "  starting Ray", "  rank", "  epoch", "Serving")
    assert [line for line in done.stderr.splitlines() if not line.startswith(starts)] == []
    assert "\x1b" not in done.stderr + done.stdout
    assert "registered digits@champion (version 1)" in done.stdout
    assert re.search(r"see it in MLflow: \S*ringmaster dashboard$", done.stdout, re.MULTILINE)


def test_titanic_from_csv_to_submission_endpoint_and_dashboard(shared_data: Path, tmp_path: Path) -> None:
    titanic = shared_data / "titanic"
    trained = last_json(ringmaster("train", "titanic", f"data.csv={titanic / 'train.csv'}", "--json", cwd=tmp_path))
    assert trained["metrics"]["val_accuracy"] >= 0.78
    assert (trained["model"], trained["version"], trained["epochs"], trained["workers"]) == ("titanic", 1, 20, 2)

    predict = ("predict", "titanic@champion", "--input", str(titanic / "test.csv"), "--output", "submission.csv")
    written = last_json(ringmaster(*predict, "--json", cwd=tmp_path))
    assert written["rows"] == 418
    with (tmp_path / "submission.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["PassengerId", "Survived"]
    assert [row[0] for row in rows[1:]] == [str(number) for number in range(892, 1310)]
    assert {row[1] for row in rows[1:]} == {"0", "1"}
    women_survive = pd.read_csv(titanic / "gender_submission.csv")["Survived"]
    assert (women_survive.astype(str) == [row[1] for row in rows[1:]]).mean() > 0.8

    raw = pd.read_csv(titanic / "test.csv").astype(object)
    body = {"rows": json.loads(raw.to_json(orient="records"))}
    with until_interrupted("deploy", "titanic@champion", "--port", str(free_port()), cwd=tmp_path) as live:
        answer = requests.post(f"{live['url']}/predict", json=body, timeout=60).json()
        assert [str(label) for label in answer["predictions"]] == [row[1] for row in rows[1:]]
        refused = requests.post(f"{live['url']}/predict", json={"rows": [{"Pclass": "first"}]}, timeout=60)
        assert (refused.status_code, refused.json()["detail"]) == (
            422,
            "row 1 lacks 'Sex'; give null where the value is not known",
        )
        assert requests.get(f"{live['url']}/health", timeout=60).json() == {
            "status": "ok",
            "model": "titanic",
            "version": 1,
        }

    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'ringmaster-runs' / 'mlflow.db'}")
    model = mlflow.pyfunc.load_model("models:/titanic@champion")
    frame = pd.read_csv(titanic / "test.csv")[[*model.metadata.get_input_schema().input_names()]]
    frame = frame.astype({name: float for name in ("Pclass", "Age", "SibSp", "Parch", "Fare")})
    assert model.predict(frame).astype(str).tolist() == [row[1] for row in rows[1:]]

    with until_interrupted("dashboard", "--port", str(free_port()), cwd=tmp_path) as live:
        page = requests.get(live["url"], timeout=30)
        assert (page.status_code, "MLflow" in page.text) == (200, True)
        runs = requests.post(
            f"{live['url']}/api/2.0/mlflow/runs/search", json={"experiment_ids": ["1"]}, timeout=30
        ).json()["runs"]
        assert runs[0]["info"]["run_id"] == trained["run_id"]


def test_interrupted_training_stops_what_it_started(small_job: Make, tmp_path: Path) -> None:
    small_job()
    process = start("train", "job.yaml", "train.epochs=100000", cwd=tmp_path)
    pids = []
    for line in process.stderr:
        if "runs on" in line:
            pids.append(int(line.rpartition("process ")[2].rstrip(")\n")))
        if "epoch" in line and "loss" in line:
            break
    process.send_signal(signal.SIGINT)
    try:
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err.splitlines()[-1] == "interrupted; what was started is stopped"
    assert len(pids) == 2
    assert [one for one in psutil.process_iter() if one.pid in pids and is_alive(one)] == []
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'ringmaster-runs' / 'mlflow.db'}")
    assert mlflow.search_runs(search_all_experiments=True)["status"].tolist() == ["KILLED"]


def test_errors_are_one_line_and_exit_1(small_job: Make, tmp_path: Path) -> None:
    small_job()
    done = ringmaster("train", "job.yaml", "train.epoch=3", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: job.yaml: train: unknown key 'epoch'; did you mean 'epochs'?")
    assert len(done.stderr.splitlines()) == 1
    debugged = ringmaster("train", "job.yaml", "train.epoch=3", "--debug", cwd=tmp_path)
    assert "Traceback (most recent call last)" in debugged.stderr

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        (tmp_path / "ringmaster-runs").mkdir()
        for command in (("deploy", "small@champion", "--port", port), ("dashboard", "--port", port)):
            done = ringmaster(*command, "--tracking-uri", f"sqlite:///{tmp_path}/new.db", cwd=tmp_path)
            assert done.returncode == 1
            assert len(done.stderr.splitlines()) == 1
