"""Which Horovod rank runs where, as a pure function of the ranks' hosts, and the variables that say so.

Needs neither Horovod nor TensorFlow: whoever starts the ranks (Ray's controller, a test) imports it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class RankPlan:
    """The place of one worker in the job, in Horovod's terms.

    local: among the ranks of its host; cross: among the hosts that have a rank with this local rank.
    """

    host: str
    rank: int
    size: int
    local_rank: int
    local_size: int
    cross_rank: int
    cross_size: int

    def environment(self) -> dict[str, str]:
        """The HOROVOD_* variables that hold this plan."""
        return {
            "HOROVOD_RANK": str(self.rank),
            "HOROVOD_SIZE": str(self.size),
            "HOROVOD_LOCAL_RANK": str(self.local_rank),
            "HOROVOD_LOCAL_SIZE": str(self.local_size),
            "HOROVOD_CROSS_RANK": str(self.cross_rank),
            "HOROVOD_CROSS_SIZE": str(self.cross_size),
            "HOROVOD_HOSTNAME": self.host,
        }


def gloo_environment(address: str, port: int, interface: str) -> dict[str, str]:
    """The variables that lead a rank to the rendezvous server, by the network interface that reaches the others."""
    return {
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": address,
        "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
        "HOROVOD_GLOO_IFACE": interface,
    }


def plan_ranks(hosts: Sequence[str]) -> list[RankPlan]:
    """Plan one rank per entry: `hosts[r]` names the host of rank r."""
    ranks_on: dict[str, list[int]] = defaultdict(list)
    for rank, host in enumerate(hosts):
        ranks_on[host].append(rank)
    plans = []
    for rank, host in enumerate(hosts):
        local_rank = ranks_on[host].index(rank)
        peers = [other for other, ranks in ranks_on.items() if len(ranks) > local_rank]
        plans.append(
            RankPlan(
                host=host,
                rank=rank,
                size=len(hosts),
                local_rank=local_rank,
                local_size=len(ranks_on[host]),
                cross_rank=peers.index(host),
                cross_size=len(peers),
            )
        )
    return plans
