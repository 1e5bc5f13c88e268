"""Reductions between hosts: 2, 3 and 4 ranks over links of 1 Gbit/s and 100 Mbit/s.

    sudo python -m benchmarks.shaped > shaped.json

Every rank is a host of its own (a network namespace) behind a shaped link. Prints one JSON line; `benchmarks.simulate`
fits its cost model on it.
"""

import argparse
import json
import statistics
import sys
import time
from typing import Any

from benchmarks.links import INTERFACE, shaped_hosts
from benchmarks.ranks import collect, cores_of, pinned
from trainers.hvd.rendezvous import start_rendezvous

KB = 2**10
SIZES = (4 * KB, 64 * KB, 256 * KB, 900 * KB, 4096 * KB)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ranks", type=int, nargs="*", default=[2, 3, 4])
    parser.add_argument("--mbit", type=int, nargs="*", default=[1000, 100])
    parser.add_argument("--rank", action="store_true", help="run as one of the ranks")
    arguments = parser.parse_args()
    if arguments.rank:
        print(json.dumps(measure(arguments.rounds)))
        return
    measured = [
        {"mbit_per_s": mbit, "ranks": ranks, "sizes": reductions(ranks, mbit, arguments.rounds)}
        for mbit in arguments.mbit
        for ranks in arguments.ranks
    ]
    print(json.dumps({"benchmark": "shaped", "rounds": arguments.rounds, "links": measured}))


def reductions(ranks: int, mbit: int, rounds: int) -> list[dict[str, float]]:
    """Median milliseconds of an allreduce per size, of the slowest rank."""
    command = [sys.executable, "-m", "benchmarks.shaped", "--rank", "--rounds", str(rounds)]
    with shaped_hosts(ranks, mbit_per_s=mbit) as hosts:
        rendezvous = start_rendezvous(hosts.namespaces, address=hosts.bridge)
        share = str(len(cores_of(0, ranks)))
        threads = {"TF_NUM_INTRAOP_THREADS": share, "TF_NUM_INTEROP_THREADS": share, "TF_CPP_MIN_LOG_LEVEL": "3"}
        try:
            results = collect(
                [hosts.on(rank, pinned(command, rank, ranks)) for rank in range(ranks)],
                [threads | rendezvous.environment(rank, INTERFACE) for rank in range(ranks)],
            )
        finally:
            rendezvous.stop()
    return [
        {"bytes": size, "ms": round(max(result[number] for result in results), 3)} for number, size in enumerate(SIZES)
    ]


def measure(rounds: int) -> list[float]:
    """This rank's median milliseconds of one allreduce per size."""
    import tensorflow as tf

    from trainers import hvd

    hvd.init()
    buffers = [tf.zeros((size // 4,)) for size in SIZES]

    @tf.function
    def reduce_once(buffer: Any) -> Any:
        return hvd.allreduce(buffer, name=str(buffer.shape[0]))

    spent_ms: list[list[float]] = [[] for _ in SIZES]
    for number in range(rounds + 1):
        for buffer, values in zip(buffers, spent_ms, strict=True):
            repeats = 5
            hvd.barrier()
            start_s = time.perf_counter()
            for _ in range(repeats):
                reduce_once(buffer)[0].numpy()
            if number:  # the first traces
                values.append((time.perf_counter() - start_s) * 1e3 / repeats)
    hvd.barrier()
    return [statistics.median(values) for values in spent_ms]


if __name__ == "__main__":
    main()
