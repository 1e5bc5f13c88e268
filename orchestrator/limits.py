"""What this process may use: of the machine, or of the container that it runs in."""

import os
import shutil
import subprocess
from pathlib import Path

import psutil

from configs.errors import ClusterError

CGROUP = Path("/sys/fs/cgroup")
GPU_ANSWER_S = 20.0
"""nvidia-smi takes some seconds on a machine with many GPUs and no persistence daemon."""


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


def gpu_names() -> list[str]:
    """The GPUs of this machine as nvidia-smi lists them, one text each; none where there is no nvidia-smi.

    Raises ClusterError where it does not answer, as with a driver that hangs.
    """
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, timeout=GPU_ANSWER_S, check=False)
    except subprocess.TimeoutExpired:
        raise ClusterError(
            f"nvidia-smi does not answer within {GPU_ANSWER_S:g} s. The GPU driver hangs: reload it, or restart the "
            "machine"
        ) from None
    if listed.returncode:
        why = (listed.stdout.strip() or listed.stderr.strip() or "no reason given").splitlines()[-1]
        raise ClusterError(f"nvidia-smi ended with code {listed.returncode}: {why}. Repair the GPU driver")
    return [line.strip() for line in listed.stdout.splitlines() if line.strip()]


def cpu_count() -> int:
    """CPUs that may be used, at least 1."""
    count = len(os.sched_getaffinity(0))
    try:
        quota, period = (CGROUP / "cpu.max").read_text().split()
        count = min(count, int(quota) // int(period))
    except (OSError, ValueError):
        pass
    return max(count, 1)
