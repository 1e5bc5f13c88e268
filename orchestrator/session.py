"""Ray for the length of one command: a private cluster on this machine, or a connection to a running one."""

import logging
import os
import secrets
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import ray
from ray._raylet import AuthenticationTokenLoader, Config

from configs.cluster import ClusterSpec
from configs.errors import ClusterError, one_line

MIB = 2**20
END_TIMEOUT_S = 10.0
START_ATTEMPTS = 2
"""Ray gives its node 30 s, which a busy machine may exceed the first time, when nothing is in its page cache."""


@contextmanager
def ray_session(cluster: ClusterSpec, *, data_bytes: int, logs: Path, verbose: bool) -> Iterator[None]:
    """Start or join Ray; afterwards leave it, and keep a private cluster's worker logs in `logs`.

    Raises ClusterError when the cluster cannot be reached.
    """
    for name, value in RAY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if cluster.address is None:
        with _private_cluster(data_bytes, logs, verbose):
            yield
        return
    before = os.environ.get("RAY_AUTH_MODE")
    if (mode := _auth_mode(cluster.address)) is not None:
        os.environ["RAY_AUTH_MODE"] = mode
        _read_token_mode()
    try:
        _join(cluster.address, verbose)
        yield
    finally:
        leave_ray()
        _set("RAY_AUTH_MODE", before)
        _read_token_mode()


RAY_ENVIRONMENT = {
    "RAY_TRAIN_V2_ENABLED": "1",
    # Ray Train's controller looks for reports this often; its default of 2 s makes short epochs 2 s long.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def _auth_mode(address: str) -> str | None:
    """The RAY_AUTH_MODE that the cluster wants: a client of the other mode is lost there. None where Ray finds it."""
    _, _, port = address.rpartition(":")
    if "://" in address or (address != "auto" and not port.isdecimal()):
        raise ClusterError(
            f"cluster.address={address!r}: expected auto, or host:port of a Ray head node "
            "(its port is 6379 by default)"
        )
    if address == "auto":
        return None
    from orchestrator.head_node import wants_token

    return "token" if wants_token(address) else "disabled"


def _join(address: str, verbose: bool) -> None:
    try:
        with _own_sigterm():
            ray.init(address=address, log_to_driver=verbose, logging_level=_level(verbose))
    except Exception as error:  # ray raises a dozen unrelated types here
        raise ClusterError(
            f"the Ray cluster at cluster.address={address!r} cannot be joined ({' '.join(str(error).split())[:300]}); "
            "this machine has to reach all ports of its nodes, and they those of this one"
        ) from error


def require_resources(cluster: ClusterSpec) -> None:
    """Raise ClusterError when the cluster is too small for the workers."""
    total = ray.cluster_resources()
    name = "min_workers" if cluster.min_workers else "workers"
    for resource, per_worker, field in (
        ("CPU", cluster.cpus_per_worker, "cpus_per_worker"),
        ("GPU", cluster.gpus_per_worker, "gpus_per_worker"),
    ):
        needed, there = cluster.least_workers * per_worker, total.get(resource, 0)
        if needed > there:
            fit = int(there // per_worker)
            smaller = "cluster.gpus_per_worker=0" if resource == "GPU" else f"a smaller cluster.{field}"
            advice = f"use cluster.{name}={fit}" if fit else f"use machines with more {resource}s, or {smaller}"
            raise ClusterError(
                f"cluster.{name}={cluster.least_workers} with {field}={per_worker} needs {needed} {resource}s, but "
                f"{'this machine' if cluster.address is None else 'the cluster'} has {there:g}; {advice}"
            )


@contextmanager
def _private_cluster(data_bytes: int, logs: Path, verbose: bool) -> Iterator[None]:
    # Not under the job's folder: Ray puts sockets in it, whose paths may not be longer than 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="ringmaster-ray-"))
    scratch = folder / "tmp"
    scratch.mkdir()
    # Workers are killed in the end, so what they put into the temporary folder must go with this one.
    ours = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "TMPDIR": str(scratch)}
    ours["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"  # nobody takes this machine's node away
    before = {name: os.environ.get(name) for name in (*ours, "RAY_ADDRESS")}
    os.environ.pop("RAY_ADDRESS", None)
    os.environ.update(ours)
    try:
        _read_token_mode()
        _start(folder, data_bytes, verbose)
        yield
    finally:
        leave_ray()
        end_processes(processes_with("TMPDIR", str(scratch)))
        keep_logs(folder, logs)
        shutil.rmtree(folder, ignore_errors=True)
        for name, value in before.items():
            _set(name, value)
        _read_token_mode()  # or a Ray that is started later in this process would want our token


def _start(folder: Path, data_bytes: int, verbose: bool) -> None:
    """Start a private cluster. Raises ClusterError where Ray does not start."""
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            with _own_sigterm():
                ray.init(
                    address="local",
                    include_dashboard=False,
                    object_store_memory=max(128 * MIB, 3 * data_bytes),
                    log_to_driver=verbose,
                    logging_level=_level(verbose),
                    _temp_dir=str(folder),
                )
            return
        except Exception as error:  # Ray raises a bare Exception where its node takes longer than 30 s to start
            leave_ray()
            if attempt == START_ATTEMPTS or "timed out" not in str(error):
                raise ClusterError(
                    f"Ray did not start on this machine: {one_line(error)}. Look at its memory, disk and load "
                    "(ringmaster doctor), then try again"
                ) from error


def _set(variable: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(variable, None)
    else:
        os.environ[variable] = value


def _read_token_mode() -> None:
    """Let Ray look at its variables again; it did when it was imported."""
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def processes_with(variable: str, value: str) -> list[psutil.Process]:
    """The processes that were started with this environment variable; orphans too, which nobody's children are."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(variable) == value:
                found.append(process)
    return found


def end_processes(processes: Collection[psutil.Process]) -> None:
    """Wait for the end of processes that were told to stop; kill those that take longer than END_TIMEOUT_S."""
    deadline = time.monotonic() + END_TIMEOUT_S
    while (left := [process for process in processes if is_alive(process)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs. Workers are orphans by then: as a zombie one waits for the system's first process."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def leave_ray() -> None:
    """Shut Ray down, or leave a running cluster, and end the workers."""
    with _own_sigterm():
        ray.shutdown()


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Put back what SIGTERM does after the block.

    `ray.init` makes it a plain exit, whose code tells nothing; `ray.shutdown` makes it the system's default, which
    would end the process before it has closed its MLflow run.
    """
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def worker_log(pid: int) -> str:
    """Standard error of a worker process of the private cluster, or nothing where it is not on this machine."""
    session = ray._private.worker._global_node
    if session is None:
        return ""
    files = Path(session.get_session_dir_path(), "logs").glob(f"worker-*-{pid}.err")
    return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in files)


def keep_logs(folder: Path, logs: Path) -> None:
    """Copy what the processes printed, where it is not empty; a full disk must not hide the error that it caused."""
    with suppress(OSError):
        for path in folder.glob("session_2*/logs/*"):
            if path.is_file() and path.suffix in {".err", ".out"} and path.stat().st_size:
                logs.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, logs / path.name)


def _level(verbose: bool) -> int:
    return logging.INFO if verbose else logging.ERROR
