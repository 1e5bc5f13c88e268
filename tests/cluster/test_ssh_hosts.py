"""A cluster that `ringmaster cluster up --hosts` starts by ssh, with Ray's own launcher, and ends again.

Hosts are network namespaces with a PID namespace, a /tmp and a home of their own, as the launcher's `ray stop` ends
every Ray that it sees. The user's machine is one more of them: what the launcher leaves in /tmp and at home stays
there.
"""

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import yaml

from benchmarks.links import shaped_hosts
from orchestrator.host_cluster import launcher_path

pytestmark = [pytest.mark.cluster, pytest.mark.soak]

ROOT = Path(__file__).parents[2]
PYTHON = sys.executable
USER = 2
"""Which host is the user's machine."""
BOX = """
set -e
mount --bind "$1/tmp" /tmp
mount --bind "$1/run" /run
mount --bind "$1/passwd" /etc/passwd
shift
exec "$@"
"""
"""Run a command with a host's own folders."""
SSHD = """
Port 22
ListenAddress {address}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PidFile none
SetEnv PYTHONPATH={root}
"""


class Host:
    """A host: its address, its folders, and the first of its processes."""

    def __init__(self, folder: Path, address: str, enter: list[str]) -> None:
        self.folder, self.address = folder, address
        self.home = folder / "home"
        for name in ("tmp", "home", "run/sshd"):
            (folder / name).mkdir(parents=True)
        root = pwd.getpwuid(0)
        lines = Path("/etc/passwd").read_text().splitlines()
        own = ":".join(["root", "x", "0", "0", "root", str(self.home), root.pw_shell])
        (folder / "passwd").write_text("\n".join([own, *(line for line in lines if not line.startswith("root:"))]))
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self.command = [*enter, *unshare, "bash", "-c", BOX, "box", str(folder)]
        self.sshd: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Let it answer to ssh."""
        config = self.folder / "sshd_config"
        config.write_text(SSHD.format(address=self.address, folder=self.folder.parent, root=ROOT))
        with (self.folder / "sshd.log").open("wb") as log:
            command = [*self.command, shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-e", "-f", str(config)]
            self.sshd = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def end(self) -> None:
        """End the first of its processes, and with it all others: the namespace goes."""
        if self.sshd is not None:
            for first in psutil.Process(self.sshd.pid).children():
                first.kill()
            self.sshd.wait(60)

    def processes(self) -> list[psutil.Process]:
        """What runs on it, as seen from outside."""
        assert self.sshd is not None
        (first,) = psutil.Process(self.sshd.pid).children()
        namespace = os.readlink(f"/proc/{first.pid}/ns/pid")
        found = []
        for process in psutil.process_iter():
            try:
                if os.readlink(f"/proc/{process.pid}/ns/pid") == namespace:
                    found.append(process)
            except OSError:
                continue
        return found


@pytest.fixture
def there() -> Iterator[SimpleNamespace]:
    """Two hosts that answer to ssh, and the machine of a user who has a key for them."""
    sshd = shutil.which("sshd") or shutil.which("/usr/sbin/sshd")
    missing = [tool for tool in ("ip", "tc", "unshare", "ssh", "ssh-keygen", "rsync") if shutil.which(tool) is None]
    if os.geteuid() != 0 or missing or sshd is None:
        pytest.skip(
            f"needs root and openssh-server, openssh-client, rsync, iproute2; not found: "
            f"{', '.join([*missing, *([] if sshd else ['sshd'])]) or 'root'}"
        )
    with ExitStack() as stack:
        # Not in /tmp, which every host has for itself.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rm-ssh-", dir="/var/tmp")))
        try:
            links = stack.enter_context(shaped_hosts(3, mbit_per_s=1000))
        except SystemExit as error:
            pytest.skip(f"network namespaces cannot be made here: {error}")
        for name in ("host_key", "key"):
            keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(keygen, check=True)
        hosts = [
            Host(folder / f"h{number}", address, links.on(number, []))
            for number, address in enumerate(links.addresses)
        ]
        for host in hosts[:USER]:
            stack.callback(host.end)
            host.start()
        (folder / "hosts.txt").write_text("".join(f"{host.address}\n" for host in hosts[:USER]))
        variables = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MLFLOW_"))}
        variables |= {"HOME": str(hosts[USER].home), "PYTHONPATH": str(ROOT), "NO_PROXY": "*", "no_proxy": "*"}

        def ringmaster(*arguments: str, code: int = 0) -> SimpleNamespace:
            command = [*hosts[USER].command, PYTHON, "-m", "orchestrator", *arguments]
            done = subprocess.run(
                command, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=600
            )
            log = launcher_path(folder / "hosts.txt").with_suffix(".log")
            told = log.read_text(errors="replace") if log.exists() else ""
            assert done.returncode == code, done.stdout + done.stderr + told
            return SimpleNamespace(out=done.stdout, err=done.stderr)

        yield SimpleNamespace(run=ringmaster, hosts=hosts, folder=folder)


def names(host: Host) -> set[str]:
    return {process.name() for process in host.processes()}


def holders(text: str, folder: Path, hosts: list[Host]) -> list[str]:
    """Files and command lines that hold the text."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    found = [str(path.relative_to(folder)) for path in files if text.encode() in path.read_bytes()]
    lines = [" ".join(process.cmdline()) for host in hosts for process in host.processes()]
    return sorted(found) + [line for line in lines if text in line]


