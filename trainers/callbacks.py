"""Keras callbacks of a Ringmaster job: what goes to the driver while a rank trains."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import psutil
import ray.train

from configs.errors import SpecError, TrainingError
from configs.job import JobSpec
from trainers import checkpoint, hvd
from trainers.hvd.logs import scalars
from trainers.unfinished import gather_metrics, give_metrics


class LiveProgress(keras.callbacks.Callback):
    """Sends step, speed and metrics to the driver's feed, a few times a second; without a feed it is silent."""

    INTERVAL_S = 0.25

    def __init__(self, feed: Any, *, rows: int, steps: int, first_step: int = 0) -> None:
        """rows, steps: of a whole epoch; first_step: where a resumed epoch goes on."""
        super().__init__()
        self._feed, self._rows, self._steps, self._first_step = feed, rows, steps, first_step
        self._epoch, self._started_s, self._sent_s = 0, 0.0, 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the clock of the epoch."""
        self._epoch, self._started_s = epoch, time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Send how far the epoch is."""
        now_s = time.perf_counter()
        if self._feed is None or now_s - self._sent_s < self.INTERVAL_S:
            return
        self._sent_s = now_s
        step = self._first_step + batch + 1
        trained_rows = self._rows * (batch + 1) / self._steps
        self._feed.put.remote(
            {
                "kind": "step",
                "epoch": self._epoch + 1,
                "step": step,
                "steps": self._steps,
                "samples_per_s": trained_rows / (now_s - self._started_s),
                "metrics": scalars(logs),
            }
        )


class EpochReport(keras.callbacks.Callback):
    """At every epoch's end: proves the ranks equal, writes a checkpoint (rank 0) and reports to Ray Train (all)."""

    def __init__(self, spec: JobSpec, *, rows: int) -> None:
        super().__init__()
        self._spec, self._rows, self._trained_s = spec, rows, 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the clock of the epoch."""
        self._trained_s = -time.perf_counter()

    def on_test_begin(self, logs: Any = None) -> None:
        """Stop the clock: validation is not training."""
        self._stop_clock()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Report. Raises TrainingError on a loss that is not finite, SpecError when the monitor does not exist."""
        self._stop_clock()
        metrics = scalars(logs)
        self._check(metrics, epoch)
        sha256 = hvd.check_equal_weights(self.model)
        report = {
            **metrics,
            "epoch": epoch + 1,
            "samples_per_s": self._rows / self._trained_s,
            "weights_sha256": sha256,
        }
        report_checkpoint(self.model, report, checkpoint.Progress(epoch + 1, metrics))

    def _stop_clock(self) -> None:
        if self._trained_s < 0:
            self._trained_s += time.perf_counter()

    def _check(self, metrics: dict[str, float], epoch: int) -> None:
        if self._spec.monitor not in metrics:
            raise SpecError(
                f"train.monitor={self._spec.monitor!r} is not reported by the model; it reports {', '.join(metrics)}"
            )
        bad = next((name for name, value in metrics.items() if not np.isfinite(value)), None)
        if bad:
            raise TrainingError(
                f"{bad} is {metrics[bad]} after epoch {epoch + 1}: training diverged. "
                "Lower the learning rate, or look for extreme values in the data"
            )


class StepCheckpoint(keras.callbacks.Callback):
    """After every `train.checkpoint_every_steps` steps of an epoch: a checkpoint that goes on with the very next row.

    It leaves the ranks as a resumed run finds them: moving statistics averaged, metrics counted on rank 0. So a run
    that was disturbed ends with the weights and metrics of one that was not. Put it last.
    """

    def __init__(self, spec: JobSpec, *, steps: int, first_step: int = 0) -> None:
        """steps: of a whole epoch; first_step: where a resumed epoch goes on."""
        super().__init__()
        self._every, self._steps, self._first_step = spec.train.checkpoint_every_steps, steps, first_step
        self._epoch, self._done = 0, first_step
        # Without the monitor Ray Train would log an error; this stands below every epoch's checkpoint. (It must be a
        # finite number: Ray Train keeps its state as JSON.)
        self._judged = {spec.monitor: -sys.float_info.max if spec.mode == "max" else sys.float_info.max}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Count from the epoch's first step."""
        self._epoch, self._done = epoch, self._first_step

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Write when it is time; the last step of an epoch has the epoch's own checkpoint."""
        before, self._done = self._done, self._first_step + batch + 1
        if self._done // self._every == before // self._every or self._done >= self._steps:
            return
        hvd.average_batch_norm(self.model)
        counted = gather_metrics(self.model)
        hvd.check_equal_weights(self.model)
        report = {**self._judged, "unfinished_epoch": self._epoch + 1, "step": self._done}
        report_checkpoint(self.model, report, checkpoint.Progress(self._epoch, {}, self._done), counted)


class ResumeMetrics(keras.callbacks.Callback):
    """Gives the first epoch of a `fit` what its metrics had counted before the run was interrupted."""

    def __init__(self, counted: Sequence[np.ndarray]) -> None:
        super().__init__()
        self._counted: list[np.ndarray] | None = list(counted)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Set them once; Keras has just reset them."""
        if self._counted:
            give_metrics(self.model, self._counted)
        self._counted = None


CHECKPOINT_FOLDER = "ringmaster-checkpoint-"


def remove_leftovers() -> None:
    """Remove the temporary checkpoints of processes that were killed while they wrote one."""
    for folder in Path(tempfile.gettempdir()).glob(f"{CHECKPOINT_FOLDER}*"):
        pid = folder.name.removeprefix(CHECKPOINT_FOLDER).partition("-")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def report_checkpoint(
    model: keras.Model, report: dict[str, Any], progress: checkpoint.Progress, counted: Sequence[np.ndarray] = ()
) -> None:
    """Rank 0 writes a checkpoint, and every rank reports to Ray Train; a collective."""
    with tempfile.TemporaryDirectory(prefix=f"{CHECKPOINT_FOLDER}{os.getpid()}-") as folder:
        written = None
        if hvd.rank() == 0:
            checkpoint.save(model, progress, Path(folder), counted)
            written = ray.train.Checkpoint.from_directory(folder)
        ray.train.report(report, checkpoint=written)
