"""A loss that is not finite stops the run within a few steps, and the rows of its batch are named.

The step itself notes the first bad loss, in a variable beside the model; the host looks at it now and then, so that a
step never waits for it. Knows nothing about files.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from configs.errors import TrainingError
from trainers import hvd

LOOK_EVERY = 64
"""The ranks compare after steps 1, 2, 4, ... 64, then after every so many: one small reduction."""
NONE = np.iinfo(np.int64).max
SHOWN_ROWS = 20

RowsOf = Callable[..., np.ndarray]


class LossWatch:
    """Makes a model's train step note the first step of the epoch whose loss is not finite.

    Keras's loss is a mean over the epoch: once it is not finite, it stays so. A custom step that gives no `loss` is
    not watched; the metrics of its epochs are.
    """

    def __init__(self, model: keras.Model) -> None:
        self._step, self._first_bad = tf.Variable(0, dtype=tf.int64), tf.Variable(NONE, dtype=tf.int64)
        plain_step = model.train_step

        def watched_step(data: Any) -> Any:
            logs = plain_step(data)
            loss = logs.get("loss") if isinstance(logs, dict) else None
            if loss is not None:
                bad = tf.logical_not(tf.math.is_finite(tf.reduce_sum(tf.cast(loss, tf.float32))))
                now = tf.where(bad, self._step, NONE)
                self._first_bad.assign(tf.minimum(self._first_bad, now))
            self._step.assign_add(1)
            return logs

        model.train_step = watched_step
        model.train_function = None  # compiled from the step that was replaced

    def start(self, step: int) -> None:
        """Begin an epoch at its step number `step`, from 0."""
        self._step.assign(step)
        self._first_bad.assign(NONE)

    def first_bad(self) -> tuple[int, int] | None:
        """(step, rank) of the first bad loss of all ranks in this epoch, or None; a collective."""
        size = hvd.size()
        step = int(self._first_bad.numpy())
        mine = step * size + hvd.rank() if step != NONE else NONE
        first = (
            int(hvd.allreduce(tf.constant(mine, tf.int64), op="min", name="ringmaster_bad_loss")) if size > 1 else mine
        )
        return None if first == NONE else divmod(first, size)


class StopAtBadLoss(keras.callbacks.Callback):
    """Ends the run on all ranks alike when a loss is not finite; put it before those that write checkpoints."""

    def __init__(
        self, watch: LossWatch, rows_of: RowsOf, *, steps: int, first_step: int = 0, also_every: int = 0
    ) -> None:
        """rows_of: (epoch, step, rank, size) -> numbers of the rows; also_every: steps between two checkpoints."""
        super().__init__()
        self._watch, self._rows_of, self._steps, self._also_every = watch, rows_of, steps, also_every
        self._start, self._epoch, self._looked = first_step, 0, first_step

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Watch from the first step of this epoch that is trained here."""
        self._epoch, self._looked = epoch, self._start
        self._watch.start(self._start)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Look, when it is time. Raises TrainingError on every rank."""
        done = self._start + batch + 1
        if not self._time_to_look(done):
            return
        self._looked = done
        bad = self._watch.first_bad()
        if bad is not None:
            raise TrainingError(self._message(*bad))

    def _time_to_look(self, done: int) -> bool:
        steps = (1, 2, 4, 8, 16, 32) if self._looked < LOOK_EVERY and self._epoch == 0 else ()
        if any(self._looked < step <= done for step in steps) or done >= self._steps:
            return True
        return any(every and done // every > self._looked // every for every in (LOOK_EVERY, self._also_every))

    def _message(self, step: int, rank: int) -> str:
        rows = self._rows_of(epoch=self._epoch, step=step, rank=rank, size=hvd.size())
        shown = ", ".join(map(str, rows[:SHOWN_ROWS].tolist()))
        more = f", ... ({len(rows)} in all)" if len(rows) > SHOWN_ROWS else ""
        return (
            f"the loss is not finite in epoch {self._epoch + 1}, step {step + 1} of {self._steps}, on rank {rank}, "
            f"with rows {shown}{more} of the data. Look for extreme values in these rows, or lower the learning rate"
        )
