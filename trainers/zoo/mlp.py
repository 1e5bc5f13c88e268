"""Dense layers with dropout, for tables."""

import keras


def build(
    *,
    hidden: tuple[int, ...] = (128, 64),
    dropout: float = 0.2,
    outputs: int = 1,
    activation: str | None = "sigmoid",
) -> keras.Model:
    """Return an uncompiled model: (rows, features) -> (rows, outputs)."""
    layers: list[keras.Layer] = []
    for units in hidden:
        layers.append(keras.layers.Dense(units, activation="relu"))
        layers.append(keras.layers.Dropout(dropout))
    layers.append(keras.layers.Dense(outputs, activation=activation))
    return keras.Sequential(layers, name="mlp")
