"""Keras callbacks of a Ringmaster job: what goes to the driver while a rank trains."""

import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import ray.train

from configs.errors import SpecError, TrainingError
from configs.job import JobSpec
from trainers import checkpoint, hvd


class LiveProgress(keras.callbacks.Callback):
    """Sends step, speed and metrics to the driver's feed, a few times a second; without a feed it is silent."""

    INTERVAL_S = 0.25

    def __init__(self, feed: Any, *, rows: int, steps: int) -> None:
        super().__init__()
        self._feed, self._rows, self._steps = feed, rows, steps
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
        share_done = (batch + 1) / self._steps
        self._feed.put.remote(
            {
                "kind": "step",
                "epoch": self._epoch + 1,
                "step": batch + 1,
                "steps": self._steps,
                "samples_per_s": self._rows * share_done / (now_s - self._started_s),
                "metrics": {name: float(value) for name, value in (logs or {}).items()},
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
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        self._check(metrics, epoch)
        sha256 = hvd.check_equal_weights(self.model)
        report = {
            **metrics,
            "epoch": epoch + 1,
            "samples_per_s": self._rows / self._trained_s,
            "weights_sha256": sha256,
        }
        with tempfile.TemporaryDirectory(prefix="ringmaster-checkpoint-") as folder:
            written = None
            if hvd.rank() == 0:
                checkpoint.save(self.model, checkpoint.Progress(epoch + 1, metrics), Path(folder))
                written = ray.train.Checkpoint.from_directory(folder)
            ray.train.report(report, checkpoint=written)

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
