"""Token ids -> Embedding -> a recurrent layer that reads both ways, for short texts."""

from typing import Literal

import keras


def build(
    *,
    tokens: int,
    embedding: int = 64,
    units: int = 32,
    cell: Literal["lstm", "gru"] = "lstm",
    dropout: float = 0.5,
    classes: int = 2,
) -> keras.Model:
    """Return an uncompiled classifier: (rows, length) token ids, 0 for padding -> probabilities.

    tokens: size of the vocabulary with padding and unknown. The outputs are (rows, 1) for two classes, else
    (rows, classes).
    """
    recurrent = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[cell]
    output = keras.layers.Dense(1, activation="sigmoid")
    if classes > 2:
        output = keras.layers.Dense(classes, activation="softmax")
    layers = [
        keras.layers.Embedding(tokens, embedding, mask_zero=True),
        keras.layers.SpatialDropout1D(dropout / 2),
        keras.layers.Bidirectional(recurrent(units)),
        keras.layers.Dropout(dropout),
        output,
    ]
    return keras.Sequential(layers, name="text")
