"""Rank processes of one machine for the benchmarks.

Knows nothing about what is measured: a benchmark module runs itself again as a rank, and every
rank prints one JSON object.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from trainers.hvd.rendezvous import start_rendezvous


def run_ranks(
    module: str,
    ranks: int,
    arguments: Sequence[str],
    *,
    pin: bool = False,
    timeout_s: float = 900.0,
    **variables: str,
) -> list[Any]:
    """Run `python -m module --rank ARGUMENTS` on `ranks` processes; return what each printed.

    pin: bind each rank to its own cores; by default the system places the threads.
    """
    rendezvous = start_rendezvous(["localhost"] * ranks, address="127.0.0.1")
    cores = sorted(os.sched_getaffinity(0))
    share = max(1, len(cores) // ranks)
    processes = []
    for rank in range(ranks):
        mine = [cores[(rank * share + i) % len(cores)] for i in range(share)]
        quiet = {
            "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
            "KERAS_BACKEND": "tensorflow",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TF_NUM_INTRAOP_THREADS": str(share),
            "TF_NUM_INTEROP_THREADS": str(share),
        }
        command = [sys.executable, "-m", module, "--rank"]
        if pin:
            command = ["taskset", "-c", ",".join(map(str, mine)), *command]
        processes.append(
            subprocess.Popen(
                [*command, *arguments],
                env=os.environ | quiet | rendezvous.environment(rank, "lo") | variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        ends = [process.communicate(timeout=timeout_s) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
        rendezvous.stop()
    for process, (_, stderr) in zip(processes, ends, strict=True):
        if process.returncode:
            raise SystemExit(f"a rank ended with {process.returncode}:\n{stderr[-3000:]}")
    return [json.loads(stdout.strip().splitlines()[-1]) for stdout, _ in ends]
