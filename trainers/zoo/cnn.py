"""A small convolutional network for images of a few dozen pixels."""

import keras


def build(
    *,
    input_shape: tuple[int, int, int],
    classes: int,
    filters: tuple[int, ...] = (32, 64),
    dense: int = 128,
    dropout: float = 0.3,
) -> keras.Model:
    """Return an uncompiled classifier: (rows, *input_shape) images -> (rows, classes) probabilities."""
    layers: list[keras.Layer] = [keras.Input(tuple(input_shape), name="image")]
    for count in filters:
        layers.append(keras.layers.Conv2D(count, 3, padding="same", activation="relu"))
        layers.append(keras.layers.MaxPooling2D())
    layers += [
        keras.layers.Flatten(),
        keras.layers.Dense(dense, activation="relu"),
        keras.layers.Dropout(dropout),
        keras.layers.Dense(classes, activation="softmax"),
    ]
    return keras.Sequential(layers, name="cnn")
