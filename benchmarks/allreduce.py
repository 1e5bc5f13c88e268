"""Horovod's allreduce by size, beside raw Gloo and a plain copy through a socket of the same interface.

    python -m benchmarks.allreduce --pin --torch-python /path/to/python

Prints one JSON line: per size the median milliseconds and the bus bandwidth, 2 (n - 1) / n x bytes /
time, in GB/s; `socket_gb_s` is what one plain TCP connection moves in both directions at once.
Raw Gloo is that of PyTorch (`pip install torch keras` in an environment of its own): Horovod's
without Horovod's thread, negotiation and cycle. Rounds of both alternate.
"""

import argparse
import json
import os
import socket
import statistics
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.ranks import run_ranks, run_torch_ranks

KB, MB = 2**10, 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--largest-mb", type=int, default=256)
    parser.add_argument("--pin", action="store_true", help="bind each rank to its own cores")
    parser.add_argument("--torch-python", type=Path, help="an interpreter that has PyTorch: measure raw Gloo too")
    parser.add_argument("--rank", action="store_true", help="run as one of the ranks")
    arguments = parser.parse_args()
    if arguments.rank:
        print(json.dumps(measure(arguments)))
        return
    horovod, gloo = [], []
    for _ in range(arguments.rounds):
        given = ["--largest-mb", str(arguments.largest_mb)]
        horovod.append(run_ranks("benchmarks.allreduce", arguments.ranks, given, pin=arguments.pin)[0])
        if arguments.torch_python:
            gloo.append(raw_gloo(arguments))
    print(json.dumps(summarise(arguments, horovod, gloo)))


def sizes_of(arguments: argparse.Namespace) -> list[int]:
    """Bytes of each buffer."""
    sizes = [64 * KB, 256 * KB, MB, 4 * MB, 16 * MB, 64 * MB, 256 * MB]
    return [size for size in sizes if size <= arguments.largest_mb * MB]


def repeats_of(size: int) -> int:
    """How often a buffer is reduced in one measurement."""
    return max(2, min(50, 64 * MB // size))


def raw_gloo(arguments: argparse.Namespace) -> list[float]:
    """Milliseconds per size of PyTorch's Gloo."""
    sizes = sizes_of(arguments)
    given = ["allreduce", "--rounds", "3", "--bytes", *map(str, sizes), "--repeats", *map(str, map(repeats_of, sizes))]
    return run_torch_ranks(arguments.torch_python, arguments.ranks, given, pin=arguments.pin)[0]


def summarise(arguments: argparse.Namespace, horovod: list[dict[str, Any]], gloo: list[list[float]]) -> dict[str, Any]:
    """The line to print: medians over the rounds."""
    lines = []
    for number, size in enumerate(sizes_of(arguments)):
        moved = 2 * (arguments.ranks - 1) / arguments.ranks * size
        ms = statistics.median(round_["ms"][number] for round_ in horovod)
        line = {"bytes": size, "ms": round(ms, 3), "bus_gb_s": round(moved / ms / 1e6, 3)}
        if gloo:
            gloo_ms = statistics.median(round_[number] for round_ in gloo)
            line |= {"gloo_ms": round(gloo_ms, 3), "gloo_bus_gb_s": round(moved / gloo_ms / 1e6, 3)}
        lines.append(line)
    return {
        "benchmark": "allreduce",
        "ranks": arguments.ranks,
        "rounds": arguments.rounds,
        "sizes": lines,
        "socket_gb_s": round(statistics.median(round_["socket_gb_s"] for round_ in horovod), 3),
        "cycle_ms": float(os.environ.get("HOROVOD_CYCLE_TIME", 1.0)),
    }


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return this rank's milliseconds per size; the ranks measure each size together."""
    import tensorflow as tf

    from trainers import hvd

    hvd.init()
    medians = []
    for size in sizes_of(arguments):
        buffer = tf.zeros((size // 4,))
        reduce_once = tf.function(lambda buffer=buffer, size=size: hvd.allreduce(buffer, name=str(size)))
        rounds_ms = []
        for _ in range(4):
            hvd.barrier()
            start_s = time.perf_counter()
            for _ in range(repeats_of(size)):
                reduce_once()[0].numpy()
            rounds_ms.append((time.perf_counter() - start_s) * 1e3 / repeats_of(size))
        medians.append(statistics.median(rounds_ms[1:]))  # the first traces and warms up
    return {"ms": medians, "socket_gb_s": socket_bandwidth(hvd)}


def socket_bandwidth(hvd: Any) -> float:
    """Return GB/s of one connection between ranks 0 and 1, both sending at once."""
    rank, payload = hvd.rank(), bytearray(64 * MB)
    port = None
    if rank == 0:
        server = socket.create_server(("127.0.0.1", 0))
        port = server.getsockname()[1]
    port = hvd.broadcast_object(port)
    if rank > 1:
        hvd.barrier()
        return 0.0
    peer = server.accept()[0] if rank == 0 else socket.create_connection(("127.0.0.1", port))
    start_s = time.perf_counter()
    sender = threading.Thread(target=peer.sendall, args=(payload,))
    sender.start()
    left = len(payload)
    while left:
        left -= len(peer.recv(min(left, MB)))
    sender.join()
    spent_s = time.perf_counter() - start_s
    peer.close()
    hvd.barrier()
    return len(payload) / spent_s / 1e9


if __name__ == "__main__":
    main()
