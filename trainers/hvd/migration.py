"""Callbacks and `load_model` under the names of Horovod's Keras binding.

For scripts that move from there. New code uses the names without "Callback".
"""

from types import SimpleNamespace
from typing import Any

import keras

from trainers.hvd.equality import check_same_structure
from trainers.hvd.learning_rate import LearningRateWarmup
from trainers.hvd.metrics import AverageMetrics
from trainers.hvd.model_optimizers import slots_of
from trainers.hvd.optimizer import DistributedOptimizer
from trainers.hvd.state import broadcast_state, broadcast_variables


class BroadcastGlobalVariablesCallback(keras.callbacks.Callback):
    """Gives every rank the root's state when training begins.

    A model without variables yet (no Input layer) gets it after its first batch, which makes them.
    """

    def __init__(self, root_rank: int = 0) -> None:
        super().__init__()
        self.root_rank = root_rank
        self._done = False

    def on_train_begin(self, logs: Any = None) -> None:
        """Broadcast, if there is something."""
        self._done = self.model.built
        if self._done:
            broadcast_state(self.model, self.root_rank)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Broadcast after the first batch; the metrics have counted it and stay each rank's own."""
        if self._done:
            return
        self._done = True
        own, slots = self.model.variables, slots_of(self.model)
        check_same_structure(own, slots, "model")
        broadcast_variables([*own, *slots], self.root_rank)


callbacks = SimpleNamespace(
    BroadcastGlobalVariablesCallback=BroadcastGlobalVariablesCallback,
    MetricAverageCallback=AverageMetrics,
    LearningRateWarmupCallback=LearningRateWarmup,
)


def load_model(filepath: Any, custom_objects: Any = None, **options: Any) -> Any:
    """Return the saved Keras model with its optimizer distributed; options: those of
    `DistributedOptimizer`.
    """
    model = keras.models.load_model(filepath, custom_objects=custom_objects)
    if getattr(model, "optimizer", None) is not None:
        DistributedOptimizer(model.optimizer, **options)
    return model
