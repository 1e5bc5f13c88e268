"""The layers people use: each model trained on shards, and on the joined batches in one process.

Steps run eagerly: three models per layer would spend their time in tracing, and the compiled step
is proven by the other cases.
"""

import keras
import numpy as np

from trainers import hvd

ROWS, STEPS = 12, 3
layers = keras.layers

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(0.01, epsilon=1e-4),
    "clipped": lambda: keras.optimizers.SGD(0.5, global_clipnorm=0.01),
}


def images():
    return keras.Input((8, 8, 2))


def words():
    return keras.Input((6,), dtype="int32")


def sequential(inputs, *hidden):
    return keras.Sequential([inputs, *hidden, layers.Dense(3, activation="softmax")])


def dense():
    return sequential(keras.Input((5,)), layers.Dense(8), layers.Activation("relu"))


def convolution():
    pool = layers.MaxPooling2D()
    return sequential(images(), layers.Conv2D(4, 3, activation="tanh"), pool, layers.Flatten())


def sync_batch_norm():
    # No bias in front: its gradient is zero but for rounding, which Adam would blow up.
    convolve = layers.Conv2D(4, 3, use_bias=False)
    normalise = layers.BatchNormalization(momentum=0.5)
    model = sequential(images(), convolve, normalise, layers.Activation("tanh"), layers.Flatten())
    hvd.synchronize_batch_norm(model)
    return model


def lstm():
    return sequential(words(), layers.Embedding(20, 4), layers.LSTM(5))


def gru():
    return sequential(words(), layers.Embedding(20, 4), layers.GRU(5))


def merged():
    inputs = keras.Input((5,))
    left, right = layers.Dense(4)(inputs), layers.Dense(4)(inputs)
    joined = layers.Concatenate()([layers.Add()([left, right]), left])
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(joined))


def attention():
    inputs = words()
    embedded = layers.Embedding(20, 4)(inputs)
    # No bias: that of the keys has no effect, so its gradient would be rounding alone.
    attended = layers.MultiHeadAttention(2, 3, use_bias=False)(embedded, embedded)
    pooled = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(attended + embedded))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(pooled))


MODELS = [dense, convolution, sync_batch_norm, lstm, gru, merged, attention]


def data_for(model, rng):
    shape = (STEPS, ROWS, *model.input_shape[1:])
    whole_numbers = model.inputs[0].dtype == "int32"
    x = rng.integers(0, 20, shape) if whole_numbers else rng.normal(size=shape)
    return x.astype(model.inputs[0].dtype), rng.integers(0, 3, (STEPS, ROWS))


def train(make, optimizer, rows):
    keras.utils.set_random_seed(7)
    model = make()
    model.compile(optimizer, "sparse_categorical_crossentropy", run_eagerly=True)
    x, y = data_for(model, np.random.default_rng(1))
    for step in range(STEPS):
        model.train_on_batch(x[step][rows], y[step][rows])
    return model


def case_zoo():
    """Return {model: {optimizer: [largest difference, largest change by training]}}."""
    mine = slice(hvd.rank(), None, hvd.size())
    found = {}
    for make in MODELS:
        found[make.__name__] = {}
        for name, optimizer in OPTIMIZERS.items():
            sharded = train(make, hvd.DistributedOptimizer(optimizer()), mine)
            hvd.check_equal_weights(sharded)
            alone = train_alone(make, optimizer)
            keras.utils.set_random_seed(7)
            before = make().get_weights()
            apart = zip(sharded.get_weights(), alone, strict=True)
            moved = zip(before, alone, strict=True)
            found[make.__name__][name] = [
                max(float(np.abs(a - b).max()) for a, b in apart),
                max(float(np.abs(a - b).max()) for a, b in moved),
            ]
    return found


def train_alone(make, optimizer):
    """Weights of one process; synchronised layers see whole batches there, so stay stock."""
    from trainers.hvd import sync_batch_norm as module

    kept, module.size = module.size, lambda: 1
    try:
        return train(make, optimizer(), slice(None)).get_weights()
    finally:
        module.size = kept
