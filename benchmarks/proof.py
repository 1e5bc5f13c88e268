"""What the proof of equal weights costs: one comparison, against a training step.

    python -m benchmarks.proof

Prints one JSON line: the median milliseconds of one comparison and of one step of the CNN, and the
share of the step that the comparison takes at its default interval.
"""

import argparse
import json
import statistics
import time

from benchmarks.ranks import run_ranks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--rank", action="store_true", help="run as one of the ranks")
    arguments = parser.parse_args()
    if arguments.rank:
        print(json.dumps(measure(arguments.rounds)))
        return
    results = run_ranks("benchmarks.proof", 2, ["--rounds", str(arguments.rounds)])
    print(json.dumps(max(results, key=lambda result: result["comparison_ms"])))


def measure(rounds: int) -> dict[str, object]:
    """Return this rank's line."""
    import keras

    from benchmarks.models import batches, fashion_cnn
    from trainers import hvd
    from trainers.hvd.proof import EVERY_STEPS, same_on_all_ranks

    hvd.init()
    model = fashion_cnn()
    optimizer = hvd.DistributedOptimizer(keras.optimizers.Adam())
    model.compile(optimizer, "sparse_categorical_crossentropy")
    watch = hvd.CheckEqualWeights()
    watch.set_model(model)
    watch.on_train_begin()
    model.make_train_function()
    iterator = iter(batches("cnn", 64))
    spent: dict[str, list[float]] = {"step": [], "comparison": []}
    for _ in range(rounds):
        for name, run in (
            ("step", lambda: model.train_function(iterator)),
            ("comparison", lambda: same_on_all_ranks(watch._hash())),
        ):
            start_s = time.perf_counter()
            run()
            spent[name].append((time.perf_counter() - start_s) * 1e3)
    ms = {name: statistics.median(values) for name, values in spent.items()}
    return {
        "benchmark": "proof",
        "comparison_ms": round(ms["comparison"], 3),
        "step_ms": round(ms["step"], 3),
        "every_steps": EVERY_STEPS,
        "share_of_training": round(ms["comparison"] / EVERY_STEPS / ms["step"], 5),
    }


if __name__ == "__main__":
    main()
