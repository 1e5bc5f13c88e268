"""Learning rates for a global batch that grew with the ranks: scaled, and warmed up.

Knows nothing about the optimizer beyond its `learning_rate`.
"""

import logging
import math
from collections.abc import Callable
from typing import Any

import keras

from configs.errors import SpecError
from trainers.hvd.collectives import rank, size

RULES: dict[str, Callable[[int], float]] = {
    "none": lambda ranks: 1.0,
    "linear": lambda ranks: float(ranks),
    "sqrt": lambda ranks: math.sqrt(ranks),
}

log = logging.getLogger(__name__)


def scale_learning_rate(learning_rate: float, *, rule: str = "linear", ranks: int | None = None) -> float:
    """Return the rate for a global batch of `ranks` times the rows: linear, sqrt, or none.

    ranks: by default the size of the ring. Only for jobs whose rows per rank stay the same; a
    fixed global batch needs no scaling.
    """
    if rule not in RULES:
        raise SpecError(f"The learning rate rule {rule!r} is unknown. Expected one of: {', '.join(RULES)}.")
    return learning_rate * RULES[rule](size() if ranks is None else ranks)


class LearningRateWarmup(keras.callbacks.Callback):
    """Raises the learning rate, batch by batch, from `initial_lr / size` to `initial_lr`.

    Args:
        initial_lr: the rate after the warm-up; by default the optimizer's rate when training
            starts, so give the optimizer the scaled one.
        warmup_epochs: epochs that the way up takes.
        steps_per_epoch: needed only where Keras does not know the number of steps.
        verbose: 1 makes rank 0 log the end of the warm-up.
    """

    def __init__(
        self,
        initial_lr: float | None = None,
        *,
        warmup_epochs: float = 5,
        steps_per_epoch: int | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__()
        self.initial_lr: Any = initial_lr
        self.warmup_epochs = warmup_epochs
        self.steps_per_epoch: Any = steps_per_epoch
        self.verbose = verbose
        self._epoch = 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Learn the rate to reach and the steps of an epoch."""
        optimizer = self.model.optimizer
        if callable(optimizer.learning_rate) or not hasattr(optimizer.learning_rate, "assign"):
            raise SpecError(
                "LearningRateWarmup needs an optimizer with a plain learning rate. This one has "
                "a schedule, which would overwrite it: put the warm-up into the schedule."
            )
        if self.initial_lr is None:
            self.initial_lr = float(optimizer.learning_rate)
        self.steps_per_epoch = self.steps_per_epoch or self.params.get("steps")
        if not self.steps_per_epoch:
            raise SpecError(
                "LearningRateWarmup does not know the steps of an epoch, as the data has no "
                "length. Give steps_per_epoch."
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note where training stands; a resumed run goes on from there."""
        self._epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set the rate of this batch; it reaches `initial_lr` in the last batch of the warm-up."""
        done = (self._epoch + (batch + 1) / self.steps_per_epoch) / self.warmup_epochs
        if self._epoch >= self.warmup_epochs:
            return
        ranks = size()
        share = (1 + (ranks - 1) * min(done, 1.0)) / ranks
        self.model.optimizer.learning_rate = self.initial_lr * share

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Say that the warm-up is over."""
        if self.verbose and rank() == 0 and epoch == math.ceil(self.warmup_epochs) - 1:
            log.info("Epoch %d: learning rate warm-up reached %g.", epoch + 1, self.initial_lr)
