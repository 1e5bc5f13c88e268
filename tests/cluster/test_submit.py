"""Jobs on a real Ray cluster of two nodes that asks for a token: submit from outside, follow, stop, queue."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from orchestrator.session import processes_with

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
ROWS = "size,colour,label\n" + "".join(
    f"{size},{'red' if size % 3 else 'blue'},{'big' if size > 20 else 'small'}\n" for size in range(1, 42)
)
MODELS = """
import keras

def build():
    return keras.Sequential([keras.layers.Dense(1, activation="sigmoid")])
"""


def free_ports(count: int) -> list[int]:
    """Ports above the ones that Ray keeps for its workers (10002 to 19999)."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port > 20000 and port not in found:
            found.append(port)
    return found


@pytest.fixture(scope="module")
def here() -> Iterator[SimpleNamespace]:
    """A user's machine: a home, a job's folder, and a cluster of two nodes with one CPU each."""
    with tempfile.TemporaryDirectory(prefix="rm-") as name:  # short, for the paths of Ray's sockets
        folder = Path(name)
        variables = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MLFLOW_"))}
        variables |= {"HOME": name, "TMPDIR": name, "PYTHONPATH": str(ROOT)}
        job = {
            "name": "small",
            "data": {
                "csv": str(folder / "small.csv"),
                "features": {"size": "number", "colour": "category"},
                "target": {"column": "label"},
            },
            "model": {"function": "models:build"},
            "train": {"epochs": 2, "global_batch_rows": 8, "optimizer": "adam", "loss": "binary_crossentropy"},
            "cluster": {"workers": 2},
            "folder": str(folder / "runs"),
        }
        (folder / "small.csv").write_text(ROWS)
        (folder / "job").mkdir()
        (folder / "job" / "job.yaml").write_text(yaml.safe_dump(job))
        (folder / "job" / "models.py").write_text(MODELS)
        (folder / "job" / ".env").write_text("PASSWORD=hunter22")

        def ringmaster(*arguments: str, code: int = 0) -> str:
            command = [sys.executable, "-m", "orchestrator", *arguments]
            done = subprocess.run(
                command, cwd=folder / "job", env=variables, capture_output=True, text=True, check=False, timeout=300
            )
            assert done.returncode == code, done.stderr
            return done.stdout if code == 0 else done.stderr

        port, dashboard = free_ports(2)
        options = ("--nodes", "2", "--cpus-per-node", "1", "--port", str(port), "--dashboard-port", str(dashboard))
        try:
            ringmaster("cluster", "up", *options)
            yield SimpleNamespace(
                run=ringmaster,
                url=f"http://127.0.0.1:{dashboard}",
                folder=folder,
                variables=variables,
                options=options,
            )
        finally:
            ringmaster("cluster", "down")
        assert processes_with("RINGMASTER_CLUSTER", str(folder / f"ringmaster-cluster-{os.getuid()}")) == []


def follow(here: SimpleNamespace, id: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "logs", id, "-f", "--folder", str(here.folder / "runs")],
        cwd=here.folder / "job",
        env=here.variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def status(here: SimpleNamespace, id: str) -> dict:
    return json.loads(here.run("status", id, "--folder", str(here.folder / "runs"), "--json"))


def until(state: Callable[[], bool]) -> None:
    while not state():
        pass


def test_the_token_is_the_owners_alone_and_needed(here: SimpleNamespace) -> None:
    path = here.folder / ".ray" / "auth_token"
    assert path.stat().st_mode & 0o777 == 0o600
    token = path.read_text()
    place = here.folder / f"ringmaster-cluster-{os.getuid()}"
    logs = [file.read_text(errors="replace") for file in place.rglob("*") if file.suffix in {".log", ".err", ".out"}]
    assert logs
    assert not [log for log in logs if token in log]
    variables = {**here.variables, "RAY_AUTH_TOKEN": "b" * 64}
    command = [sys.executable, "-m", "orchestrator", "jobs", "--address", here.url]
    refused = subprocess.run(command, env=variables, cwd=here.folder, capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stderr.startswith(f"error: {here.url} refuses the token; it is read")) == (
        1,
        True,
    )
    assert here.run("cluster", "up", *here.options, code=1).startswith(
        "error: a cluster runs already, http://127.0.0.1:"
    )


