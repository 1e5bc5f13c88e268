"""Windows of a time series -> the values to come."""

import keras


def build(
    *,
    units: int = 32,
    dropout: float = 0.0,
    outputs: int = 1,
    output_scale: float = 1.0,
    output_offset: float = 0.0,
) -> keras.Model:
    """Return an uncompiled model: (rows, width, features) -> (rows, outputs).

    output_scale and output_offset: near the target's deviation and mean, so that the last layer learns numbers near 0.
    """
    layers = [
        keras.layers.GRU(units),
        keras.layers.Dropout(dropout),
        keras.layers.Dense(outputs),
        keras.layers.Rescaling(output_scale, output_offset),
    ]
    return keras.Sequential(layers, name="series")
