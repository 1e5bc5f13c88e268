"""Learning rates for a global batch that grew with the ranks: scaled, and warmed up.

Knows nothing about the optimizer beyond its `learning_rate`.
"""

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


def scale_learning_rate(learning_rate: float, *, rule: str = "linear", ranks: int | None = None) -> float:
    """Return the rate for a global batch of `ranks` times the rows: linear, sqrt, or none.

    ranks: by default the size of the ring. Only for jobs whose rows per rank stay the same; a
    fixed global batch needs no scaling.
    """
    if rule not in RULES:
        raise SpecError(f"The learning rate rule {rule!r} is unknown. Expected one of: {', '.join(RULES)}.")
    return learning_rate * RULES[rule](size() if ranks is None else ranks)


class LearningRateSchedule(keras.callbacks.Callback):
    """Sets the learning rate to `initial_lr * multiplier(epoch)` from `start_epoch` on, before `end_epoch`.

    Args:
        initial_lr: the rate that is multiplied.
        multiplier: a function of the epoch, or a number whose powers (epoch - start_epoch) are taken.
        staircase: change at the begin of an epoch only; else in every step, with fractions of an epoch.
        momentum_correction: when the rate changes, scale the momentum that has been gathered alike.
        steps_per_epoch: needed without staircase only where Keras does not know the number of steps.
    """

    def __init__(  # noqa: PLR0913 - Horovod's arguments
        self,
        initial_lr: float,
        multiplier: Any,
        start_epoch: float = 0,
        end_epoch: float | None = None,
        staircase: bool = True,
        momentum_correction: bool = True,
        steps_per_epoch: int | None = None,
    ) -> None:
        super().__init__()
        self.initial_lr: Any = initial_lr
        self.multiplier: Callable[[float], float] = (
            multiplier if callable(multiplier) else lambda epoch: multiplier ** (epoch - start_epoch)
        )
        self.start_epoch, self.end_epoch, self.staircase = start_epoch, end_epoch, staircase
        self.momentum_correction = momentum_correction
        self.steps_per_epoch: Any = steps_per_epoch
        self._epoch = 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Learn the steps of an epoch. Raises SpecError where the rate cannot be set."""
        name, rate = type(self).__name__, self.model.optimizer._learning_rate
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule) or not hasattr(rate, "assign"):
            raise SpecError(
                f"{name} needs an optimizer with a plain learning rate. This one has a schedule, which would "
                "overwrite it: put the change into the schedule."
            )
        self.steps_per_epoch = self.steps_per_epoch or self.params.get("steps")
        if not self.staircase and not self.steps_per_epoch:
            raise SpecError(
                f"{name} does not know the steps of an epoch, as the data has no length. Give steps_per_epoch."
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note where training stands; a resumed run goes on from there."""
        self._epoch = epoch
        if self.staircase and self._applies(epoch):
            self._set(self.initial_lr * self.multiplier(epoch))

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set the rate of this step; of several that Keras runs at once, that of the last."""
        if not self.staircase and self._applies(self._epoch):
            last = batch + max(1, getattr(self.model, "steps_per_execution", 1)) - 1
            self._set(
                self.initial_lr
                * self.multiplier(self._epoch + min(last, self.steps_per_epoch - 1) / self.steps_per_epoch)
            )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Log the rate, as `lr`."""
        if logs is not None:
            logs["lr"] = float(self.model.optimizer.learning_rate)

    def _applies(self, epoch: int) -> bool:
        return epoch >= self.start_epoch and (self.end_epoch is None or epoch < self.end_epoch)

    def _set(self, rate: float) -> None:
        optimizer = self.model.optimizer
        before = float(optimizer.learning_rate)
        optimizer.learning_rate = rate
        if self.momentum_correction and before > 0 and rate != before:
            for slot in _gathered_momentum(optimizer):
                slot.assign(slot * (rate / before))


def _gathered_momentum(optimizer: Any) -> list[Any]:
    """The slots that hold past steps with their learning rate in them: those of SGD and RMSprop with a momentum."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if not inner.built or not getattr(inner, "momentum", 0):
        return []
    slots = getattr(inner, "momentums", None) or getattr(inner, "_momentums", None) or []
    return [slot for slot in slots if slot is not None]


class LearningRateWarmup(LearningRateSchedule):
    """Raises the learning rate, step by step, from `initial_lr / size` to `initial_lr`.

    Args:
        initial_lr: the rate after the warm-up; by default the optimizer's rate when training
            starts, so give the optimizer the scaled one.
        warmup_epochs: epochs that the way up takes.
        momentum_correction, steps_per_epoch: see `LearningRateSchedule`.
        verbose: 1 makes rank 0 print the end of the warm-up.
    """

    def __init__(
        self,
        initial_lr: float | None = None,
        warmup_epochs: float = 5,
        momentum_correction: bool = True,
        steps_per_epoch: int | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            initial_lr or math.nan,
            self._share,
            end_epoch=warmup_epochs,
            staircase=False,
            momentum_correction=momentum_correction,
            steps_per_epoch=steps_per_epoch,
        )
        self.initial_lr = initial_lr
        self.warmup_epochs = warmup_epochs
        self.verbose = verbose

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Learn the rate to reach. Raises SpecError where the optimizer's rate may be one of an earlier way up."""
        super().on_epoch_begin(epoch, logs)
        optimizer = self.model.optimizer
        if self.initial_lr is None and 0 < epoch < self.warmup_epochs and int(optimizer.iterations) > 0:
            raise SpecError(
                f"LearningRateWarmup goes on at epoch {epoch + 1}, and the optimizer's rate "
                f"{float(optimizer.learning_rate):g} may be one of the way up. Give initial_lr, the rate to reach."
            )
        if self.initial_lr is None:
            self.initial_lr = float(optimizer.learning_rate)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Say that the warm-up is over."""
        super().on_epoch_end(epoch, logs)
        if self.verbose and rank() == 0 and epoch == math.ceil(self.warmup_epochs) - 1:
            line = f"Epoch {epoch + 1}: finished gradual learning rate warmup to {self.initial_lr:g}."
            print(f"\n{line}", flush=True)  # noqa: T201 - as Keras's own callbacks do with verbose

    def _share(self, epoch: float) -> float:
        done = (epoch + 1 / self.steps_per_epoch) / self.warmup_epochs
        ranks = size()
        return (1 + (ranks - 1) * min(done, 1.0)) / ranks
