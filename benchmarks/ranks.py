"""Rank processes of one machine for the benchmarks.

Knows nothing about what is measured: a benchmark module runs itself again as a rank, and every
rank prints one JSON object.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainers.hvd.affinity import cores_of_rank
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
    share = len(cores_of(0, ranks))
    quiet = {
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_NUM_INTRAOP_THREADS": str(share),
        "TF_NUM_INTEROP_THREADS": str(share),
    }
    command = [sys.executable, "-m", module, "--rank", *arguments]
    try:
        return collect(
            [pinned(command, rank, ranks) if pin else command for rank in range(ranks)],
            [quiet | rendezvous.environment(rank, "lo") | variables for rank in range(ranks)],
            timeout_s=timeout_s,
        )
    finally:
        rendezvous.stop()


def run_torch_ranks(python: Path, ranks: int, arguments: Sequence[str], *, pin: bool = False) -> list[Any]:
    """Run `benchmarks/torch_ranks.py ARGUMENTS` on `ranks` processes of an interpreter that has PyTorch."""
    command = [str(python), str(Path(__file__).with_name("torch_ranks.py")), *arguments]
    ring = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(ranks)}
    return collect(
        [pinned(command, rank, ranks) if pin else command for rank in range(ranks)],
        [ring | {"RANK": str(rank)} for rank in range(ranks)],
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cores_of(rank: int, ranks: int) -> list[int]:
    """The cores of a rank among all that this process may use; ranks share them where there are fewer."""
    return cores_of_rank(sorted(os.sched_getaffinity(0)), rank, ranks)


def pinned(command: Sequence[str], rank: int, ranks: int) -> list[str]:
    return ["taskset", "-c", ",".join(map(str, cores_of(rank, ranks))), *command]


def collect(
    commands: Sequence[Sequence[str]], environments: Sequence[dict[str, str]], *, timeout_s: float = 900.0
) -> list[Any]:
    """Run the commands side by side; return the JSON object that each printed last."""
    processes = [
        subprocess.Popen(
            command, env=os.environ | variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for command, variables in zip(commands, environments, strict=True)
    ]
    try:
        ends = [process.communicate(timeout=timeout_s) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    for process, (_, stderr) in zip(processes, ends, strict=True):
        if process.returncode:
            raise SystemExit(f"a rank ended with {process.returncode}:\n{stderr[-3000:]}")
    return [json.loads(stdout.strip().splitlines()[-1]) for stdout, _ in ends]
