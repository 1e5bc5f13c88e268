"""Cores of its own for every rank of a host.

Without it the system moves the threads of the ranks about, and two ranks may meet on one core
while another idles; every step waits for the slower one. Needs neither Horovod nor TensorFlow:
it must run before TensorFlow starts its threads, which inherit the cores.
"""

import os
from collections.abc import Sequence


def cores_of_rank(cores: Sequence[int], local_rank: int, local_size: int) -> list[int]:
    """Return this rank's share of `cores`, neighbours side by side; at least one.

    Where there are fewer cores than ranks, ranks share them in turn.
    """
    ordered = sorted(cores)
    if len(ordered) < local_size:
        return [ordered[local_rank % len(ordered)]]
    start = len(ordered) * local_rank // local_size
    end = len(ordered) * (local_rank + 1) // local_size
    return ordered[start:end]


def pin_to_cores(local_rank: int | None = None, local_size: int | None = None) -> list[int]:
    """Bind this process to its share of the cores it may use; return them.

    By default the rank's place comes from HOROVOD_LOCAL_RANK and HOROVOD_LOCAL_SIZE. Call it
    first in the program. Only where the job has the host to itself: two jobs would choose the
    same cores. Returns [] on systems without affinity.
    """
    if not hasattr(os, "sched_setaffinity"):
        return []
    if local_rank is None:
        local_rank = int(os.environ.get("HOROVOD_LOCAL_RANK", 0))
    if local_size is None:
        local_size = int(os.environ.get("HOROVOD_LOCAL_SIZE", 1))
    mine = cores_of_rank(sorted(os.sched_getaffinity(0)), local_rank, local_size)
    os.sched_setaffinity(0, mine)
    return mine
