"""The training loop of one rank: restore, fit, report every epoch, prove the ranks equal, evaluate the best model.

Every rank calls every collective; only rank 0 writes. Knows nothing about MLflow or how it was started.
"""

import os
import socket
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import ray
import ray.train
import tensorflow as tf

from configs.errors import TrainingError
from configs.gate import Gate
from configs.registered import Golden
from trainers import checkpoint, hvd
from trainers.augment import Augmentation
from trainers.callbacks import EpochReport, LiveProgress, ResumeMetrics, StepCheckpoint, remove_leftovers
from trainers.checkpoint import Progress
from trainers.data import batch_rows, evaluation_dataset, may_be_empty, steps_per_epoch, training_dataset
from trainers.finite import LossWatch, RowsOf, StopAtBadLoss
from trainers.gate import asked, golden_outputs
from trainers.hvd.logs import scalars
from trainers.job import TEST, TRAIN, VALID, Outcome, Rows, WorkerJob
from trainers.model import add_import_paths, build_model, switch_dropout_off, weigh_by_share


@dataclass(frozen=True)
class Position:
    """Where in the run the next row stands."""

    first_epoch: int
    first_step: int


@dataclass(frozen=True)
class Span:
    """What one `fit` trains: from a position to the end of epoch number `epochs`."""

    start: Position
    epochs: int


def spans(done: Progress, epochs: int) -> list[Span]:
    """What is left to train: the rest of a begun epoch, then the whole ones. Keras's epochs are of one length."""
    if done.step == 0:
        return [Span(Position(done.epoch, 0), epochs)] if done.epoch < epochs else []
    rest = Span(Position(done.epoch, done.step), done.epoch + 1)
    return [rest, *spans(Progress(done.epoch + 1, {}), epochs)]


def train(job: WorkerJob, gate: Gate | None = None) -> Outcome:
    """Train on this rank until the last epoch and return the outcome, the same on every rank.

    gate: on rank 0 of a new run, what tells whether the model can be served.
    Raises SpecError when the model does not fit the job, TrainingError when the ranks differ.
    """
    _announce(job)
    remove_leftovers()
    _take_gpu_memory_as_needed()
    add_import_paths(job.import_paths)
    splits = {name: ray.get(ref) for name, ref in job.splits.items()}
    keras.utils.set_random_seed(job.spec.train.seed)
    model = build_model(job.spec, splits[TRAIN], classes=job.classes)
    with asked(model, job, gate) as servable:
        hvd.init()
        if job.verifying:
            switch_dropout_off(model)
        with hvd.failures_explained():
            code = servable()
            outcome = replace(_train(job, model, splits), code=code)
    hvd.shutdown()  # closes the files that Horovod writes
    files = {name: Path(os.environ[name]) for name in job.records if name in os.environ}
    return replace(outcome, records={name: path.read_text() for name, path in files.items() if path.is_file()})


def _train(job: WorkerJob, model: keras.Model, splits: dict[str, Rows]) -> Outcome:
    spec, batch = job.spec, job.spec.train.global_batch_rows
    for optimizer in hvd.optimizers_of(model):
        hvd.DistributedOptimizer(optimizer, op=spec.horovod.op, compression=spec.horovod.compression)
    done, counted = _restore(model)
    rows = {name: len(split) for name, split in splits.items()}
    steps = {name: steps_per_epoch(count, batch) for name, count in rows.items()}
    weigh_by_share(model, may_be_empty=any(may_be_empty(count, batch, hvd.size()) for count in rows.values()))
    shard: dict[str, Any] = {"global_batch_rows": batch, "rank": hvd.rank(), "size": hvd.size()}
    watch = LossWatch(model)
    rows_of = partial(batch_rows, splits[TRAIN], global_batch_rows=batch, seed=spec.train.seed)
    augmentation = Augmentation.of(spec.data.features, seed=spec.train.seed)
    validation = evaluation_dataset(splits[VALID], **shard) if VALID in splits else None
    for span in spans(done, spec.train.epochs):
        model.fit(
            training_dataset(
                splits[TRAIN], **shard, seed=spec.train.seed, **asdict(span.start), augmentation=augmentation
            ),
            epochs=span.epochs,
            initial_epoch=span.start.first_epoch,
            steps_per_epoch=steps[TRAIN] - span.start.first_step,
            validation_data=validation,
            validation_steps=steps.get(VALID),
            callbacks=_callbacks(job, span, Watched(watch, rows_of, rows[TRAIN], counted)),
            shuffle=False,  # the dataset has its order
            verbose=0,
        )
    best = _load_best(model, monitor=spec.monitor, mode=spec.mode)
    metrics = dict(best.metrics)
    if TEST in splits:
        dataset = evaluation_dataset(splits[TEST], **shard)
        metrics |= _test(model, dataset, steps=steps[TEST])
    return Outcome(
        best_epoch=best.epoch,
        metrics=metrics,
        weights_sha256=hvd.check_equal_weights(model),
        ranks=tuple(hvd.allgather_json(f"rank {hvd.rank()} on {socket.gethostname()}", name="ranks")),
        golden=_golden(model, job),
        weights={variable.path: variable.numpy() for variable in model.weights} if job.verifying else None,
    )


