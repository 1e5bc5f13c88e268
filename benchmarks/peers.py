"""Ringmaster beside the other ways to train a Keras 3 model on several workers, in one run.

    python -m benchmarks.peers --pin --torch-python /path/to/python

Prints one JSON line. Each way is compared with its own upper bound: the same ranks doing the same work without talking
(`efficiency` = independent / distributed, the slower rank of every round, then the median over the rounds), as the
speed of PyTorch's kernels is not what is asked. Rounds alternate. Ray Train's TensorflowTrainer with
MultiWorkerMirroredStrategy is started too; where it raises, the line says what.
"""

import argparse
import json
import re
import statistics
from pathlib import Path
from typing import Any

from benchmarks.ranks import run_ranks, run_torch_ranks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch-python", type=Path, required=True, help="an interpreter with PyTorch and Keras")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rows", type=int, default=64, help="rows of one rank's batch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--pin", action="store_true", help="bind each rank to its own cores")
    arguments = parser.parse_args()
    given = ["--rows", str(arguments.rows), "--rounds", "2", "--steps", str(arguments.steps)]
    rounds: dict[str, list[tuple[float, float]]] = {"ringmaster": [], "torch_ddp_gloo": []}
    for _ in range(arguments.rounds):
        ours = run_ranks("benchmarks.scaling", arguments.ranks, ["--model", "cnn", *given], pin=arguments.pin)
        theirs = run_torch_ranks(arguments.torch_python, arguments.ranks, ["train", *given], pin=arguments.pin)
        rounds["ringmaster"].append(slower(ours))
        rounds["torch_ddp_gloo"].append(slower(theirs))
    line: dict[str, Any] = {name: summary(values, arguments.ranks * arguments.rows) for name, values in rounds.items()}
    line["ray_tensorflow_trainer"] = tensorflow_trainer(arguments.ranks)
    print(json.dumps({"benchmark": "peers", "model": "cnn", "rows_per_rank": arguments.rows, **line}))


def slower(results: list[dict[str, list[float]]]) -> tuple[float, float]:
    """(independent, distributed) milliseconds per step of the slower rank."""
    independent, distributed = (
        statistics.median(max(values) for values in zip(*(result[name] for result in results), strict=True))
        for name in ("independent", "distributed")
    )
    return independent, distributed


def summary(rounds: list[tuple[float, float]], rows: int) -> dict[str, float]:
    """Medians over the rounds; rows: those of a global batch."""
    distributed_ms = statistics.median(distributed for _, distributed in rounds)
    return {
        "independent_ms": round(statistics.median(independent for independent, _ in rounds), 3),
        "distributed_ms": round(distributed_ms, 3),
        "samples_per_s": round(1e3 * rows / distributed_ms),
        "efficiency": round(statistics.median(alone / together for alone, together in rounds), 3),
    }


def tensorflow_trainer(workers: int) -> dict[str, str]:
    """Start Ray Train's own trainer for TensorFlow on the same model; say what came of it."""
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.tensorflow import TensorflowTrainer

    ray.init(num_cpus=workers + 1, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    try:
        TensorflowTrainer(
            fit_mirrored, scaling_config=ScalingConfig(num_workers=workers), run_config=RunConfig(name="peers")
        ).fit()
    except Exception as error:  # whatever it raises is the answer
        named = re.findall(r"^\s*(\w+(?:Error|Exception): .*)$", str(error), re.MULTILINE)
        return {"raises": str((named or [error])[-1])[:300]}
    finally:
        ray.shutdown()
    return {"ran": "fit finished"}


def fit_mirrored() -> None:
    """One epoch under MultiWorkerMirroredStrategy, as Ray's and TensorFlow's guides write it."""
    import tensorflow as tf

    from benchmarks.models import batches, fashion_cnn

    with tf.distribute.MultiWorkerMirroredStrategy().scope():
        model = fashion_cnn()
        model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    try:
        model.fit(batches("cnn", 64), steps_per_epoch=5, verbose=0)
    except Exception as error:
        text = " ".join(str(error).split())  # holds the whole batch
        raise RuntimeError(f"{type(error).__name__}: {text[:60]} ... {text[-120:]}") from None


if __name__ == "__main__":
    main()
