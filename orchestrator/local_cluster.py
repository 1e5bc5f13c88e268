"""A Ray cluster of your own on this machine: several nodes, each a set of processes. `host_cluster` is for hosts.

Token authentication is on. The token is the one that Ray's own tools use (~/.ray/auth_token); where there is none, it
is made, readable by its owner alone, and never printed.
"""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from configs.errors import ClusterError
from orchestrator.session import MIB, end_processes, processes_with
from orchestrator.submit.ray_dashboard import TOKEN_FILE, read_token

MARK = "RINGMASTER_CLUSTER"
"""A variable of all processes of the cluster, by which they are found again; orphans too."""
LOCALHOST = "127.0.0.1"
START_TIMEOUT_S = 120.0
STORE_MIB = 200
ANY_PORT = ("--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0")
"""Two nodes of one machine would ask for the same ports."""


@dataclass(frozen=True)
class LocalCluster:
    """A cluster that runs on this machine."""

    address: str
    """For cluster.address: host:port."""
    dashboard: str
    """For --address: http://host:port."""
    nodes: int
    cpus_per_node: int


def folder() -> Path:
    """Where the cluster of this user keeps its files. Short: Ray puts sockets in it, whose paths are limited."""
    return Path(tempfile.gettempdir()) / f"ringmaster-cluster-{os.getuid()}"


def running() -> LocalCluster | None:
    """The cluster that `up` started, or None."""
    try:
        known = LocalCluster(**json.loads((folder() / "cluster.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return known if processes_with(MARK, str(folder())) else None


def up(*, nodes: int, cpus_per_node: int, port: int, dashboard_port: int, store_mib: int = STORE_MIB) -> LocalCluster:
    """Start a head and further nodes as processes of this machine. Raises ClusterError, leaving nothing behind."""
    if (already := running()) is not None:
        raise ClusterError(
            f"a cluster runs already, {already.dashboard}; use it, or end it with `ringmaster cluster down`"
        )
    for option, wanted in (("--port", port), ("--dashboard-port", dashboard_port)):
        _require_free(wanted, option)
    place = folder()
    shutil.rmtree(place, ignore_errors=True)
    _make_private(place)
    keep_token()
    cluster = LocalCluster(f"{LOCALHOST}:{port}", f"http://{LOCALHOST}:{dashboard_port}", nodes, cpus_per_node)
    head = ("--head", f"--port={port}", f"--dashboard-port={dashboard_port}", f"--dashboard-host={LOCALHOST}")
    each = (f"--num-cpus={cpus_per_node}", f"--object-store-memory={store_mib * MIB}", *ANY_PORT)
    try:
        for number in range(nodes):
            # Ray's agents share a session's files by path: with one folder for all, a node would remove another's.
            own = (f"--temp-dir={place / str(number)}", f"--node-ip-address={LOCALHOST}")
            _ray_start(*(head if number == 0 else (f"--address={cluster.address}",)), *own, *each)
        (place / "cluster.json").write_text(json.dumps(asdict(cluster)), encoding="utf-8")
    except BaseException:
        down()
        raise
    return cluster


def down() -> int:
    """End every process of the cluster and remove its files; return how many processes there were."""
    processes = processes_with(MARK, str(folder()))
    for process in processes:
        process.terminate()
    end_processes(processes)
    left = processes_with(MARK, str(folder()))  # started meanwhile
    for process in left:
        process.kill()
    end_processes(left)
    shutil.rmtree(folder(), ignore_errors=True)
    return len(processes)


def keep_token() -> Path:
    """Make a token where Ray looks for it, unless there is one; return the file. Raises ClusterError."""
    path = Path(TOKEN_FILE).expanduser()
    if read_token() is not None:
        if path.is_file() and path.stat().st_mode & 0o077:
            path.chmod(0o600)
        return path
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.unlink(missing_ok=True)  # an empty one
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_hex(32))
    except OSError as error:
        raise ClusterError(f"the cluster's token cannot be kept in {path}: {error.strerror}; mend that") from error
    return path


def _ray_start(*options: str) -> None:
    environment = {**os.environ, "RAY_AUTH_MODE": "token", MARK: str(folder())}
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        environment.pop(name, None)
    log = folder() / "start.log"
    try:
        with log.open("ab") as output:
            done = subprocess.run(
                [ray_command(), "start", "--disable-usage-stats", *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                timeout=START_TIMEOUT_S,
                check=False,
            )
        code = done.returncode
    except subprocess.TimeoutExpired:
        code = -1
    if code:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        telling = [line for line in lines if "Error" in line or "already" in line]
        tls = ", and with RAY_USE_TLS its certificate must name that address" if os.environ.get("RAY_USE_TLS") else ""
        raise ClusterError(
            f"Ray did not start: {(telling or lines or ['it took too long'])[-1][:300]}; `ringmaster doctor` looks "
            f"for what is wrong with this machine{tls}"
        )


def _require_free(port: int, option: str) -> None:
    """Ray would wait half a minute for the port of its head, and go on without a dashboard."""
    try:
        socket.create_server((LOCALHOST, port)).close()
    except OSError as error:
        raise ClusterError(
            f"port {port} is taken ({os.strerror(error.errno or 0)}); choose another with {option}"
        ) from error


def ray_command() -> str:
    """The `ray` of this interpreter, else the one of the path."""
    beside = Path(sys.executable).parent / "ray"
    return str(beside) if beside.exists() else "ray"


def _make_private(place: Path) -> None:
    """A folder of this user alone: its name is known to all."""
    try:
        place.mkdir(mode=0o700)
    except OSError as error:
        raise ClusterError(f"{place} cannot be used: {error.strerror}; remove it, or set TMPDIR") from error
