"""What runs in an interpreter that has PyTorch: raw Gloo reductions, and DistributedDataParallel over Gloo.

Stands alone: imports nothing of ours, so that an environment with PyTorch and Keras is all it needs. Prints one JSON
object. `benchmarks.allreduce` and `benchmarks.peers` start it on every rank.

    RANK=0 WORLD_SIZE=1 MASTER_ADDR=127.0.0.1 MASTER_PORT=29400 python benchmarks/torch_ranks.py train
"""

import argparse
import json
import os
import statistics
import time

os.environ["KERAS_BACKEND"] = "torch"
os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")

import torch
import torch.distributed as dist


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["allreduce", "train"])
    parser.add_argument("--bytes", type=int, nargs="*", default=[])
    parser.add_argument("--repeats", type=int, nargs="*", default=[])
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    dist.init_process_group("gloo")
    try:
        print(json.dumps(allreduce(arguments) if arguments.what == "allreduce" else train(arguments)))
    finally:
        dist.destroy_process_group()


def allreduce(arguments: argparse.Namespace) -> list[float]:
    """Return milliseconds of one reduction, a median per size."""
    medians = []
    for size, repeats in zip(arguments.bytes, arguments.repeats, strict=True):
        buffer = torch.zeros(size // 4)
        rounds_ms = []
        for _ in range(arguments.rounds + 1):
            dist.barrier()
            start_s = time.perf_counter()
            for _ in range(repeats):
                dist.all_reduce(buffer)
            rounds_ms.append((time.perf_counter() - start_s) * 1e3 / repeats)
        medians.append(statistics.median(rounds_ms[1:]))
    return medians


def train(arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Return milliseconds per step of this rank, alone and under DistributedDataParallel, one value per round.

    The model is the Keras model of `benchmarks.models.fashion_cnn` on the torch backend.
    """
    import keras
    from torch.nn.parallel import DistributedDataParallel

    def model() -> keras.Model:
        keras.utils.set_random_seed(0)
        layers = keras.layers
        return keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                layers.Conv2D(32, 3, activation="relu"),
                layers.MaxPooling2D(),
                layers.Conv2D(64, 3, activation="relu"),
                layers.MaxPooling2D(),
                layers.Flatten(),
                layers.Dense(128, activation="relu"),
                layers.Dense(10),
            ]
        )

    x = torch.rand(arguments.rows, 28, 28, 1)
    y = torch.randint(0, 10, (arguments.rows,))

    def stepper(network: torch.nn.Module) -> object:
        optimizer = torch.optim.Adam(network.parameters(), 1e-3)

        def step() -> None:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x), y).backward()
            optimizer.step()

        return step

    ways = {"independent": stepper(model()), "distributed": stepper(DistributedDataParallel(model()))}
    milliseconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(arguments.rounds + 1):
        for name, step in ways.items():
            dist.barrier()
            start_s = time.perf_counter()
            for _ in range(arguments.steps):
                step()
            if number:  # the first round warms up
                milliseconds[name].append((time.perf_counter() - start_s) * 1e3 / arguments.steps)
    return milliseconds


if __name__ == "__main__":
    main()
