"""Callbacks under the names and arguments of Horovod's Keras binding, for scripts that move from there."""

from collections.abc import Iterable
from typing import Any

import keras

from configs.errors import SpecError
from trainers.hvd.equality import check_same_structure
from trainers.hvd.learning_rate import LearningRateSchedule, LearningRateWarmup
from trainers.hvd.metrics import AverageMetrics
from trainers.hvd.model_optimizers import slots_of
from trainers.hvd.state import broadcast_state, broadcast_variables

__all__ = [
    "BestModelCheckpoint",
    "BroadcastGlobalVariablesCallback",
    "LearningRateScheduleCallback",
    "LearningRateWarmupCallback",
    "MetricAverageCallback",
]

LearningRateScheduleCallback = LearningRateSchedule
LearningRateWarmupCallback = LearningRateWarmup


class BroadcastGlobalVariablesCallback(keras.callbacks.Callback):
    """Gives every rank the root's state when training begins.

    A model without variables yet (no Input layer) gets it after its first batch, which makes them. device: taken for
    Horovod's sake. local_variables: one or several that each rank keeps.
    """

    def __init__(self, root_rank: int = 0, device: str = "", local_variables: Any = None) -> None:
        super().__init__()
        self.root_rank = root_rank
        self.local_variables: list[Any] = []
        several = isinstance(local_variables, Iterable) and not isinstance(local_variables, keras.Variable)
        for variable in () if local_variables is None else local_variables if several else [local_variables]:
            self.register_local_var(variable)
        self._done = False

    def register_local_var(self, variable: Any) -> None:
        """Leave a variable out."""
        self.local_variables.append(variable)

    def on_train_begin(self, logs: Any = None) -> None:
        """Broadcast, if there is something."""
        self._done = self.model.built
        if self._done:
            broadcast_state(self.model, self.root_rank, self.local_variables)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Broadcast after the first batch; the metrics have counted it and stay each rank's own."""
        if self._done:
            return
        self._done = True
        own, slots = self.model.variables, slots_of(self.model)
        check_same_structure(own, slots, "model")
        broadcast_variables([*own, *slots], self.root_rank)


class MetricAverageCallback(AverageMetrics):
    """`AverageMetrics`; device: taken for Horovod's sake."""

    def __init__(self, device: str = "") -> None:
        super().__init__()


class BestModelCheckpoint(keras.callbacks.ModelCheckpoint):
    """Keras's ModelCheckpoint that keeps the best model alone; set its `filepath` before training."""

    def __init__(
        self,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: Any = "epoch",
    ) -> None:
        unset = "best.weights.h5" if save_weights_only else "best.keras"
        super().__init__(unset, monitor, verbose, True, save_weights_only, mode, save_freq)
        self.filepath: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Raise SpecError where nobody said which file."""
        if self.filepath is None:
            raise SpecError(
                'BestModelCheckpoint has no file to write. Set callback.filepath = "best.keras" before fit.'
            )
