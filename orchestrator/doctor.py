"""`ringmaster doctor`: what is installed, what is wrong, and how to fix it."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from configs.errors import ClusterError, DeployError
from configs.serve import ServeSpec
from orchestrator.limits import gpu_names
from orchestrator.serving import require_free_port

GIB = 2**30
LIBRARIES = ("ray", "keras", "mlflow", "horovod", "numpy", "pandas", "pyarrow", "pydantic")
DASHBOARD_PORT = 5000
PROBE_TIMEOUT_S = 300.0

HOROVOD_PROBE = """
import horovod.tensorflow as hvd
hvd.init()
print(f"size {hvd.size()}, gloo {bool(hvd.gloo_built())}, nccl {bool(hvd.nccl_built())}, mpi {bool(hvd.mpi_built())}")
"""
GPU_PROBE = "import tensorflow as tf; print(len(tf.config.list_physical_devices('GPU')))"


@dataclass(frozen=True)
class Finding:
    """One check. `wrong` means that a job would fail."""

    what: str
    level: Literal["ok", "note", "wrong"]
    found: str
    fix: str = ""


def examine() -> list[Finding]:
    """All findings, in the order in which they should be mended."""
    return [*_python(), *_libraries(), _horovod(), *_gpus(), *_ports(), *_space()]


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    good = sys.version_info[:2] in {(3, 11), (3, 12)}
    fix = "" if good else "use Python 3.11 or 3.12"
    yield Finding("python", "ok" if good else "wrong", f"{version} at {sys.executable}", fix)
    keras_file = importlib.util.find_spec("keras")
    if keras_file is not None and keras_file.cached and not Path(keras_file.cached).is_file():
        yield Finding(
            "byte code",
            "note",
            "packages are not compiled, so every start takes seconds longer",
            f"{sys.executable} -m compileall -q {Path(keras_file.cached).parents[2]}",
        )


def _libraries() -> Iterator[Finding]:
    for name in LIBRARIES:
        try:
            yield Finding(name, "ok", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, "wrong", "not installed", _install_hint())
    found = [name for name in ("tensorflow", "tensorflow-cpu") if _version(name)]
    if found:
        yield Finding("tensorflow", "ok", f"{_version(found[0])} ({found[0]})")
    else:
        yield Finding("tensorflow", "wrong", "not installed", _install_hint())


def _horovod() -> Finding:
    """Load the extension in a process of its own: a broken one can end the process."""
    code, text = _probe(HOROVOD_PROBE)
    if code == 0:
        return Finding("horovod extension", "ok", text)
    return Finding(
        "horovod extension",
        "wrong",
        f"does not load: {text}",
        "make setup builds it anew; it needs a C++ compiler",
    )


def _gpus() -> Iterator[Finding]:
    if shutil.which("nvidia-smi") is None:
        yield Finding("gpus", "ok", "none on this machine (nvidia-smi is not there); workers run on CPUs")
        return
    try:
        yield Finding("gpus", "ok", "; ".join(gpu_names()))
    except ClusterError as error:
        problem, _, fix = str(error).partition(". ")
        yield Finding("gpus", "wrong", problem, fix)
        return
    code, text = _probe(GPU_PROBE)
    seen = code == 0 and text.strip() not in {"", "0"}
    fix = "" if seen else "install ringmaster[train-gpu] for workers on GPUs"
    yield Finding("gpus in tensorflow", "ok" if seen else "note", text if code == 0 else "not loaded", fix)


def _ports() -> Iterator[Finding]:
    for what, port in (("endpoint port", ServeSpec().port), ("dashboard port", DASHBOARD_PORT)):
        try:
            require_free_port("127.0.0.1", port, option="--port")
            yield Finding(what, "ok", f"{port} is free")
        except DeployError as error:
            yield Finding(what, "note", f"{port} is taken", str(error).rpartition(". ")[2])


def _space() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0))
    yield Finding(
        "cpus",
        "ok" if cores > 1 else "note",
        str(cores),
        "" if cores > 1 else "use cluster.workers=1",
    )
    for what, path, least in (
        ("disk", Path.cwd(), 2 * GIB),
        ("shared memory", Path("/dev/shm"), GIB // 4),
    ):  # noqa: S108
        if path.exists():
            free = shutil.disk_usage(path).free
            fix = "" if free >= least else f"make room: {least / GIB:.2g} GiB should be free"
            yield Finding(
                what,
                "ok" if free >= least else "note",
                f"{free / GIB:.1f} GiB free at {path}",
                fix,
            )


def _probe(code: str) -> tuple[int, str]:
    # lo: Gloo looks for the address of the host's name, which a container may not have; jobs name an interface.
    environment = {"HOROVOD_GLOO_IFACE": "lo", **os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", code]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, timeout=PROBE_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return 1, f"did not answer within {PROBE_TIMEOUT_S:g} s"
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return done.returncode, lines[-1][:300] if lines else f"ended with code {done.returncode}"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _install_hint() -> str:
    return "make setup, or: uv pip install ./packaging/horovod '.[train-cpu]'"
