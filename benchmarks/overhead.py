"""Training through the binding with one rank, against plain `keras.Model.fit`.

    python -m benchmarks.overhead

Prints one JSON line: median samples per second of both over interleaved rounds in one process, and
their ratio. Covers the wrapped optimizer and the callbacks of a Ringmaster job that every step
meets; Ray's part is per epoch and is not measured here.
"""

import argparse
import json
import statistics
import time

import keras

from benchmarks.models import MODELS, batches
from trainers import hvd


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=sorted(MODELS), default="cnn")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=100)
    arguments = parser.parse_args()
    hvd.init()
    data = batches(arguments.model, arguments.rows)
    plain, bound = compiled(arguments.model), compiled(arguments.model)
    hvd.DistributedOptimizer(bound.optimizer)
    hvd.broadcast_state(bound)
    ours = [hvd.AverageMetrics(), hvd.CheckEqualWeights(), hvd.StallWatch()]
    ways = {"plain": (plain, []), "bound": (bound, ours)}
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(arguments.rounds + 1):
        for name, (model, callbacks) in ways.items():
            start_s = time.perf_counter()
            model.fit(data, steps_per_epoch=arguments.steps, verbose=0, callbacks=list(callbacks))
            if number:
                rows = arguments.steps * arguments.rows
                speeds[name].append(rows / (time.perf_counter() - start_s))
    ratios = [b / a for a, b in zip(speeds["plain"], speeds["bound"], strict=True)]
    line = {
        "benchmark": "overhead",
        "model": arguments.model,
        "rows": arguments.rows,
        "plain_samples_per_s": round(statistics.median(speeds["plain"])),
        "bound_samples_per_s": round(statistics.median(speeds["bound"])),
        "ratio": round(statistics.median(ratios), 3),
        "rounds": arguments.rounds,
    }
    print(json.dumps(line))


def compiled(name: str) -> keras.Model:
    """Return a model compiled as both ways train it."""
    model = MODELS[name]()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


if __name__ == "__main__":
    main()
