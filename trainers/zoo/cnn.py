"""A small convolutional network for images of a few dozen pixels."""

import keras


def build(
    *,
    input_shape: tuple[int, int, int],
    classes: int,
    filters: tuple[int, ...] = (32, 64),
    dense: int = 128,
    dropout: float = 0.3,
    batch_norm: bool = False,
) -> keras.Model:
    """Return an uncompiled classifier: (rows, *input_shape) images -> (rows, classes) probabilities.

    batch_norm: normalise after each convolution, with a momentum of 0.9, so that the moving statistics follow within a
    few dozen steps.
    """
    layers: list[keras.Layer] = [keras.Input(tuple(input_shape), name="image")]
    for count in filters:
        layers.append(keras.layers.Conv2D(count, 3, padding="same", use_bias=not batch_norm))
        if batch_norm:
            layers.append(keras.layers.BatchNormalization(momentum=0.9))
        layers += [keras.layers.Activation("relu"), keras.layers.MaxPooling2D()]
    layers += [
        keras.layers.Flatten(),
        keras.layers.Dense(dense, activation="relu"),
        keras.layers.Dropout(dropout),
        keras.layers.Dense(classes, activation="softmax"),
    ]
    return keras.Sequential(layers, name="cnn")
