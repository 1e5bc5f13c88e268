"""How long a training step waits for its rows: the Fashion CNN on 60,000 images of 28 x 28.

    python -m benchmarks.input

As in `fit`, the compiled step asks the iterator for its batch; the clock is read before and after in the step itself.
Prints one JSON line with medians over interleaved rounds: the wait for a batch as a part of the step time, through a
job's input pipeline, plain and with augmentation, beside a data set that repeats one batch. Speed does not depend on
the pixels, so they are random.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.models import fashion_cnn
from configs.features import ImageFeature
from configs.preprocessing import FittedTensor
from trainers.augment import Augmentation
from trainers.data import training_dataset
from trainers.job import Split

ROWS = 60_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=64, help="rows of a batch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=150)
    arguments = parser.parse_args()
    model = fashion_cnn()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)

    @tf.function(reduce_retracing=True)
    def step(batches: Any) -> Any:
        asked_s = tf.timestamp()
        with tf.control_dependencies([asked_s]):
            x, y, share = next(batches)
        with tf.control_dependencies([x, y, share]):
            waited_s = tf.timestamp() - asked_s
        return model.train_step((x, y))["loss"], waited_s

    ways = inputs(arguments.rows)
    for batches in ways.values():
        measure(step, batches, 10)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, batches in ways.items():
            found[name].append(measure(step, batches, arguments.steps))
    line: dict[str, Any] = {"benchmark": "input", "model": "cnn", "rows": arguments.rows, "rounds": arguments.rounds}
    for name, rounds in found.items():
        line[f"{name}_step_ms"] = round(1000 * statistics.median(total for _, total in rounds), 3)
        line[f"{name}_wait"] = round(statistics.median(wait / total for wait, total in rounds), 4)
    print(json.dumps(line))


def inputs(rows: int) -> dict[str, Iterator[Any]]:
    """Endless batches by way."""
    rng = np.random.default_rng(0)
    pixels = FittedTensor(kind="image", shape=(28, 28, 1), divide_by=255.0)
    images = rng.integers(0, 256, (ROWS, 28, 28, 1), np.uint8)
    split = Split({"pixels": images}, rng.integers(0, 10, ROWS), deferred={"pixels": pixels})
    feature = ImageFeature(augment={"flip": "horizontal", "shift": 0.1, "rotate": 10.0, "brightness": 0.1})
    augmentation = Augmentation.of({"pixels": feature}, seed=0)
    shard = {"global_batch_rows": rows, "rank": 0, "size": 1, "seed": 0, "first_epoch": 0}
    job = training_dataset(split, **shard)
    one = tf.data.Dataset.from_tensors(next(iter(job))).repeat().with_options(job.options())
    augmented = training_dataset(split, **shard, augmentation=augmentation)
    return {"there": iter(one), "job": iter(job), "augmented": iter(augmented)}


def measure(step: Any, batches: Iterator[Any], steps: int) -> tuple[float, float]:
    """Seconds per step: waiting for the batch, and in all."""
    waited_s, start_s = 0.0, time.perf_counter()
    for _ in range(steps):
        loss, wait_s = step(batches)
        waited_s += float(wait_s)
        float(loss)
    return waited_s / steps, (time.perf_counter() - start_s) / steps


if __name__ == "__main__":
    main()
