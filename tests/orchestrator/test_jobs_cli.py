"""The verbs of jobs as a user types them, against a server that speaks Ray's Jobs API."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from configs.job import JobSpec

Make = Callable[..., JobSpec]
Ask = Callable[..., SimpleNamespace]
There = tuple[Any, str]
PAGE = "http://mlflow:5000/#/experiments/1/runs/" + "b" * 32


def test_a_job_is_found_again_by_its_id_alone(ask: Ask, dashboard: There, small_job: Make, tmp_path: Path) -> None:
    small_job()
    (tmp_path / "models.py").write_text("x = 1\n")
    fake, address = dashboard
    done = ask("submit", "job.yaml", "data.csv=/data/a.csv", "--to", "ray", "--address", address)
    id = done.out.strip()
    assert (done.code, done.err.splitlines()) == (
        0,
        [
            f"submitted small with 1 Python file(s): --to ray --address {address}",
            f"follow it: ringmaster logs {id} -f",
        ],
    )
    assert id.startswith("small-")
    assert list(fake.jobs) == [id]
    fake.jobs[id] |= {"status": "FAILED", "driver_exit_code": 3, "message": "x\nerror: no rows\n"}
    fake.output[id] = f"MLflow run: {PAGE}\n\ttabs stay\n"
    assert ask("logs", id).out == f"MLflow run: {PAGE}\n\ttabs stay\n"
    shown = ask("status", id)
    assert (shown.code, shown.out) == (0, f"{id} FAILED: no rows\nMLflow run: {PAGE}\n")
    assert ask("wait", id).code == 3
    assert ask("stop", id).out == f"{id} had ended already (failed); nothing was stopped\nMLflow run: {PAGE}\n"
    listed = json.loads(ask("jobs", "--address", address, "--json").out)["jobs"]
    assert listed == [
        {
            "id": id,
            "state": "FAILED",
            "reason": "no rows",
            "submitted": "2023-11-14T22:13:20+00:00",
            "mlflow_url": PAGE,
            "exit_code": 3,
        }
    ]


def test_json_is_one_object(ask: Ask, dashboard: There, small_job: Make) -> None:
    small_job()
    fake, address = dashboard
    done = ask("submit", "job.yaml", "data.csv=/a.csv", "--address", address, "--id", "mine", "--json")
    assert json.loads(done.out) == {
        "id": "mine",
        "to": "ray",
        "address": address,
        "namespace": None,
        "context": None,
        "files": [],
    }
    fake.output["mine"] = "one\ntwo\n"
    assert json.loads(ask("logs", "mine", "--json").out) == {"id": "mine", "lines": ["one", "two"]}
    stopped = {"id": "mine", "message": "mine was stopped", "mlflow_url": None}
    assert json.loads(ask("stop", "mine", "--json").out) == stopped
    waited = ask("wait", "mine", "--json")
    assert (waited.code, json.loads(waited.out)["state"]) == (130, "STOPPED")
    assert json.loads(ask("status", "mine", "--json").out)["exit_code"] is None


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["submit", "job.yaml"], "say where to: --to ray --address http://head:8265, or --to kuberay"),
        (["submit", "job.yaml", "--to", "ray"], "--to ray needs --address, that of the cluster's dashboard"),
        (["submit", "job.yaml", "--to", "kuberay", "--address", "x:1"], "--address goes with --to ray; Kubernetes is"),
        (
            ["submit", "job.yaml", "--address", "x:1", "--namespace", "a"],
            "--namespace and --context go with --to kube",
        ),
        (
            ["submit", "job.yaml", "--address", "x:1", "--queue", "a"],
            "--queue goes with --to kuberay; on a Ray cluster",
        ),
        (["submit", "job.yaml", "--to", "kuberay", "--python", "p"], "--python goes with --to ray; set kubernetes.py"),
        (
            ["status", "small-1f"],
            "it is not known where small-1f runs: nothing was submitted from ringmaster-runs; name",
        ),
        (["jobs"], "it is not known which cluster to ask: nothing was submitted from ringmaster-runs; name the place"),
        (["jobs", "--address", "127.0.0.1:1"], "no Ray dashboard answers at http://127.0.0.1:1 (Connection refused)"),
    ],
)
def test_what_is_missing_or_does_not_go_together(
    ask: Ask, small_job: Make, monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: str
) -> None:
    small_job()
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    done = ask(*arguments)
    assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1)
    assert done.err.startswith(f"error: {expected}")


def test_wait_ends_with_a_code_of_its_own_where_the_job_cannot_be_asked_for(ask: Ask, dashboard: There) -> None:
    """1 would be taken for the exit code of the job."""
    _, address = dashboard
    for arguments in (("other", "--address", address), ("other", "--address", "127.0.0.1:1")):
        done = ask("wait", *arguments)
        assert (done.code, done.out, len(done.err.splitlines())) == (75, "", 1)
    assert done.err.startswith("error: no Ray dashboard answers at http://127.0.0.1:1")


def test_an_id_that_cannot_be_typed_is_refused(ask: Ask, dashboard: There, small_job: Make) -> None:
    small_job()
    done = ask("submit", "job.yaml", "data.csv=/a.csv", "--address", dashboard[1], "--id", "a/b")
    assert (done.code, done.err) == (1, "error: --id a/b: expected letters, digits, '-', '_' and '.'\n")


def test_the_address_may_stand_in_the_environment(
    ask: Ask, dashboard: There, small_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_job()
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", dashboard[1])
    assert ask("submit", "job.yaml", "data.csv=/a.csv", "--id", "mine").code == 0
    assert "mine" in ask("jobs").out


def test_ctrl_c_leaves_the_job_running_and_says_how_to_come_back(dashboard: There, tmp_path: Path) -> None:
    fake, address = dashboard
    fake.add("mine", "RUNNING")
    fake.output["mine"] = "one\n"
    fake.endless = True
    for verb, option in (("logs", " -f"), ("wait", "")):
        fake.asked = 0
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator", verb, "mine", *option.split(), "--address", address],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        if verb == "logs":
            assert process.stdout.readline() == "one\n"
        else:
            while fake.asked < 3:
                assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        place = f"--to ray --address {address}"
        expected = (
            f"mine runs on; come back with: ringmaster {verb} mine{option} {place}; end it with: ringmaster stop "
        )
        assert (process.returncode, out, err) == (130, "", f"{expected}mine {place}\n")
    assert fake.jobs["mine"]["status"] == "RUNNING"
