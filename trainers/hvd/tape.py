"""`DistributedGradientTape`: a gradient tape whose gradients are reduced over the ranks.

For training loops written by hand with a stock optimizer; use either this or
`DistributedOptimizer`, not both.
"""

from typing import Any

import tensorflow as tf
from horovod.tensorflow import global_process_set

from configs.errors import SpecError
from trainers.hvd.local_variables import LocalVariables
from trainers.hvd.reduction import reduce_gradients
from trainers.hvd.settings import Average, Compression, Op, ReductionSettings


class DistributedGradientTape:
    """Wraps a tf.GradientTape; everything but `gradient` is the tape's own.

    Args:
        gradtape: the tape that recorded the forward pass.
        device_dense, device_sparse: taken for Horovod's sake; TensorFlow places the reduction.
        num_groups: the older name of a number of groups.
        The others: see `ReductionSettings`.
    """

    def __init__(  # noqa: PLR0913 - Horovod's arguments
        self,
        gradtape: tf.GradientTape,
        device_dense: str = "",
        device_sparse: str = "",
        compression: Compression | str = Compression.none,
        sparse_as_dense: bool = False,
        op: Op | str = Average,
        gradient_predivide_factor: float = 1.0,
        num_groups: int = 0,
        groups: Any = None,
        process_set: Any = global_process_set,
        scale_local_gradients: bool = True,
    ) -> None:
        if not isinstance(gradtape, tf.GradientTape):
            raise SpecError(
                f"DistributedGradientTape received {gradtape!r}. Expected the tf.GradientTape that "
                "recorded the forward pass."
            )
        self._tape = gradtape
        self._settings = ReductionSettings(
            op=op,
            compression=compression,
            sparse_as_dense=sparse_as_dense,
            gradient_predivide_factor=gradient_predivide_factor,
            groups=num_groups if groups is None else groups,
            process_set=None if process_set is global_process_set else process_set,
            scale_local_gradients=scale_local_gradients,
        )
        self._local = LocalVariables(self._settings)

    def gradient(  # noqa: PLR0913 - TensorFlow's arguments and Horovod's
        self,
        target: Any,
        sources: Any,
        output_gradients: Any = None,
        use_generic_names: bool = False,
        *,
        unconnected_gradients: Any = tf.UnconnectedGradients.NONE,
        share: Any = None,
    ) -> Any:
        """Return d target / d sources, reduced over the ranks, in the structure of `sources`.

        use_generic_names: taken for Horovod's sake. share: multiplies this rank's gradients first; see
        `optimizer.gradient_share`.
        """
        gradients = self._tape.gradient(target, sources, output_gradients)
        flat, variables = tf.nest.flatten(gradients), tf.nest.flatten(sources)
        if tf.UnconnectedGradients(unconnected_gradients) == tf.UnconnectedGradients.ZERO:
            # TensorFlow's own zeros fail for Keras variables, whose dtype is a text.
            flat = [tf.zeros_like(v) if g is None else g for g, v in zip(flat, variables, strict=True)]
        reduced = self._local.reduce_others(
            flat,
            variables,
            lambda grads, others: reduce_gradients(grads, others, self._settings, share=share),
            share=share,
        )
        return tf.nest.pack_sequence_as(gradients, reduced)

    def register_local_source(self, source: Any) -> None:
        """Leave a variable's gradients out of the reduction: it is this rank's own."""
        self._local.register(source)

    def get_local_and_global_gradients(
        self, target: Any, sources: Any, output_gradients: Any = None, use_generic_names: bool = False
    ) -> tuple[list[Any], list[Any]]:
        """Return the (source, gradient) pairs of the local variables and those of the others."""
        pairs = list(zip(sources, self.gradient(target, sources, output_gradients), strict=True))
        local = [pair for pair in pairs if self._local.holds(pair[0])]
        return local, [pair for pair in pairs if not self._local.holds(pair[0])]

    def __enter__(self) -> "DistributedGradientTape":
        self._tape.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._tape.__exit__(*exception)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tape, name)
