"""Dense layers with dropout, for tables."""

import keras


def build(
    *,
    hidden: tuple[int, ...] = (128, 64),
    dropout: float = 0.2,
    outputs: int = 1,
    activation: str | None = "sigmoid",
    output_scale: float = 1.0,
    output_offset: float = 0.0,
) -> keras.Model:
    """Return an uncompiled model: (rows, features) -> (rows, outputs).

    For regression give output_scale and output_offset near the target's deviation and mean: the last layer then
    learns numbers near 0, and loss and metrics keep the target's unit.
    """
    layers: list[keras.Layer] = []
    for units in hidden:
        layers.append(keras.layers.Dense(units, activation="relu"))
        layers.append(keras.layers.Dropout(dropout))
    layers.append(keras.layers.Dense(outputs, activation=activation))
    if (output_scale, output_offset) != (1.0, 0.0):
        layers.append(keras.layers.Rescaling(output_scale, output_offset))
    return keras.Sequential(layers, name="mlp")
