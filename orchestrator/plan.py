"""What a job will do, worked out before anything runs: rows, steps, shards, learning rate, memory.

Knows nothing about clusters; see `submit/room.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from configs.job import JobSpec
from orchestrator.datasets import prepare
from orchestrator.loading import chosen_loading
from orchestrator.memory import wide_columns
from orchestrator.streaming import in_turn, survey
from trainers.job import TRAIN


@dataclass(frozen=True)
class Plan:
    """A job in numbers."""

    job: str
    loading: str
    """How rows get to the workers, and why so."""
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
    """Preprocessed rows in shared memory; the workers of a host map the same copy. None when streaming."""
    window_bytes_per_worker: int
    """Streaming: rows on disk that a worker maps at a time, two windows at most."""
    disk_bytes: int
    """Streaming: preprocessed rows in the job's folder while it runs."""
    batch_bytes_per_worker: int
    """The largest batch of a rank, a few of which wait in its memory."""
    notes: tuple[str, ...] = ()
    """What was left out of the rows, and what looks wrong about them."""


def make_plan(spec: JobSpec, note: Callable[[str], None] = lambda text: None) -> Plan:
    """Read the data of a job, in turn and without Ray, and work out its plan. note: is told how far that is.

    Raises DataError or SpecError, as the job itself would.
    """
    cluster, batch, size = spec.cluster, spec.train.global_batch_rows, _sizes(spec, note)
    train = size.rows[TRAIN]
    steps = -(-train // batch)
    full = rank_rows(min(batch, train), cluster.workers)
    return Plan(
        job=spec.name,
        loading=size.loading,
        workers=cluster.workers,
        least_workers=cluster.least_workers,
        rows=dict(size.rows),
        epochs=spec.train.epochs,
        steps_per_epoch=steps,
        global_batch_rows=batch,
        last_batch_rows=train - (steps - 1) * batch,
        batch_rows=full,
        shard_rows=shard_rows(train, batch, cluster.workers),
        optimizer=spec.train.optimizer.name if spec.train.optimizer else "the model's own",
        learning_rate=_learning_rate(spec),
        cpus_per_worker=cluster.cpus_per_worker,
        gpus_per_worker=cluster.gpus_per_worker,
        data_bytes_per_host=size.memory_bytes,
        window_bytes_per_worker=size.window_bytes,
        disk_bytes=size.disk_bytes,
        batch_bytes_per_worker=full[0] * size.row_bytes,
        notes=size.notes,
    )


@dataclass(frozen=True)
class _Sizes:
    """rows: of each part. row_bytes: of a row as the model sees it. The others: see `Plan`."""

    loading: str
    rows: Mapping[str, int]
    row_bytes: int
    memory_bytes: int = 0
    window_bytes: int = 0
    disk_bytes: int = 0
    notes: tuple[str, ...] = ()


def _sizes(spec: JobSpec, note: Callable[[str], None]) -> _Sizes:
    with chosen_loading(spec) as loading:
        if loading.streams:
            known = survey(spec, loading, in_turn, note)
            for line in known.warnings:
                note(line)
            row_bytes = known.like.take(slice(0, 1)).nbytes
            notes = tuple(wide_columns(known.preprocessing))
            return _Sizes(str(loading), known.rows, row_bytes, 0, known.window_bytes, known.disk_bytes, notes)
        ready = prepare(spec, loading)
    splits, facts = ready.splits, ready.facts
    rows = {name: len(split) for name, split in splits.items()}
    held = sum(split.nbytes for split in splits.values())
    return _Sizes(
        str(loading), rows, splits[TRAIN].take(slice(0, 1)).nbytes, held, notes=(*facts.left_out, *facts.notes)
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
