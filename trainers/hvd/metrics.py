"""`AverageMetrics`: N ranks report the loss and metrics that one process would report over all
rows.

Keras metrics keep sums (total and count, confusion counts, histograms). Summed over the ranks
before Keras reads the epoch's result, they are those of one process; an average of the ranks'
results would not be. Knows nothing about where the results go.
"""

from typing import Any

import keras
import tensorflow as tf

from configs.errors import TrainingError
from trainers.hvd.collectives import allreduce, size
from trainers.hvd.settings import Op

# The one place where Keras turns metric states into the logs of an epoch or a test, whatever the
# number of steps.
_READ_RESULT = "_get_metrics_result_or_logs"

_OP_OF_AGGREGATION = {"sum": Op.sum, "mean": Op.average}


class AverageMetrics(keras.callbacks.Callback):
    """Adds up the states of all metrics over the ranks at the end of every epoch and test.

    Put it first among the callbacks of `fit` and `evaluate`. Every rank then holds the same logs,
    so callbacks that decide by them (early stopping, learning rate on plateau) decide alike. Logs
    that a custom train step makes up itself are averaged over the ranks. A metric variable made
    with aggregation="mean" is averaged, one with aggregation="none" or "only_first_replica" stays
    the rank's own.
    """

    def __init__(self) -> None:
        super().__init__()
        self._in_fit = False

    def on_train_begin(self, logs: Any = None) -> None:
        """Start summing."""
        self._in_fit = True
        self._attach()

    def on_test_begin(self, logs: Any = None) -> None:
        """Start summing; inside `fit` it goes on already."""
        self._attach()

    def on_train_end(self, logs: Any = None) -> None:
        """Give the model its own method back."""
        self._in_fit = False
        self.model.__dict__.pop(_READ_RESULT, None)

    def on_test_end(self, logs: Any = None) -> None:
        """Give the model its own method back after a test outside of `fit`."""
        if not self._in_fit:
            self.model.__dict__.pop(_READ_RESULT, None)

    def _attach(self) -> None:
        read_result = getattr(type(self.model), _READ_RESULT, None)
        if read_result is None:
            raise TrainingError(
                f"This Keras ({keras.__version__}) has no Trainer.{_READ_RESULT}, where "
                "AverageMetrics sums metrics. "
                "Expected Keras 3.15; use the versions that Ringmaster names."
            )
        model = self.model

        def read_result_of_all_ranks(local_logs: Any) -> Any:
            sum_metrics(model)
            logs = read_result(model, local_logs)
            return average_logs(logs) if logs is local_logs else logs

        model.__dict__[_READ_RESULT] = read_result_of_all_ranks


def sum_metrics(model: Any) -> None:
    """Replace every metric state of `model` by its sum over the ranks; a collective.

    Call it once per epoch or test, before the results are read and before the states are reset.
    """
    if size() == 1:
        return
    by_kind: dict[Any, list[Any]] = {}
    for variable in {id(v): v for v in model.metrics_variables}.values():
        op = _OP_OF_AGGREGATION.get(variable.aggregation)
        if op is not None:
            by_kind.setdefault((str(variable.dtype), op), []).append(variable)
    for number, ((_, op), variables) in enumerate(sorted(by_kind.items())):
        flat = tf.concat([tf.reshape(tf.convert_to_tensor(v), (-1,)) for v in variables], 0)
        total = allreduce(flat, op=op, name=f"ringmaster_metrics_{number}")
        values = tf.split(total, [v.value.shape.num_elements() for v in variables])
        for variable, value in zip(variables, values, strict=True):
            variable.assign(tf.reshape(value, variable.shape))


def average_logs(logs: Any) -> Any:
    """Return the logs with every number averaged over the ranks; the same keys must stand on every
    rank.
    """
    if size() == 1 or not logs:
        return logs
    names = sorted(logs)
    mine = tf.stack([tf.cast(logs[name], tf.float64) for name in names])
    means = allreduce(mine, name="ringmaster_logs").numpy()
    return {**logs, **{name: float(mean) for name, mean in zip(names, means, strict=True)}}
