"""What this process may use: of the machine, or of the container that it runs in."""

import os
from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Bytes that may still be taken. Pages of files that were read count as free: the kernel gives them up."""
    free = psutil.virtual_memory().available
    try:
        limit, used = (int((CGROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        free = min(free, limit - used + int(stat.get("inactive_file", 0)))
    except (OSError, ValueError):  # no container, or its limit is "max"
        pass
    return max(free, 0)


def cpu_count() -> int:
    """CPUs that may be used, at least 1."""
    count = len(os.sched_getaffinity(0))
    try:
        quota, period = (CGROUP / "cpu.max").read_text().split()
        count = min(count, int(quota) // int(period))
    except (OSError, ValueError):
        pass
    return max(count, 1)
