"""Variables that each rank trains alone: their gradients are not reduced.

Knows nothing about optimizers or tapes, which hand the gradients in.
"""

from collections.abc import Callable, Sequence
from typing import Any

import horovod.tensorflow as horovod
import keras
import tensorflow as tf

from configs.errors import SpecError
from trainers.hvd.settings import ReductionSettings


class LocalVariables:
    """Which variables are this rank's own, and what happens to their gradients."""

    def __init__(self, settings: ReductionSettings) -> None:
        self._settings = settings
        self._own: dict[int, Any] = {}

    def register(self, variable: Any) -> None:
        """Count a Keras or TensorFlow variable among them."""
        native = _native(variable)
        self._own[id(native)] = native

    def holds(self, variable: Any) -> bool:
        """Return whether the variable is one of them."""
        return id(_native(variable)) in self._own

    def reduce_others(
        self,
        gradients: Sequence[Any],
        variables: Sequence[Any],
        reduce: Callable[[list[Any], list[Any]], list[Any]],
        *,
        share: Any = None,
    ) -> list[Any]:
        """Return the gradients in order: those of local variables times `share`, divided by the number of ranks where
        the settings say so; the others as `reduce` gives them.
        """
        if not self._own:
            return reduce(list(gradients), list(variables))
        others = [i for i, variable in enumerate(variables) if not self.holds(variable)]
        ranks = self._settings.process_set or horovod.global_process_set
        factor = (1.0 if share is None else share) / (ranks.size() if self._settings.scale_local_gradients else 1)
        result = [_times(gradient, factor) for gradient in gradients]
        reduced = reduce([gradients[i] for i in others], [variables[i] for i in others])
        for i, gradient in zip(others, reduced, strict=True):
            result[i] = gradient
        return result


def trainable_variables(layers: Any) -> list[Any]:
    """Return the variables of one layer or several. Raises SpecError where something else is given."""
    layers = [layers] if isinstance(layers, keras.layers.Layer) else list(layers or [])
    wrong = next((layer for layer in layers if not isinstance(layer, keras.layers.Layer)), None)
    if wrong is not None:
        raise SpecError(f"local_layers holds {wrong!r}. Expected Keras layers.")
    empty = next((layer.name for layer in layers if not layer.built), None)
    if empty is not None:
        raise SpecError(f"Layer '{empty}' of local_layers has no variables yet. Build the model before.")
    return [variable for layer in layers for variable in layer.trainable_variables]


def _times(gradient: Any, factor: Any) -> Any:
    if gradient is None:
        return None
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(_times(gradient.values, factor), gradient.indices, gradient.dense_shape)
    return gradient * tf.cast(factor, gradient.dtype)


def _native(variable: Any) -> Any:
    return variable.value if isinstance(variable, keras.Variable) else variable
