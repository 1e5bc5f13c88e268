"""`DistributedGradientTape`: a gradient tape whose gradients are reduced over the ranks.

For training loops written by hand with a stock optimizer; use either this or
`DistributedOptimizer`, not both.
"""

from typing import Any

import tensorflow as tf

from configs.errors import SpecError
from trainers.hvd.reduction import reduce_gradients
from trainers.hvd.settings import Average, Compression, Op, ReductionSettings


class DistributedGradientTape:
    """Wraps a tf.GradientTape; everything but `gradient` is the tape's own.

    Args:
        tape: the tape that recorded the forward pass.
        op, compression, sparse_as_dense, gradient_predivide_factor, groups, process_set: see
            `ReductionSettings`.
    """

    def __init__(  # noqa: PLR0913 - Horovod's arguments
        self,
        tape: tf.GradientTape,
        *,
        op: Op | str = Average,
        compression: Compression | str = Compression.none,
        sparse_as_dense: bool = False,
        gradient_predivide_factor: float = 1.0,
        groups: Any = None,
        process_set: Any = None,
    ) -> None:
        if not isinstance(tape, tf.GradientTape):
            raise SpecError(
                f"DistributedGradientTape received {tape!r}. Expected the tf.GradientTape that "
                "recorded the forward pass."
            )
        self._tape = tape
        self._settings = ReductionSettings(
            op=op,
            compression=compression,
            sparse_as_dense=sparse_as_dense,
            gradient_predivide_factor=gradient_predivide_factor,
            groups=groups,
            process_set=process_set,
        )

    def gradient(
        self,
        target: Any,
        sources: Any,
        output_gradients: Any = None,
        unconnected_gradients: Any = tf.UnconnectedGradients.NONE,
        *,
        share: Any = None,
    ) -> Any:
        """Return d target / d sources, reduced over the ranks, in the structure of `sources`.

        share: multiplies this rank's gradients first; see `optimizer.gradient_share`.
        """
        gradients = self._tape.gradient(target, sources, output_gradients)
        flat, variables = tf.nest.flatten(gradients), tf.nest.flatten(sources)
        if tf.UnconnectedGradients(unconnected_gradients) == tf.UnconnectedGradients.ZERO:
            # TensorFlow's own zeros fail for Keras variables, whose dtype is a text.
            flat = [tf.zeros_like(v) if g is None else g for g, v in zip(flat, variables, strict=True)]
        reduced = reduce_gradients(flat, variables, self._settings, share=share)
        return tf.nest.pack_sequence_as(gradients, reduced)

    def __enter__(self) -> "DistributedGradientTape":
        self._tape.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._tape.__exit__(*exception)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tape, name)
