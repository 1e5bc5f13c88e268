"""The outputs of a model: computed by the same code when training records them and when an endpoint answers.

TensorFlow is imported by the functions, so that the driver can import `configs`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

ROUNDING = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
"""Relative rounding error of the number types that models compute in; others count as exact."""
TENSOR_FLOAT_32 = 2.0**-11

Inputs = Mapping[str, np.ndarray]


def compiled(model: Any) -> Callable[[Inputs], np.ndarray]:
    """Return a function of arrays by name (rows, ...) -> outputs (rows, units) float32.

    `keras.Model.predict` costs tens of milliseconds a call, so a `tf.function` is called instead. The function raises
    ValueError when the model does not give one tensor with one row of outputs per row.
    """
    import keras
    import tensorflow as tf

    call = tf.function(lambda inputs: model(inputs, training=False), reduce_retracing=True)

    def outputs(inputs: Inputs) -> np.ndarray:
        x = next(iter(inputs.values())) if len(inputs) == 1 else dict(inputs)
        # Tensors, not arrays: tf.function would trace anew for every number of rows.
        return _one_output(call(keras.tree.map_structure(tf.convert_to_tensor, x)), len(next(iter(inputs.values()))))

    return outputs


def _one_output(given: Any, rows: int) -> np.ndarray:
    import keras

    tensors = keras.tree.flatten(given)
    if len(tensors) != 1:
        names = f" ({', '.join(map(str, given))})" if isinstance(given, dict) else ""
        raise ValueError(
            f"the model has {len(tensors)} outputs{names}, but a job has one target; "
            "return a model with the output that predicts it alone"
        )
    scores = np.asarray(tensors[0], np.float32)
    if scores.shape[:1] != (rows,):
        raise ValueError(
            f"the model's output has shape {scores.shape} for {rows} rows; its first axis must be that of the rows"
        )
    return scores.reshape(rows, int(np.prod(scores.shape[1:])))


def rounding(model: Any) -> float:
    """The largest relative rounding error among the number types of the model's layers; 0 for float32 alone."""
    import tensorflow as tf

    policies = [getattr(layer, "dtype_policy", None) for layer in model._flatten_layers()]
    errors = [ROUNDING.get(str(getattr(policy, "compute_dtype", "")), 0.0) for policy in policies]
    on_gpu = tf.config.list_physical_devices("GPU") and tf.config.experimental.tensor_float_32_execution_enabled()
    return max([*errors, TENSOR_FLOAT_32 if on_gpu else 0.0])
