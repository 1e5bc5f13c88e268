"""Batch normalisation over ranks: moving averages made equal at the end of an epoch.

Each rank normalises with the statistics of its own rows; the moving mean and variance therefore
drift apart, and are averaged here. Knows nothing about layers by name: any non-trainable variable
of floating dtype is averaged.
"""

from typing import Any

import keras
import tensorflow as tf

from trainers.hvd.collectives import allreduce, size


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
    """Replace the model's non-trainable float variables by their average over the ranks; a
    collective.
    """
    variables = [v for v in model.non_trainable_variables if "float" in str(v.dtype)]
    if size() == 1 or not variables:
        return
    # One buffer of float32: statistics are small, whatever their dtype.
    flat = tf.concat([tf.cast(tf.reshape(tf.convert_to_tensor(v), (-1,)), tf.float32) for v in variables], 0)
    mean = allreduce(flat, name="ringmaster_batch_norm")
    values = tf.split(mean, [v.value.shape.num_elements() for v in variables])
    for variable, value in zip(variables, values, strict=True):
        variable.assign(tf.cast(tf.reshape(value, variable.shape), variable.dtype))
