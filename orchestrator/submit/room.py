"""Whether the nodes of a cluster can hold all workers of a job at once, and what is missing."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from configs.cluster import ClusterSpec
from configs.errors import ClusterError
from orchestrator.limits import gpu_names


class NodeLike(Protocol):
    """A host of a cluster."""

    @property
    def name(self) -> str: ...

    @property
    def resources(self) -> Mapping[str, float]:
        """What it has in all, as Ray counts: CPU, GPU."""


@dataclass(frozen=True)
class Room:
    """What a cluster has for a job when nothing else runs."""

    workers: int
    """How many of the job's workers its nodes hold."""
    total: dict[str, float]
    """CPU, and GPU where the job uses them, of all nodes."""
    problem: str | None
    """What is missing and what to do, one line; None where the workers fit."""


@dataclass(frozen=True)
class Machine:
    """A host that is asked without Ray."""

    name: str
    resources: dict[str, float]


def this_machine() -> Machine:
    """What a private cluster would have: Ray counts the same."""
    return Machine("this machine", {"CPU": float(os.cpu_count() or 1), "GPU": float(len(gpu_names()))})


def find_room(cluster: ClusterSpec, nodes: Sequence[NodeLike]) -> Room:
    """Work out whether the least number of workers that trains fits onto the nodes. A worker lies on one node."""
    each = {"CPU": cluster.cpus_per_worker} | ({"GPU": cluster.gpus_per_worker} if cluster.gpus_per_worker else {})
    held = {
        number: min(int(node.resources.get(name, 0) // amount) for name, amount in each.items())
        for number, node in enumerate(nodes)
    }
    total = {name: sum(node.resources.get(name, 0.0) for node in nodes) for name in each}
    room, needed = sum(held.values()), cluster.least_workers
    if room >= needed:
        return Room(room, total, None)
    short = {name: needed * amount - total[name] for name, amount in each.items()}
    missing = _amounts({name: amount for name, amount in short.items() if amount > 0})
    pieces = ", ".join(f"{node.name} holds {held[number]}" for number, node in enumerate(nodes))
    key = "min_workers" if cluster.min_workers else "workers"
    return Room(
        room,
        total,
        f"cluster.{key}={needed} with {_amounts(each)} each do not fit: the cluster has {_amounts(total)} on "
        f"{len(nodes)} node(s), {f'{missing} too few' if missing else f'in pieces that are too small ({pieces})'}; "
        f"{f'use cluster.{key}={room}' if room else 'ask for less per worker'}, or add nodes",
    )


def require_room(cluster: ClusterSpec, nodes: Sequence[NodeLike]) -> None:
    """Raise ClusterError when the cluster is too small, whoever uses it now: the job would wait forever."""
    problem = find_room(cluster, nodes).problem
    if problem:
        raise ClusterError(problem)


def _amounts(resources: Mapping[str, float]) -> str:
    """{"CPU": 4.0, "GPU": 1.0} -> "4 CPU and 1 GPU"."""
    return " and ".join(f"{amount:g} {name}" for name, amount in resources.items())