def test_a_job_that_does_not_fit_is_not_sent(here: SimpleNamespace) -> None:
    error = here.run("submit", "job.yaml", "cluster.workers=3", "--address", here.url, code=1)
    assert error == (
        "error: cluster.workers=3 with 1 CPU each do not fit: the cluster has 2 CPU on 2 node(s), 1 CPU too few; use "
        "cluster.workers=2, or add nodes\n"
    )
    planned = here.run("plan", "job.yaml", "--address", here.url)
    assert f"cluster {here.url}: 2 node(s), 2 CPU (2 free now); it holds 2 worker(s)" in planned


@pytest.mark.soak
def test_two_jobs_one_queued_one_stopped_in_the_middle(here: SimpleNamespace) -> None:
    first = here.run("submit", "job.yaml", "train.epochs=100000", "--address", here.url, "--id", "first").strip()
    following = follow(here, first)
    lines = []
    for line in following.stdout:
        lines.append(line)
        if "epoch" in line and "loss" in line:
            break
    assert [line for line in lines if "rank 1 runs on" in line]
    following.send_signal(signal.SIGINT)
    _, err = following.communicate(timeout=60)
    assert following.returncode == 130
    assert err.startswith(
        "first runs on; come back with: ringmaster logs first -f --to ray --address http://127.0.0.1:"
    )

    second = here.run("submit", "job.yaml", "--address", here.url).strip()
    assert second.startswith("small-")
    until(lambda: status(here, second)["state"] == "QUEUED")
    assert status(here, second)["reason"] == "it waits for room: 2 x (1 CPU)"
    assert status(here, first)["state"] == "RUNNING"

    runs = ("--folder", str(here.folder / "runs"))
    assert here.run("stop", first, *runs) == "first was stopped\n"
    here.run("wait", first, *runs, code=130)
    assert "interrupted; what was started is stopped" in here.run("logs", first, *runs)
    following = follow(here, second)
    output, _ = following.communicate(timeout=200)
    assert following.returncode == 0
    assert "epoch 2/2" in output
    assert here.run("wait", second, *runs) == f"{second} SUCCEEDED\n"
    listed = json.loads(here.run("jobs", *runs, "--json"))["jobs"]
    assert [(one["id"], one["state"], one["exit_code"]) for one in listed] == [
        (second, "SUCCEEDED", 0),
        ("first", "STOPPED", None),
    ]
    assert _run_states(here.folder / "runs") == ["FINISHED", "KILLED"]


def test_an_error_of_the_job_is_its_reason_and_exit_code(here: SimpleNamespace) -> None:
    lost = here.run("submit", "job.yaml", "data.csv=/no/such.csv", "--address", here.url, "--id", "lost").strip()
    runs = ("--folder", str(here.folder / "runs"))
    here.run("wait", lost, *runs, code=1)
    assert "/no/such.csv" in status(here, lost)["reason"]
    here.run("submit", "job.yaml", "--address", here.url, "--python", "/no/python", "--id", "other")
    here.run("wait", "other", *runs, code=127)
    assert status(here, "other")["reason"] == (
        "/no/python of the cluster does not have Ringmaster; name the interpreter that has it with --python"
    )
    taken = here.run("submit", "job.yaml", "--address", here.url, "--id", "other", code=1)
    assert taken == f"error: the id other is taken at {here.url}; choose another with --id, or leave it out\n"


def _run_states(folder: Path) -> list[str]:
    """States of the MLflow runs, the last first."""
    code = (
        f"import mlflow; mlflow.set_tracking_uri('sqlite:///{folder}/mlflow.db'); "
        "print(*mlflow.search_runs(search_all_experiments=True)['status'])"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
