"""Where ranks find each other: the rendezvous server on one address, and the network interface that holds an address.

Whoever starts the ranks uses it (a Ray backend, a test, a benchmark); the ranks themselves only call `hvd.init`.
Knows nothing about Ray.
"""

import socket
from collections.abc import Sequence
from dataclasses import dataclass

import psutil
from horovod.runner.common.util.hosts import SlotInfo
from horovod.runner.http.http_server import RendezvousHandler, RendezvousHTTPServer
from horovod.runner.util.threads import in_thread

from configs.errors import ClusterError
from trainers.hvd.ranks import RankPlan, gloo_environment, plan_ranks


@dataclass(frozen=True)
class Rendezvous:
    """A running server and the place of every rank in the ring it waits for."""

    address: str
    port: int
    places: tuple[RankPlan, ...]
    server: RendezvousHTTPServer

    def environment(self, rank: int, interface: str) -> dict[str, str]:
        """Return the variables that rank `rank` needs before `hvd.init`.

        interface: the network interface by which the other ranks reach this rank's host, for example eth0.
        """
        return self.places[rank].environment() | gloo_environment(self.address, self.port, interface)

    def stop(self) -> None:
        """Close the server and its port."""
        self.server.shutdown()
        self.server.server_close()


def start_rendezvous(rank_hosts: Sequence[str], *, address: str) -> Rendezvous:
    """Start a server for one rank per entry of `rank_hosts`.

    address: the IP address of this process's host that all ranks can reach. The server has no password, so unlike
    the one of Horovod's launcher it listens on that address alone.
    """
    places = plan_ranks(rank_hosts)
    server = RendezvousHTTPServer((address, 0), RendezvousHandler, False)
    server.init([_slot(place) for place in places])
    in_thread(server.serve_forever)
    return Rendezvous(address, int(server.server_address[1]), tuple(places), server)


def interface_of(address: str) -> str:
    """Name of the network interface that holds an IPv4 or IPv6 address of this host."""
    families = (socket.AF_INET, socket.AF_INET6)
    found = psutil.net_if_addrs()
    for name, entries in found.items():
        if any(entry.family in families and entry.address.split("%")[0] == address for entry in entries):
            return name
    raise ClusterError(
        f"no network interface of {socket.gethostname()} holds {address}, the address it is known by "
        f"(interfaces: {', '.join(sorted(found))}); start Ray on this node with --node-ip-address"
    )


def _slot(place: RankPlan) -> SlotInfo:
    return SlotInfo(
        hostname=place.host,
        rank=place.rank,
        local_rank=place.local_rank,
        cross_rank=place.cross_rank,
        size=place.size,
        local_size=place.local_size,
        cross_size=place.cross_size,
    )
