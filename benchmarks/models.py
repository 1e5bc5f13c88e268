"""The models and batches that are measured; values are random, as speed does not depend on them."""

import keras
import numpy as np
import tensorflow as tf


def fashion_cnn() -> keras.Model:
    """Two convolutions and a dense layer on 28 x 28 images: 0.9 MB of gradients."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


def embedding_lstm() -> keras.Model:
    """An embedding of 5,000 words and an LSTM over 40 of them; its gradients are sparse."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((40,), dtype="int32"),
            keras.layers.Embedding(5000, 32),
            keras.layers.LSTM(32),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


MODELS = {"cnn": fashion_cnn, "lstm": embedding_lstm}


def batches(name: str, rows: int) -> tf.data.Dataset:
    """Return an endless dataset of batches of `rows` rows."""
    rng = np.random.default_rng(0)
    if name == "cnn":
        x = rng.random((16 * rows, 28, 28, 1), dtype="float32")
    else:
        x = rng.integers(0, 5000, (16 * rows, 40), dtype="int32")
    y = rng.integers(0, 10, (16 * rows,), dtype="int32")
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(rows).cache().repeat()
    options = tf.data.Options()
    # Autotune's thread would sleep into the end of every measured epoch.
    options.autotune.enabled = False
    options.threading.private_threadpool_size = 1
    return data.with_options(options)
