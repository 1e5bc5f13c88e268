"""Ranks that reduce, against the same ranks doing the same work without talking.

    python -m benchmarks.scaling --model cnn --rows 64

Prints one JSON line: medians over interleaved rounds of the step time of independent ranks (the
slower one), of one raw allreduce of the same bytes, and of the distributed step; `efficiency` is
independent / distributed, `bound_ms` is independent + 1.25 x allreduce.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.ranks import run_ranks


def main() -> None:
    arguments = parse()
    if arguments.rank:
        print(json.dumps(measure(arguments)))
        return
    given = ["--model", arguments.model, "--rows", str(arguments.rows)]
    given += ["--rounds", str(arguments.rounds), "--steps", str(arguments.steps)]
    given += ["--options", arguments.options]
    results = run_ranks("benchmarks.scaling", arguments.ranks, given, pin=arguments.pin)
    print(json.dumps(summarise(arguments, results)))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=["cnn", "lstm"], default="cnn")
    parser.add_argument("--rows", type=int, default=64, help="rows of one rank's batch")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=60, help="steps of one round")
    parser.add_argument("--options", default="{}", help="DistributedOptimizer's, as JSON")
    parser.add_argument("--pin", action="store_true", help="bind each rank to its own cores")
    parser.add_argument("--rank", action="store_true", help="run as one of the ranks")
    return parser.parse_args()


def measure(arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Return this rank's milliseconds per step, one value per round and way."""
    import keras
    import tensorflow as tf

    from benchmarks.models import MODELS, batches
    from trainers import hvd

    hvd.init()

    def compiled(distributed: bool) -> Any:
        model = MODELS[arguments.model]()
        optimizer = keras.optimizers.Adam(1e-3)
        if distributed:
            optimizer = hvd.DistributedOptimizer(optimizer, **json.loads(arguments.options))
        model.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=False)
        return model

    alone, together = compiled(False), compiled(True)
    iterator = iter(batches(arguments.model, arguments.rows))
    values = sum(v.value.shape.num_elements() for v in alone.trainable_variables)
    buffer = tf.zeros((values,))

    @tf.function
    def reduce_once() -> Any:
        return hvd.allreduce(buffer, name="raw")

    ways = {
        "independent": train(alone, iterator),
        "allreduce": lambda: reduce_once()[0].numpy(),
        "distributed": train(together, iterator),
    }
    milliseconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(arguments.rounds + 1):
        for name, step in ways.items():
            hvd.barrier()
            start_s = time.perf_counter()
            for _ in range(arguments.steps):
                step()
            spent_ms = (time.perf_counter() - start_s) * 1e3 / arguments.steps
            if number:  # the first round traces and warms up
                milliseconds[name].append(spent_ms)
    return milliseconds | {"bytes": [4 * values]}


def train(model: Any, iterator: Any) -> Callable[[], Any]:
    """Return one call of Keras's own compiled train function."""
    model.make_train_function()
    return lambda: model.train_function(iterator)


def summarise(arguments: argparse.Namespace, results: list[dict[str, list[float]]]) -> dict[str, Any]:
    """Return the line to print: the slower rank of every round, then medians over the rounds."""
    rounds = {
        name: [max(values) for values in zip(*(r[name] for r in results), strict=True)]
        for name in ("independent", "allreduce", "distributed")
    }
    ms = {name: statistics.median(values) for name, values in rounds.items()}
    pairs = zip(rounds["independent"], rounds["distributed"], strict=True)
    return {
        "benchmark": "scaling",
        "model": arguments.model,
        "rows_per_rank": arguments.rows,
        "ranks": arguments.ranks,
        "gradient_bytes": int(results[0]["bytes"][0]),
        "independent_ms": round(ms["independent"], 3),
        "allreduce_ms": round(ms["allreduce"], 3),
        "distributed_ms": round(ms["distributed"], 3),
        "bound_ms": round(ms["independent"] + 1.25 * ms["allreduce"], 3),
        "efficiency": round(statistics.median(a / b for a, b in pairs), 3),
        "samples_per_s": round(1e3 * arguments.ranks * arguments.rows / ms["distributed"]),
        "rounds": arguments.rounds,
        "options": json.loads(arguments.options),
    }


if __name__ == "__main__":
    main()