@dataclass(frozen=True)
class Watched:
    """What the callbacks of a run share: the watch over its loss, the rows of a batch, how many rows an epoch has, and
    what the metrics had counted before an interruption."""

    loss: LossWatch
    rows_of: RowsOf
    rows: int
    counted: list[np.ndarray]


def _callbacks(job: WorkerJob, span: Span, run: Watched) -> list[keras.callbacks.Callback]:
    spec, rows, first_step = job.spec, run.rows, span.start.first_step
    batch = spec.train.global_batch_rows
    place: dict[str, int] = {"steps": steps_per_epoch(rows, batch), "first_step": first_step}
    every = spec.train.checkpoint_every_steps
    return [
        hvd.StallWatch(spec.horovod.step_timeout_s),
        hvd.AverageMetrics(),
        hvd.AverageBatchNorm(),
        hvd.CheckEqualWeights(spec.horovod.check_weights_every_steps),
        ResumeMetrics(run.counted if first_step else []),
        StopAtBadLoss(run.loss, run.rows_of, **place, also_every=every),
        LiveProgress(job.feed if hvd.rank() == 0 else None, rows=rows, **place),
        EpochReport(spec, rows=rows - first_step * batch),
        *([StepCheckpoint(spec, **place)] if every else []),
    ]


def _restore(model: keras.Model) -> tuple[Progress, list[np.ndarray]]:
    """Make all ranks start from rank 0's state, or that of the last checkpoint.

    Returns how far it is, and what the metrics had counted in a begun epoch.
    """
    last = ray.train.get_checkpoint()
    done, counted = Progress(0, {}), []
    if last is not None and hvd.rank() == 0:
        with last.as_directory() as folder:
            done, counted = checkpoint.restore(model, folder), checkpoint.counted_metrics(folder)
    told, counted = hvd.broadcast_json([asdict(done), counted])
    hvd.broadcast_state(model)
    hvd.decorrelate_seeds(model)
    return Progress(**told), counted


def _load_best(model: keras.Model, *, monitor: str, mode: str) -> Progress:
    """Load on every rank the weights of the best epoch, which an attempt before this one may have reported."""
    progress = None
    if hvd.rank() == 0:
        # A checkpoint inside an epoch has no metrics to be judged by.
        reported = [entry for entry in ray.train.get_all_reported_checkpoints() if "epoch" in entry.metrics]
        if not reported:
            raise TrainingError("no checkpoint is left to take the best model from; was the run's folder removed?")
        choose = max if mode == "max" else min
        best = choose(reported, key=lambda entry: entry.metrics[monitor])
        with best.checkpoint.as_directory() as folder:
            progress = checkpoint.restore_weights(model, folder)
    told = hvd.broadcast_json(progress and asdict(progress))
    hvd.broadcast_state(model)
    return Progress(**told)


def _golden(model: keras.Model, job: WorkerJob) -> Golden:
    if job.verifying:  # nothing is registered
        return Golden(np.empty((0, 0), np.float32), 0.0)
    try:
        return golden_outputs(model, job)
    except ValueError as error:
        raise TrainingError(f"the best model cannot be registered: {error}") from error


def _test(model: keras.Model, dataset: tf.data.Dataset, *, steps: int) -> dict[str, float]:
    tested = model.evaluate(dataset, steps=steps, callbacks=[hvd.AverageMetrics()], verbose=0, return_dict=True)
    return {f"test_{name}": value for name, value in scalars(tested).items()}


def _announce(job: WorkerJob) -> None:
    """Tell the driver which process is which rank, so that it can find this one's log when it dies."""
    if job.feed is not None:
        rank = ray.train.get_context().get_world_rank()
        place = {"kind": "worker", "rank": rank, "host": socket.gethostname(), "pid": os.getpid()}
        ray.get(job.feed.put.remote(place))


def _take_gpu_memory_as_needed() -> None:
    """Leave room for other processes on the same GPU; TensorFlow would take all of its memory at once."""
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
