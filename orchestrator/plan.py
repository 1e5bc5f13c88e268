"""What a job will do, worked out before anything runs: rows, steps, shards, learning rate, memory.

Knows nothing about clusters; see `submit/room.py`.
"""

from dataclasses import dataclass

import numpy as np

from configs.job import JobSpec
from orchestrator.datasets import Prepared
from trainers.job import TRAIN, Split


@dataclass(frozen=True)
class Plan:
    """A job in numbers."""

    job: str
    workers: int
    least_workers: int
    rows: dict[str, int]
    """Of every part: train, valid, test."""
    epochs: int
    steps_per_epoch: int
    """Optimizer steps: global batches that cover the training part."""
    global_batch_rows: int
    last_batch_rows: int
    """Of the last global batch of an epoch; it is not padded."""
    batch_rows: list[int]
    """Of a full global batch, by rank."""
    shard_rows: list[int]
    """Of an epoch, by rank; together they are the training part."""
    optimizer: str
    learning_rate: str
    cpus_per_worker: int
    gpus_per_worker: int
    data_bytes_per_host: int
    """Preprocessed rows in shared memory; the workers of a host map the same copy."""
    batch_bytes_per_worker: int
    """The largest batch of a rank, a few of which wait in its memory."""


def make_plan(spec: JobSpec, data: Prepared) -> Plan:
    """Work out the plan of a job from its prepared data."""
    cluster, batch = spec.cluster, spec.train.global_batch_rows
    train = data.splits[TRAIN]
    steps = -(-len(train) // batch)
    full = rank_rows(min(batch, len(train)), cluster.workers)
    return Plan(
        job=spec.name,
        workers=cluster.workers,
        least_workers=cluster.least_workers,
        rows={name: len(split) for name, split in data.splits.items()},
        epochs=spec.train.epochs,
        steps_per_epoch=steps,
        global_batch_rows=batch,
        last_batch_rows=len(train) - (steps - 1) * batch,
        batch_rows=full,
        shard_rows=shard_rows(len(train), batch, cluster.workers),
        optimizer=spec.train.optimizer.name if spec.train.optimizer else "the model's own",
        learning_rate=_learning_rate(spec),
        cpus_per_worker=cluster.cpus_per_worker,
        gpus_per_worker=cluster.gpus_per_worker,
        data_bytes_per_host=sum(_bytes(split) for split in data.splits.values()),
        batch_bytes_per_worker=full[0] * _bytes(train) // len(train),
    )


def rank_rows(batch_rows: int, workers: int) -> list[int]:
    """The rows of a global batch by rank, as `trainers.data` deals them: the first ranks take one more."""
    share, extra = divmod(batch_rows, workers)
    return [share + (rank < extra) for rank in range(workers)]


def shard_rows(rows: int, global_batch_rows: int, workers: int) -> list[int]:
    """The rows of an epoch by rank."""
    full, rest = divmod(rows, global_batch_rows)
    shares = zip(rank_rows(global_batch_rows, workers), rank_rows(rest, workers), strict=True)
    return [full * each + last for each, last in shares]


def _learning_rate(spec: JobSpec) -> str:
    """The rate in words. Workers share the global batch, so it is the same for any number of them."""
    if spec.train.optimizer is None:
        return "the model's own, the same for any number of workers"
    given = spec.train.optimizer.params.get("learning_rate")
    rate = f"Keras's default of {spec.train.optimizer.name}" if given is None else f"{given}"
    return f"{rate}, the same for any number of workers, as they share the global batch"


def _bytes(split: Split) -> int:
    return sum(np.asarray(array).nbytes for array in (*split.inputs.values(), split.target))
