"""How the passes over pieces are run: one after the other in this process, or many at a time as Ray tasks."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from configs.errors import ClusterError, RingmasterError, one_line

Run = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
"""(function, items) -> the results, in the order of the items."""


def in_turn(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """Call here, one after the other."""
    return map(function, items)


def on_ray(*, anywhere: bool) -> Run:
    """Call in tasks of the connected Ray cluster, as many at a time as there are CPUs.

    anywhere: on all hosts; else on this one alone, as files of this machine may not be seen elsewhere.
    """
    import ray  # not needed for a plan
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    if anywhere:
        at_once, options = int(ray.cluster_resources().get("CPU", 1)), {"num_cpus": 1, "scheduling_strategy": "SPREAD"}
    else:
        # Ray may have no CPU on this host (the head of a cluster), so none is asked for.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        at_once, options = os.cpu_count() or 1, {"num_cpus": 0, "scheduling_strategy": here}

    def run(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        task, left = ray.remote(function).options(**options), iter(items)
        under_way = deque(task.remote(item) for item in islice(left, max(1, at_once)))
        try:
            while under_way:
                result = _result(under_way.popleft())
                under_way.extend(task.remote(item) for item in islice(left, 1))
                yield result
        finally:
            for reference in under_way:
                ray.cancel(reference)

    return run


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
