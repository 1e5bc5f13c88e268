"""How the passes over pieces are run: one after the other in this process, or many at a time as Ray tasks."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from pyarrow.fs import LocalFileSystem

from configs.errors import ClusterError, RingmasterError, one_line
from orchestrator.limits import cpu_count
from orchestrator.sources.places import File, Found

Run = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
"""(function, items) -> the results, in the order of the items."""


def in_turn(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """Call here, one after the other."""
    return map(function, items)


def on_ray(found: Mapping[str, Found], folder: Path) -> Run:
    """Call in tasks of the connected Ray cluster, as many at a time as there are CPUs on hosts that see the files.

    Raises ClusterError where not all hosts see the folder, which is made: tasks write to it, and workers read from it.
    """
    import ray  # not needed for a plan
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    folder.mkdir(parents=True, exist_ok=True)
    marker = folder / ".seen"
    marker.touch()
    hosts = _hosts(found, File(str(marker), str(marker), LocalFileSystem()))
    # Where only this host sees them, which may have no CPU for Ray (the head of a cluster), none is asked for.
    here = {ray.get_runtime_context().get_node_id(): cpu_count()}
    cpus, at_once = (1, sum(hosts.values())) if hosts else (0, sum(here.values()))
    turns = cycle(node for node, count in (hosts or here).items() for _ in range(count))

    def run(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        task, left = ray.remote(function), iter(items)

        def start(item: Any) -> Any:
            place = NodeAffinitySchedulingStrategy(next(turns), soft=False)
            return task.options(num_cpus=cpus, scheduling_strategy=place).remote(item)

        under_way = deque(start(item) for item in islice(left, at_once))
        try:
            while under_way:
                result = _result(under_way.popleft())
                under_way.extend(start(item) for item in islice(left, 1))
                yield result
        finally:
            for reference in under_way:
                ray.cancel(reference)

    return run


def _hosts(found: Mapping[str, Found], marker: File) -> dict[str, int]:
    """CPUs by node of the hosts that see the files: all where they are elsewhere, else those that are asked and do."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1}
    ends = [file for each in found.values() for file in (each.files[0], each.files[-1])]
    here = [file for file in ends if isinstance(file.system, LocalFileSystem)]
    ask = ray.remote(sees_files)
    places = {node: NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes}
    asked = {
        node: [ask.options(num_cpus=0, scheduling_strategy=place).remote(files) for files in ([marker], here)]
        for node, place in places.items()
    }
    answers = {node: [_result(answer) for answer in both] for node, both in asked.items()}
    blind = [nodes[node]["NodeManagerAddress"] for node, (sees_folder, _) in answers.items() if not sees_folder]
    if blind:
        raise ClusterError(
            f"host {blind[0]} does not see the folder {Path(marker.path).parents[3]}, where streaming keeps rows for "
            "all workers; name a folder on a disk that all hosts see: folder=PATH"
        )
    return {node: int(nodes[node]["Resources"]["CPU"]) for node, (_, sees_rows) in answers.items() if sees_rows}


def sees_files(files: Iterable[File]) -> bool:
    """Whether files of a path are on this host, with the size that they have where they were found."""
    return all(os.path.isfile(file.path) and os.path.getsize(file.path) == file.size for file in files)


def _result(reference: Any) -> Any:
    """What a task returns. Raises what it raised where that is meant for the user."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        return ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, RingmasterError):
            raise error.cause from None
        raise
    except RayError as error:
        raise ClusterError(f"a process that prepares rows died: {one_line(error)}. Has it enough memory?") from error
