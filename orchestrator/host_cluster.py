"""A Ray cluster of your own on hosts that are reached by ssh, through Ray's own cluster launcher.

The launcher starts the head; the head then starts the others by ssh, and starts them again when they are lost. Every
host gets the token as a file, so that it stands on no command line and in no launcher file.
"""

import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import yaml

from configs.errors import ClusterError, SpecError
from configs.serve import http_url
from orchestrator.local_cluster import keep_token, ray_command
from orchestrator.submit.ray_dashboard import TOKEN_FILE, Dashboard

TLS = ("RAY_USE_TLS", "RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT")
"""Ray's settings: whether nodes talk to each other by TLS, and the paths of certificates on every host."""
HEAD_FILES = ("~/ray_bootstrap_key.pem", "~/ray_bootstrap_config.yaml")
"""What the launcher puts onto the head: a copy of the key, and the launcher file."""
SSH = (
    "ssh -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o IdentitiesOnly=yes "
    "-o LogLevel=ERROR -o ConnectTimeout=10 -o ServerAliveInterval=10 -o ServerAliveCountMax=3"
).split()
"""As Ray's launcher connects."""
SSH_FAILED = 255
"""Exit code of ssh itself; any other is that of the command."""
COMMAND_S = 120.0
"""A command on a host takes seconds; one that hangs, in a login shell or on a dead disk, would hang all."""
LAUNCH_S = 1800.0
"""So long `ray up` may take, which connects, copies and starts."""
JOIN_S = 300.0
POLL_S = 1.0


@dataclass(frozen=True)
class HostOptions:
    """How hosts are reached, and how Ray is started on them."""

    user: str
    key: Path | None
    """Private key file of ssh; the launcher copies it to the head while the cluster runs."""
    python: str
    """Their interpreter that has Ringmaster."""
    port: int = 6379
    dashboard_port: int = 8265
    cpus_per_node: int | None = None

    @property
    def ray(self) -> str:
        """The `ray` command that belongs to the interpreter."""
        return shlex.quote(str(Path(self.python).parent / "ray")) if "/" in self.python else "ray"


def up(hosts: Path, options: HostOptions, *, say: Callable[[str], None], verbose: bool) -> dict[str, Any]:
    """Start a cluster on the hosts of a file and wait for all of them; returns its addresses.

    Raises SpecError for a file that cannot be right, ClusterError for a host that is not ready, naming it.
    """
    if options.key is not None and not options.key.is_file():
        raise SpecError(f"--key {options.key}: no such file; name the private key of ssh")
    addresses = [_address(host, hosts) for host in read_hosts(hosts)]
    _require_tools("ssh", "rsync")
    say(f"looking at {len(addresses)} host(s)")
    for address, done in _on_all(addresses, options, _check(options)).items():
        _require_ready(address, options, done)
    launcher = launcher_path(hosts)
    with _token_file() as token:
        launcher.write_text(launcher_file(addresses, options, token=token), encoding="utf-8")
        say(f"starting the head on {addresses[0]}")
        _ray("up", launcher, "--no-config-cache", verbose=verbose)
        dashboard = http_url(addresses[0], options.dashboard_port)
        _wait_for(addresses, Dashboard(dashboard), options, say)
    return {"address": f"{addresses[0]}:{options.port}", "dashboard": dashboard, "nodes": len(addresses)}


def down(hosts: Path, *, verbose: bool) -> int:
    """End Ray on every host of the launcher file that `up` left; returns how many there were. Raises ClusterError."""
    launcher = launcher_path(hosts)
    try:
        document = yaml.safe_load(launcher.read_text(encoding="utf-8"))
        provider, auth = document["provider"], document["auth"]
        addresses = [provider["head_ip"], *provider["worker_ips"]]
        (stop, _) = document["head_start_ray_commands"]
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise ClusterError(
            f"{launcher}, which `ringmaster cluster up --hosts {hosts}` writes, cannot be used ({error}); nothing was "
            "ended"
        ) from error
    key = Path(auth["ssh_private_key"]) if "ssh_private_key" in auth else None
    options = HostOptions(auth["ssh_user"], key, python="python")
    # The head first: its autoscaler would start the others again. Not by `ray down`, which ends Ray on the head alone,
    # and only where `ray` is on its path.
    ended = _on_all(addresses[:1], options, f"{stop} && rm -f {' '.join(HEAD_FILES)}")
    ended |= _on_all(addresses[1:], options, stop)
    for address, done in ended.items():
        _require_ended(address, options, done)
    _ray("down", launcher, verbose=verbose)  # so that the launcher forgets the cluster
    launcher.unlink()
    _log_path(launcher).unlink(missing_ok=True)
    return len(addresses)


