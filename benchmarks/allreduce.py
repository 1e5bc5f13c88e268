"""Horovod's allreduce by size, beside a plain copy through a socket of the same interface.

    python -m benchmarks.allreduce

Prints one JSON line: per size the median milliseconds and the bus bandwidth, 2 (n - 1) / n x bytes /
time, in GB/s; `socket_gb_s` is what one plain TCP connection moves in both directions at once.
"""

import argparse
import json
import os
import socket
import statistics
import threading
import time

from benchmarks.ranks import run_ranks

KB, MB = 2**10, 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--largest-mb", type=int, default=256)
    parser.add_argument("--pin", action="store_true", help="bind each rank to its own cores")
    parser.add_argument("--rank", action="store_true", help="run as one of the ranks")
    arguments = parser.parse_args()
    if arguments.rank:
        print(json.dumps(measure(arguments)))
        return
    given = ["--rounds", str(arguments.rounds), "--largest-mb", str(arguments.largest_mb)]
    results = run_ranks("benchmarks.allreduce", arguments.ranks, given, pin=arguments.pin)
    print(json.dumps({"benchmark": "allreduce", "ranks": arguments.ranks, **results[0]}))


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """Return this rank's medians; the ranks measure each size together."""
    import tensorflow as tf

    from trainers import hvd

    hvd.init()
    sizes = [64 * KB, 256 * KB, MB, 4 * MB, 16 * MB, 64 * MB, 256 * MB]
    lines = []
    for size in (size for size in sizes if size <= arguments.largest_mb * MB):
        buffer = tf.zeros((size // 4,))
        reduce_once = tf.function(lambda buffer=buffer, size=size: hvd.allreduce(buffer, name=str(size)))
        repeats = max(2, min(20, 32 * MB // size))
        rounds_ms = []
        for _ in range(arguments.rounds + 1):
            hvd.barrier()
            start_s = time.perf_counter()
            for _ in range(repeats):
                reduce_once()[0].numpy()
            rounds_ms.append((time.perf_counter() - start_s) * 1e3 / repeats)
        ms = statistics.median(rounds_ms[1:])
        moved = 2 * (hvd.size() - 1) / hvd.size() * size
        lines.append({"bytes": size, "ms": round(ms, 3), "bus_gb_s": round(moved / ms / 1e6, 3)})
    return {
        "sizes": lines,
        "socket_gb_s": round(socket_bandwidth(hvd), 3),
        "cycle_ms": float(os.environ.get("HOROVOD_CYCLE_TIME", 1.0)),
    }


def socket_bandwidth(hvd: object) -> float:
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
