"""The hook of the head's pod ends the training command of its container, and nothing else."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from configs.job import JobSpec
from orchestrator.submit import stop_driver

ROOT = Path(__file__).parents[3]
DRIVER = """
import signal, sys
from pathlib import Path

def on_signal(number, frame):
    Path("signals").open("a").write("SIGTERM ")
    if "stubborn" not in sys.argv:
        sys.exit(130)

signal.signal(signal.SIGTERM, signal.SIG_DFL if "closing" in sys.argv else on_signal)
print("ready", flush=True)
while True:
    signal.pause()
"""


@contextmanager
def driver(folder: Path, job_file: str, *more: str) -> Iterator[subprocess.Popen[str]]:
    """A process with the command line of `entrypoint` that notes every SIGTERM in the file `signals`."""
    (folder / "orchestrator").mkdir(exist_ok=True)
    (folder / "orchestrator" / "__init__.py").touch()
    (folder / "orchestrator" / "__main__.py").write_text(DRIVER)
    command = [sys.executable, "-m", "orchestrator", "train", job_file, "cluster.address=auto", *more]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def hook(job_file: Path, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "orchestrator.submit.stop_driver", str(job_file), str(seconds)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_without_a_driver_there_is_nothing_to_do(tmp_path: Path) -> None:
    done = hook(tmp_path / "job.yaml")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_driver_of_this_file_gets_one_signal_and_others_none(tmp_path: Path) -> None:
    with driver(tmp_path, str(tmp_path / "job.yaml")) as ours, driver(tmp_path, str(tmp_path / "other.yaml")) as other:
        done = hook(tmp_path / "job.yaml")
        assert (done.returncode, done.stderr) == (0, "")
        assert ours.wait(timeout=60) == 130
        assert other.poll() is None
    assert (tmp_path / "signals").read_text() == "SIGTERM "


def test_a_driver_that_does_not_end_is_named(tmp_path: Path) -> None:
    with driver(tmp_path, str(tmp_path / "job.yaml"), "stubborn") as process:
        done = hook(tmp_path / "job.yaml", 0.5)
        assert process.poll() is None
    expected = f"process {process.pid} has not ended within 0.5 s; its MLflow run may stay open\n"
    assert (done.returncode, done.stderr) == (1, expected)
    assert (tmp_path / "signals").read_text() == "SIGTERM "


def test_a_driver_that_was_told_already_is_waited_for(tmp_path: Path) -> None:
    """While Ray shuts down SIGTERM has its default again, which would end the process in the middle of closing."""
    with driver(tmp_path, str(tmp_path / "job.yaml"), "closing") as process:
        done = hook(tmp_path / "job.yaml", 0.5)
        assert (done.returncode, process.poll()) == (1, None)


def test_a_driver_that_ends_by_itself_meanwhile(tmp_path: Path) -> None:
    with driver(tmp_path, str(tmp_path / "job.yaml")) as process:
        found = stop_driver.drivers(str(tmp_path / "job.yaml"))
        process.terminate()
        process.wait(timeout=60)
    assert [one.pid for one in found] == [process.pid]
    assert stop_driver.stop(found, timeout_s=1) == []


@pytest.mark.cluster
def test_a_training_has_closed_its_run_when_the_hook_returns(
    small_job: Callable[..., JobSpec], tmp_path: Path
) -> None:
    """As when KubeRay stops the job and deletes its cluster: the first SIGTERM is Ray's, the second the hook's."""
    small_job()
    job_file = tmp_path / "job.yaml"
    command = [sys.executable, "-m", "orchestrator", "train", str(job_file), "train.epochs=100000"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert any("epoch" in line and "loss" in line for line in process.stderr)
        process.terminate()
        done = hook(job_file)
        ended = psutil.pid_exists(process.pid) and psutil.Process(process.pid).status()
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (done.returncode, done.stderr) == (0, "")
    assert ended == psutil.STATUS_ZOMBIE
    assert (process.returncode, err.splitlines()[-1]) == (130, "interrupted; what was started is stopped")
    with closing(sqlite3.connect(tmp_path / "ringmaster-runs" / "mlflow.db")) as database:
        assert database.execute("select status from runs").fetchall() == [("KILLED",)]