def test_a_cluster_by_ssh_from_up_to_down(there: SimpleNamespace) -> None:
    head, worker, user = there.hosts
    reach = ("--hosts", "hosts.txt", "--user", "root", "--key", "key")
    error = there.run("cluster", "up", *reach, "--python", "/no/python", code=1).err
    assert error.splitlines()[-1] == (
        f"error: /no/python on {head.address} does not have Ringmaster (bash: /no/python: No such file or "
        "directory); name the interpreter that has it with --python"
    )
    error = there.run("cluster", "up", *reach[:-1], "host_key", "--python", PYTHON, code=1).err
    assert error.splitlines()[-1] == (
        f"error: root@{head.address} cannot be reached by ssh: root@{head.address}: Permission denied (publickey).; "
        "check host, --user and --key"
    )
    up = there.run("cluster", "up", *reach, "--python", PYTHON, "--cpus-per-node", "1")
    url = f"http://{head.address}:8265"
    assert f"a Ray cluster answers at {url}\n" in up.out
    assert "end it: ringmaster cluster down --hosts hosts.txt\n" in up.out
    assert {"raylet", "gcs_server"} <= names(head)
    assert "raylet" in names(worker)
    assert "gcs_server" not in names(worker)

    token = (user.home / ".ray" / "auth_token").read_text()
    for host in (head, worker, user):
        assert (host.home / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600
    assert yaml.safe_load(launcher_path(there.folder / "hosts.txt").read_text())["provider"]["head_ip"] == head.address
    tokens = [f"h{number}/home/.ray/auth_token" for number in range(3)]
    assert holders(token, there.folder, there.hosts[:USER]) == tokens

    planned = there.run("plan", "digits", "cluster.workers=2", "--address", url).out
    assert f"cluster {url}: 2 node(s), 2 CPU (2 free now); it holds 2 worker(s)" in planned
    job = ("digits", "train.epochs=2", f"folder={there.folder}/shared", "--id", "first")
    there.run("submit", *job, "--to", "ray", "--address", url, "--python", PYTHON)
    there.run("wait", "first", "--folder", f"{there.folder}/shared")
    printed = there.run("logs", "first", "--folder", f"{there.folder}/shared").out
    assert "rank 1 runs on" in printed
    assert "registered digits@champion (version 1)" in printed
    (listed,) = json.loads(there.run("jobs", "--folder", f"{there.folder}/shared", "--json").out)["jobs"]
    assert (listed["id"], listed["state"], listed["exit_code"]) == ("first", "SUCCEEDED", 0)
    assert holders(token, there.folder, there.hosts[:USER]) == tokens

    (raylet,) = [process for process in worker.processes() if process.name() == "raylet"]
    raylet.kill()
    while raylet.is_running() or "raylet" not in names(worker):
        time.sleep(0.5)  # until the head has started it again
    down = there.run("cluster", "down", "--hosts", "hosts.txt")
    assert down.out == "ended Ray on 2 host(s)\n"
    for host in (head, worker):
        assert names(host) == {"sshd"}
    left = sorted(path.name for path in head.home.iterdir())
    assert "ray_bootstrap_key.pem" not in left
    assert not launcher_path(there.folder / "hosts.txt").exists()
    error = there.run("cluster", "down", "--hosts", "hosts.txt", code=1).err
    assert "which `ringmaster cluster up --hosts hosts.txt` writes, cannot be used" in error
