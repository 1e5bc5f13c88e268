"""`SyncBatchNormalization`: normalises with the statistics of the global batch.

A saved model holds stock BatchNormalization layers. Knows nothing about moving averages: those of
the ranks stay equal, as all see the same statistics.
"""

from typing import Any

import horovod.tensorflow as horovod
import keras
import tensorflow as tf

from configs.errors import SpecError
from trainers.hvd.collectives import size
from trainers.hvd.identity import fingerprint, fixed_label, in_program_order, marked


class SyncBatchNormalization(keras.layers.BatchNormalization):
    """BatchNormalization over the rows of all ranks; ranks may hold different numbers of rows.

    fused: taken for Horovod's sake, False alone is possible; the others are those of the stock layer.
    Its `__class__` answers with the stock layer, so that is what a saved model names.
    """

    def __init__(self, fused: bool = False, **options: Any) -> None:
        if fused not in (False, None) or isinstance(fused, int) and not isinstance(fused, bool):
            raise SpecError(
                f"SyncBatchNormalization received fused={fused!r}. Expected False; give names, such as axis."
            )
        super().__init__(**options)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The stock class: Keras saves by it. `type()` tells the truth."""
        return keras.layers.BatchNormalization

    def _moments(self, inputs: Any, mask: Any) -> tuple[Any, Any]:
        """Return mean and variance over all ranks; a collective, differentiable."""
        if size() == 1:
            return super()._moments(inputs, mask)
        # Summed about the moving mean, which is the same on every rank: sums about zero would lose
        # the variance of inputs far from zero.
        centre = tf.cast(self.moving_mean.value, inputs.dtype)
        shape = [1] * len(inputs.shape)
        shape[self.axis] = -1
        shifted = inputs - tf.reshape(centre, shape)
        weights = tf.ones_like(inputs)
        if mask is not None:
            weights *= tf.cast(tf.expand_dims(mask, -1), inputs.dtype)
        axes = self._reduction_axes
        sums = tf.stack(
            [
                tf.reduce_sum(shifted * weights, axes),
                tf.reduce_sum(tf.square(shifted) * weights, axes),
                tf.reduce_sum(weights, axes),
            ]
        )
        mark = fingerprint([f"{tuple(sums.shape)} {fixed_label(self.moving_mean)}"])
        total = _sum_over_ranks(sums, mark, "ringmaster_batch_norm")
        mean = tf.math.divide_no_nan(total[0], total[2])
        square = tf.math.divide_no_nan(total[1], total[2])
        return mean + centre, tf.nn.relu(square - tf.square(mean))


def _sum_over_ranks(sums: Any, mark: tuple[int, int], name: str) -> Any:
    """Return the sum over the ranks; its gradient is the sum of the ranks' gradients, under a name of its own, as
    Horovod would make one from the layer's number in this process.
    """

    @tf.custom_gradient
    def summed(mine: Any) -> Any:
        def run() -> Any:
            tensor = marked(tf.reshape(mine, (-1,)), mark)
            return horovod.allreduce(tensor, op=horovod.Sum, name=name, ignore_name_scope=True)

        total = tf.reshape(in_program_order(run), tf.shape(mine))
        return tf.ensure_shape(total, mine.shape), lambda upstream: _sum_over_ranks(upstream, mark, f"{name}_gradient")

    return summed(sums)


def synchronize_batch_norm(model: Any) -> int:
    """Make every BatchNormalization layer of `model` normalise over all ranks; return how many.

    Call it before training. Raises SpecError where a layer has a variant that cannot be
    synchronised.
    """
    layers = [layer for layer in model._flatten_layers() if type(layer) is keras.layers.BatchNormalization]
    for layer in layers:
        if getattr(layer, "renorm", False):
            raise SpecError(
                f"Layer '{layer.name}' is a BatchNormalization with renorm=True. Expected "
                "renorm=False: renormalisation corrects for small batches by other means."
            )
        object.__dict__["__class__"].__set__(layer, SyncBatchNormalization)
    return len(layers)
