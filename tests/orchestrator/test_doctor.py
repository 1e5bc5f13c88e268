"""What `ringmaster doctor` finds, on machines that are made up."""

import importlib.metadata
import os
import shutil
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from configs.errors import ClusterError
from orchestrator import doctor, limits
from orchestrator.doctor import Finding
from orchestrator.submit.room import this_machine


def test_a_horovod_that_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_probe", lambda code: (0, "size 1, gloo True"))
    assert doctor._horovod() == Finding("horovod extension", "ok", "size 1, gloo True")


def test_a_horovod_that_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_probe", lambda code: (1, "ImportError: undefined symbol"))
    assert doctor._horovod() == Finding(
        "horovod extension",
        "wrong",
        "does not load: ImportError: undefined symbol",
        "make setup builds it anew; it needs a C++ compiler",
    )


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("print('one'); print('two')", (0, "two")),
        ("raise SystemExit(3)", (3, "ended with code 3")),
        ("raise ValueError('x')", (1, "ValueError: x")),
    ],
)
def test_a_probe_is_a_process_of_its_own(code: str, expected: tuple[int, str]) -> None:
    assert doctor._probe(code) == expected


def test_a_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name in {"horovod", "tensorflow", "tensorflow-cpu"}:
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    found = {finding.what: (finding.level, finding.found, finding.fix) for finding in doctor._libraries()}
    fix = "make setup, or: uv pip install ./packaging/horovod '.[train-cpu]'"
    assert found["keras"] == ("ok", "1.0", "")
    assert found["horovod"] == ("wrong", "not installed", fix)
    assert found["tensorflow"] == ("wrong", "not installed", fix)


@pytest.mark.parametrize(
    ("version", "level", "fix"),
    [
        ((3, 11), "ok", ""),
        ((3, 12), "ok", ""),
        ((3, 10), "wrong", "use Python 3.11 or 3.12"),
        ((3, 13), "wrong", "use Python 3.11 or 3.12"),
    ],
)
def test_python(monkeypatch: pytest.MonkeyPatch, version: tuple[int, int], level: str, fix: str) -> None:
    monkeypatch.setattr(doctor, "sys", SimpleNamespace(version_info=(*version, 0), executable="/usr/bin/python3"))
    monkeypatch.setattr(doctor.platform, "python_version", lambda: "3.x")
    assert next(iter(doctor._python())) == Finding("python", level, "3.x at /usr/bin/python3", fix)  # type: ignore[arg-type]


def test_a_machine_without_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert list(doctor._gpus()) == [
        Finding("gpus", "ok", "none on this machine (nvidia-smi is not there); workers run on CPUs")
    ]


@pytest.mark.parametrize(
    ("probe", "expected"),
    [
        ((0, "1"), Finding("gpus in tensorflow", "ok", "1")),
        ((0, "0"), Finding("gpus in tensorflow", "note", "0", "install ringmaster[train-gpu] for workers on GPUs")),
        (
            (1, "x"),
            Finding("gpus in tensorflow", "note", "not loaded", "install ringmaster[train-gpu] for workers on GPUs"),
        ),
    ],
)
def test_a_machine_with_a_gpu(monkeypatch: pytest.MonkeyPatch, probe: tuple[int, str], expected: Finding) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(doctor, "gpu_names", lambda: ["H, 80 GiB"])
    monkeypatch.setattr(doctor, "_probe", lambda code: probe)
    assert list(doctor._gpus()) == [Finding("gpus", "ok", "H, 80 GiB"), expected]


def test_a_driver_that_hangs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(limits, "GPU_ANSWER_S", 0.2)
    assert list(doctor._gpus()) == [
        Finding(
            "gpus",
            "wrong",
            "nvidia-smi does not answer within 0.2 s",
            "The GPU driver hangs: reload it, or restart the machine",
        )
    ]
    with pytest.raises(ClusterError, match=r"^nvidia-smi does not answer within 0\.2 s\. The GPU driver hangs"):
        this_machine()


def test_what_takes_too_long_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PROBE_TIMEOUT_S", 0.2)
    assert doctor._probe("import time; time.sleep(60)") == (1, "did not answer within 0.2 s")


def test_a_taken_port_is_named_with_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(doctor, "DASHBOARD_PORT", port)
        found = {finding.what: finding for finding in doctor._ports()}
    assert found["dashboard port"] == Finding(
        "dashboard port", "note", f"{port} is taken", "Stop what listens there, or choose another with --port"
    )


def test_one_core_and_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda pid: {0})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=doctor.GIB // 8))
    found = {finding.what: (finding.level, finding.fix) for finding in doctor._space()}
    assert found["cpus"] == ("note", "use cluster.workers=1")
    assert found["disk"] == ("note", "make room: 2 GiB should be free")
