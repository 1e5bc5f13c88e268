"""Losses that divide by something else than rows: by what a mask leaves, or by the sum of the weights.

These differ per rank, and a mean of the ranks' means is not that of one process. In a train step the divisor is
therefore that of all ranks. Knows nothing about optimizers; a loss that a user's function divides by itself stays as
it is.
"""

import contextvars
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import horovod.tensorflow as horovod
import keras
import tensorflow as tf
from keras.src.losses import loss as keras_loss

from trainers.hvd.identity import in_program_order

_MEANS = ("sum_over_batch_size", "mean")
_BY_WEIGHT = "mean_with_sample_weight"


class _Step:
    """A step that all ranks take now; share: as `optimizer.gradient_share`, or None; ranks: a process set."""

    def __init__(self, share: Any, ranks: Any) -> None:
        self.share, self.ranks = share, ranks

    def mean_over_ranks(self, divisor: Any) -> Any:
        """Return what this rank divides by, so that the (shared) average over the ranks is the loss of all rows."""
        if self.share is not None:
            # A rank without rows has a made-up one, and share 0.
            divisor = tf.where(tf.cast(self.share, tf.float32) > 0, divisor, tf.zeros_like(divisor))
        mean = in_program_order(
            lambda: horovod.allreduce(
                divisor,
                op=horovod.Average,
                name="ringmaster_divisor",
                process_set=self.ranks,
                ignore_name_scope=True,
            )
        )
        return mean if self.share is None else mean * tf.cast(self.share, mean.dtype)


_step: contextvars.ContextVar[_Step | None] = contextvars.ContextVar("ringmaster_step", default=None)


@contextmanager
def divisors_of_all_ranks(share: Any = None, ranks: Any = horovod.global_process_set) -> Iterator[None]:
    """Inside, Keras's losses divide by the counts and weights of all `ranks`, each of which must be in such a step."""
    if not (horovod.is_initialized() and ranks.included() and ranks.size() > 1):
        yield
        return
    _replace_reduction()
    token = _step.set(_Step(share, ranks))
    try:
        yield
    finally:
        _step.reset(token)


def count_in_train_steps(reducer_of: Callable[[Any], tuple[Any, Any] | None]) -> None:
    """Make the train steps of every model count so where `reducer_of(model)` gives its share and process set."""
    _reducers[:] = [reducer_of]
    _replace_compute_loss()


_reducers: list[Callable[[Any], tuple[Any, Any] | None]] = []


@functools.cache
def _replace_compute_loss() -> None:
    stock = keras.Model.compute_loss

    @functools.wraps(stock)
    def compute_loss(
        model: Any, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: Any = True
    ) -> Any:
        # A rank that asks for a loss by hand, outside of a step, is alone.
        in_step = training and (model.run_eagerly or not tf.executing_eagerly())
        found = _reducers[0](model) if in_step else None
        if found is None:
            return stock(model, x, y, y_pred, sample_weight, training)
        with divisors_of_all_ranks(*found):
            return stock(model, x, y, y_pred, sample_weight, training)

    keras.Model.compute_loss = compute_loss


@functools.cache
def _replace_reduction() -> None:
    stock = keras_loss.reduce_weighted_values

    @functools.wraps(stock)
    def reduce_weighted_values(
        values: Any,
        sample_weight: Any = None,
        mask: Any = None,
        reduction: str = "sum_over_batch_size",
        dtype: Any = None,
    ) -> Any:
        step, kind = _step.get(), keras_loss.standardize_reduction(reduction)
        divisor = None if step is None or not values.shape else _divisor(values, sample_weight, mask, kind)
        if step is None or divisor is None:
            return stock(values, sample_weight, mask, reduction, dtype)
        total = stock(values, sample_weight, mask, "sum", dtype)
        return tf.math.divide_no_nan(total, tf.cast(step.mean_over_ranks(divisor), total.dtype))

    keras_loss.reduce_weighted_values = reduce_weighted_values


def _divisor(values: Any, sample_weight: Any, mask: Any, kind: str) -> Any:
    """What Keras divides the sum of the weighted values by, float32; None where that is their number."""
    if kind in _MEANS and mask is not None:
        valid = tf.reduce_sum(tf.cast(mask, tf.float32))
        return valid * tf.cast(tf.size(values), tf.float32) / tf.cast(tf.size(mask), tf.float32)
    if kind != _BY_WEIGHT or (sample_weight is None and mask is None):
        return None
    weights = None if sample_weight is None else tf.cast(tf.convert_to_tensor(sample_weight), tf.float32)
    weights = keras_loss.apply_mask(weights, mask, dtype="float32", reduction=kind)
    return tf.reduce_sum(keras_loss.squeeze_or_expand_to_same_rank(values, weights)[1])