def launcher_path(hosts: Path) -> Path:
    """Where the launcher file for a file of hosts lies: beside it."""
    return hosts.with_suffix(".launcher.yaml")


def launcher_file(addresses: Sequence[str], options: HostOptions, *, token: str) -> str:
    """Ray's cluster launcher YAML; the first address is the head. token: the file that holds it here."""
    settings = {"RAY_AUTH_MODE": "token"} | {name: os.environ[name] for name in TLS if os.environ.get(name)}
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in settings.items())
    # The launcher knows a node by the address that it was reached at: Ray would guess one.
    start = f"set -- $SSH_CONNECTION; {variables} {options.ray} start --disable-usage-stats --node-ip-address=$3"
    if options.cpus_per_node:
        start += f" --num-cpus={options.cpus_per_node}"
    head = f"--head --port={options.port} --dashboard-host=0.0.0.0 --dashboard-port={options.dashboard_port}"
    document = {
        "cluster_name": f"ringmaster-{addresses[0]}",
        "provider": {"type": "local", "head_ip": addresses[0], "worker_ips": list(addresses[1:])},
        "auth": {"ssh_user": options.user} | ({"ssh_private_key": str(options.key)} if options.key else {}),
        "min_workers": len(addresses) - 1,
        "max_workers": len(addresses) - 1,
        "file_mounts": {TOKEN_FILE: token},
        "setup_commands": [f"chmod 600 {TOKEN_FILE}"],
        "head_start_ray_commands": [
            f"{options.ray} stop",
            f"{start} {head} --autoscaling-config=~/ray_bootstrap_config.yaml",
        ],
        "worker_start_ray_commands": [f"{options.ray} stop", f"{start} --address=$RAY_HEAD_IP:{options.port}"],
    }
    return yaml.safe_dump(document, sort_keys=False)


def read_hosts(path: Path) -> list[str]:
    """Read a file with a host on each line; the first is the head. Raises SpecError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"--hosts {path} cannot be read: {error}") from error
    hosts = [host for line in lines if (host := line.partition("#")[0].strip())]
    wrong = next((host for host in hosts if not all(char.isalnum() or char in ".-_" for char in host)), None)
    if wrong is not None or not hosts:
        raise SpecError(f"--hosts {path}: expected a host name or IPv4 address on each line, got {wrong or 'none'!r}")
    twice = next((host for host in hosts if hosts.count(host) > 1), None)
    if twice is not None:
        raise SpecError(f"--hosts {path}: {twice} is listed twice; remove one")
    return hosts


def _address(host: str, path: Path) -> str:
    """The host's address as seen from here: on the host itself its name may well mean 127.0.1.1."""
    try:
        return socket.gethostbyname(host)
    except OSError as error:
        raise SpecError(
            f"--hosts {path}: {host} is not known ({error.strerror}); correct it, or give its address"
        ) from error


def _require_tools(*names: str) -> None:
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        raise ClusterError(
            f"{' and '.join(missing)} not found, and Ray's launcher needs them: apt-get install openssh-client rsync"
        )


@contextmanager
def _token_file() -> Iterator[str]:
    """A file that holds the token for the length of the block: the user's own, where there is one."""
    token = os.environ.get("RAY_AUTH_TOKEN", "").strip()
    if not token:
        path = keep_token()
        yield os.environ.get("RAY_AUTH_TOKEN_PATH") or str(path)
        return
    with tempfile.NamedTemporaryFile("w", prefix="ringmaster-token-") as file:  # made with mode 0600
        file.write(token)
        file.flush()
        yield file.name


def _check(options: HostOptions) -> str:
    """A command that says on one line what a host has."""
    code = "import ray, orchestrator; print('ray', ray.__version__)"
    return f"command -v rsync >/dev/null || echo no rsync; {shlex.quote(options.python)} -c {shlex.quote(code)}"


