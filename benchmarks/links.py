"""Hosts of its own for every rank: network namespaces on a bridge, each behind a link of a given speed.

Needs root and iproute2. Everything is named after this process and removed at the end.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

INTERFACE = "eth0"


@dataclass(frozen=True)
class Hosts:
    """Namespaces that reach each other, and `bridge`, the address of the outside that they all reach."""

    namespaces: tuple[str, ...]
    addresses: tuple[str, ...]
    bridge: str

    def on(self, host: int, command: list[str]) -> list[str]:
        """The command, to be run on a host."""
        return ["ip", "netns", "exec", self.namespaces[host], *command]


@contextmanager
def shaped_hosts(count: int, *, mbit_per_s: int) -> Iterator[Hosts]:
    """Start `count` hosts whose links carry `mbit_per_s` in each direction; remove them afterwards."""
    tag, subnet = f"rm{os.getpid() % 100000}", f"10.{100 + os.getpid() % 100}.{os.getpid() // 100 % 256}"
    bridge = f"{tag}b"
    hosts = Hosts(
        tuple(f"{tag}h{number}" for number in range(count)),
        tuple(f"{subnet}.{number + 10}" for number in range(count)),
        f"{subnet}.1",
    )
    try:
        _ip(f"link add {bridge} type bridge")
        _ip(f"addr add {hosts.bridge}/24 dev {bridge}")
        _ip(f"link set {bridge} up")
        for number, namespace in enumerate(hosts.namespaces):
            outside = f"{tag}v{number}"
            _ip(f"netns add {namespace}")
            _ip(f"link add {outside} type veth peer name {INTERFACE} netns {namespace}")
            _ip(f"link set {outside} master {bridge} up")
            _ip(f"-n {namespace} addr add {hosts.addresses[number]}/24 dev {INTERFACE}")
            _ip(f"-n {namespace} link set {INTERFACE} up")
            _ip(f"-n {namespace} link set lo up")
            # One bucket for each direction: what the host sends, and what the bridge sends to it.
            shape = f"root tbf rate {mbit_per_s}mbit burst {max(32, mbit_per_s // 4)}kb latency 50ms"
            _run(["tc", "-n", namespace, "qdisc", "add", "dev", INTERFACE, *shape.split()])
            _run(["tc", "qdisc", "add", "dev", outside, *shape.split()])
        yield hosts
    finally:
        for number, namespace in enumerate(hosts.namespaces):
            # First the link: a namespace is taken apart some time after the command, and its name would stay in use.
            _ip(f"link del {tag}v{number}", check=False)
            _ip(f"netns del {namespace}", check=False)
        _ip(f"link del {bridge}", check=False)


def _ip(arguments: str, *, check: bool = True) -> None:
    _run(["ip", *arguments.split()], check=check)


def _run(command: list[str], *, check: bool = True) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}; this needs root and iproute2")
