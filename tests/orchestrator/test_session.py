"""Whether the cluster can hold the job, said before the workers start."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import ray

from configs.cluster import ClusterSpec
from configs.errors import ClusterError
from orchestrator import session
from orchestrator.session import (
    RAY_ENVIRONMENT,
    end_processes,
    is_alive,
    keep_logs,
    processes_with,
    ray_session,
    require_resources,
    worker_log,
)


@pytest.mark.parametrize(
    ("cluster", "there", "expected"),
    [
        (
            {"workers": 4},
            {"CPU": 2.0},
            "cluster.workers=4 with cpus_per_worker=1 needs 4 CPUs, but this machine has 2; use cluster.workers=2",
        ),
        (
            {"workers": 3, "cpus_per_worker": 2, "address": "head:6379"},
            {"CPU": 5.0},
            "cluster.workers=3 with cpus_per_worker=2 needs 6 CPUs, but the cluster has 5; use cluster.workers=2",
        ),
        (
            {"workers": 1, "cpus_per_worker": 8},
            {"CPU": 2.0},
            "cluster.workers=1 with cpus_per_worker=8 needs 8 CPUs, but this machine has 2; "
            "use machines with more CPUs, or a smaller cluster.cpus_per_worker",
        ),
        (
            {"workers": 2, "gpus_per_worker": 1},
            {"CPU": 8.0, "GPU": 1.0},
            "cluster.workers=2 with gpus_per_worker=1 needs 2 GPUs, but this machine has 1; use cluster.workers=1",
        ),
        (
            {"workers": 2, "gpus_per_worker": 1},
            {"CPU": 8.0},
            "cluster.workers=2 with gpus_per_worker=1 needs 2 GPUs, but this machine has 0; "
            "use machines with more GPUs, or cluster.gpus_per_worker=0",
        ),
    ],
)
def test_a_cluster_that_is_too_small(
    monkeypatch: pytest.MonkeyPatch, cluster: dict[str, object], there: dict[str, float], expected: str
) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: there)
    with pytest.raises(ClusterError) as caught:
        require_resources(ClusterSpec.model_validate(cluster))
    assert str(caught.value) == expected


def test_a_cluster_that_is_just_large_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 4.0, "GPU": 2.0})
    require_resources(ClusterSpec(workers=2, cpus_per_worker=2, gpus_per_worker=1))


def test_without_a_private_cluster_there_is_no_worker_log() -> None:
    assert worker_log(1) == ""


def test_a_full_disk_does_not_hide_the_error_that_it_caused(tmp_path: Path) -> None:
    session = tmp_path / "ray" / "session_2026" / "logs"
    session.mkdir(parents=True)
    (session / "worker-1.err").write_text("what it said")
    (tmp_path / "file").write_text("")
    keep_logs(tmp_path / "ray", tmp_path / "file" / "logs")
    keep_logs(tmp_path / "ray", tmp_path / "logs")
    assert (tmp_path / "logs" / "worker-1.err").read_text() == "what it said"


def test_sigterm_still_does_what_the_command_line_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ray.init sets a handler of its own, and the run would end as a failure instead of an interruption.

    ray.shutdown sets the default, and a second signal would end the process before its run is closed.
    """

    def init(**_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def shutdown() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    for name, value in RAY_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)  # so that they are taken back
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", shutdown)
    try:
        with ray_session(ClusterSpec(), data_bytes=0, logs=tmp_path, verbose=False):
            assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_process_that_does_not_stop_is_killed_and_a_zombie_counts_as_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "END_TIMEOUT_S", 0.2)
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"],
        env={**os.environ, "RINGMASTER_TEST": "ours"},
        stdout=subprocess.PIPE,
    )
    child.stdout.readline()
    (process,) = processes_with("RINGMASTER_TEST", "ours")
    assert (process.pid, is_alive(process)) == (child.pid, True)
    end_processes([process])
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    assert not is_alive(process)


def test_a_zombie_is_not_waited_for() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    process = psutil.Process(child.pid)
    while process.status() != psutil.STATUS_ZOMBIE:
        pass
    assert not is_alive(process)
    end_processes([process])
    assert child.wait(60) == 0


BUSY = "The current node timed out during startup. This could happen because some of the raylet failed to startup."


@pytest.mark.parametrize(
    ("failures", "attempts", "expected"),
    [
        ([Exception(BUSY)], 2, None),
        (
            [Exception(BUSY), Exception(BUSY)],
            2,
            f"Ray did not start on this machine: {BUSY}. Look at its memory, disk",
        ),
        (
            [OSError(28, "No space left on device")],
            1,
            "Ray did not start on this machine: [Errno 28] No space left on",
        ),
    ],
)
def test_a_ray_that_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: list[Exception], attempts: int, expected: str | None
) -> None:
    """Ray gives its own node 30 s, whatever the machine does meanwhile, and raises a bare Exception then."""
    tried = []

    def init(**_: object) -> None:
        tried.append(1)
        if len(tried) <= len(failures):
            raise failures[len(tried) - 1]

    for name, value in RAY_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)  # so that they are taken back
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with suppress(ClusterError) if expected is None else pytest.raises(ClusterError) as caught:
        with ray_session(ClusterSpec(), data_bytes=0, logs=tmp_path, verbose=False):
            assert expected is None
    assert len(tried) == attempts
    assert expected is None or str(caught.value).startswith(expected)