def _on_all(
    addresses: Sequence[str], options: HostOptions, command: str
) -> dict[str, subprocess.CompletedProcess[str]]:
    """Run a command on hosts side by side, in a shell as the launcher starts it; returns what came of each."""
    shell = f"bash --login -i -c {shlex.quote(f'source ~/.bashrc; {command}')}"
    identity = ["-i", str(options.key)] if options.key else []

    def run(address: str) -> subprocess.CompletedProcess[str]:
        words = [*SSH, *identity, f"{options.user}@{address}", shell]
        try:
            return subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=COMMAND_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(words, SSH_FAILED, "", f"no answer within {COMMAND_S:g} s")

    with ThreadPoolExecutor(max(1, len(addresses))) as pool:
        return dict(zip(addresses, pool.map(run, addresses), strict=True))


def _require_reached(address: str, options: HostOptions, done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode == SSH_FAILED:
        raise ClusterError(
            f"{options.user}@{address} cannot be reached by ssh: {_last(done.stderr)}; check host, --user and --key"
        )


def _require_ready(address: str, options: HostOptions, done: subprocess.CompletedProcess[str]) -> None:
    _require_reached(address, options, done)
    if "no rsync" in done.stdout.splitlines():
        raise ClusterError(f"{address} has no rsync, which Ray's launcher needs: apt-get install rsync")
    found = [line.removeprefix("ray ") for line in done.stdout.splitlines() if line.startswith("ray ")]
    if not found:
        raise ClusterError(
            f"{options.python} on {address} does not have Ringmaster ({_last(done.stderr)}); name the interpreter "
            "that has it with --python"
        )
    if found[-1] != ray.__version__:
        raise ClusterError(
            f"{address} has Ray {found[-1]} and this machine {ray.__version__}; install the same Ringmaster on both"
        )


def _require_ended(address: str, options: HostOptions, done: subprocess.CompletedProcess[str]) -> None:
    _require_reached(address, options, done)
    if done.returncode:
        raise ClusterError(f"Ray on {address} could not be ended: {_last(done.stdout + done.stderr)}")


def _wait_for(
    addresses: Sequence[str], dashboard: Dashboard, options: HostOptions, say: Callable[[str], None]
) -> None:
    """Wait until every host has joined. Raises ClusterError naming those that have not."""
    deadline = time.monotonic() + JOIN_S
    said = ""
    while missing := [one for one in addresses if one not in {node.name for node in dashboard.nodes()}]:
        if time.monotonic() > deadline:
            own = "" if options.key else " with its own keys, as no --key was given"
            raise ClusterError(
                f"{', '.join(missing)} did not join within {JOIN_S:g} s; the head starts them by ssh{own}: its "
                "/tmp/ray/session_latest/logs/monitor.out says why. `ringmaster cluster down` ends what runs"
            )
        if (now := f"waiting for {', '.join(missing)}") != said:
            say(said := now)
        time.sleep(POLL_S)


def _ray(verb: str, launcher: Path, *options: str, verbose: bool) -> None:
    """Run `ray up` or `ray down`, which tell every step: to the terminal if asked to, else to a file."""
    # The second autoscaler of Ray 2.60 starts no host but the head when hosts are given.
    settings = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0", "RAY_UP_enable_autoscaler_v2": "0"}
    command = [ray_command(), verb, str(launcher), "--yes", *options]
    path = _log_path(launcher)
    with path.open("wb") as log:
        output = 2 if verbose else log
        try:
            code = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **settings},
                timeout=LAUNCH_S,
                check=False,
            ).returncode
            problem = f"ended with code {code}" if code else ""
        except subprocess.TimeoutExpired:
            problem = f"has not ended within {LAUNCH_S:g} s"
    if problem:
        where = "" if verbose else f"; {path} says why"
        raise ClusterError(f"`ray {verb} {launcher}` {problem}{where}")


def _log_path(launcher: Path) -> Path:
    return launcher.with_suffix(".log")


def _last(text: str) -> str:
    """The last line that says something: before it come notes of a shell that has no terminal."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines or ["no reason given"])[-1][:300]
