"""Batch normalisation over ranks: moving averages made equal at the end of an epoch.

Each rank normalises with the statistics of its own rows; the moving mean and variance therefore
drift apart, and are averaged here. Knows nothing about layers by name.
"""

from typing import Any

import keras
import tensorflow as tf

from trainers.hvd.collectives import allreduce, size
from trainers.hvd.identity import native
from trainers.hvd.settings import Op


class AverageBatchNorm(keras.callbacks.Callback):
    """Averages the moving statistics over the ranks at the end of every epoch, before validation
    reads them.
    """

    def on_test_begin(self, logs: Any = None) -> None:
        """Average before a test, so that all ranks test the same model."""
        average_batch_norm(self.model)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Average at the end of the epoch; put this callback before those that save the model."""
        average_batch_norm(self.model)


def average_batch_norm(model: Any) -> None:
    """Replace the moving statistics that differ between the ranks by their average; a collective.

    Statistics are what layers made as not trainable, of floating dtype. Weights that were frozen later, and whatever
    is equal on all ranks already, keep every bit.
    """
    by_dtype: dict[Any, list[Any]] = {}
    for variable in statistics_of(model):
        by_dtype.setdefault(native(variable).dtype, []).append(variable)
    if size() == 1:
        return
    for dtype, variables in sorted(by_dtype.items(), key=lambda item: item[0].name):
        _average(variables, tf.float64 if dtype == tf.float64 else tf.float32)


def statistics_of(model: Any) -> list[Any]:
    """Return the float variables that the model's layers made as not trainable, each once."""
    made = (v for layer in model._flatten_layers() for v in getattr(layer, "_non_trainable_variables", ()))
    return list({id(v): v for v in made if "float" in str(v.dtype)}.values())


def _average(variables: list[Any], wide: Any) -> None:
    # One buffer: statistics are small, whatever their dtype.
    flat = tf.concat([tf.cast(tf.reshape(tf.convert_to_tensor(v), (-1,)), wide) for v in variables], 0)
    sizes = [native(v).shape.num_elements() for v in variables]
    both = allreduce(tf.concat([flat, -flat], 0), op=Op.max, name=f"ringmaster_batch_norm_{wide.name}_range")
    largest, negated_smallest = tf.split(both, 2)
    alike = tf.split(largest == -negated_smallest, sizes)
    values = tf.split(allreduce(flat, name=f"ringmaster_batch_norm_{wide.name}"), sizes)
    for variable, value, same in zip(variables, values, alike, strict=True):
        if not bool(tf.reduce_all(same)):
            variable.assign(tf.cast(tf.reshape(value, variable.shape), variable.dtype))
