"""Cases of losses that divide by something else than rows, each against one process on the joined batches."""

import keras
import numpy as np
import tensorflow as tf

from trainers import hvd

SGD = keras.optimizers.SGD
RANK_OF_ALL = slice(None)


def sequences(rows=24):
    """Of unequal lengths; 0 is masked."""
    tokens = np.random.default_rng(4).integers(1, 20, (rows, 9))
    for row in range(rows):
        tokens[row, 2 + row % 7 :] = 0
    return tokens


def step_weights():
    return np.linspace(0, 2, 24 * 9, dtype="float32").reshape(24, 9)


def masked_model(kind=keras.Sequential):
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Embedding(20, 5, mask_zero=True), keras.layers.LSTM(6, return_sequences=True)]
    return kind([keras.Input((9,), dtype="int32"), *layers, keras.layers.Dense(20)])


def plain_model(kind=keras.Sequential):
    keras.utils.set_random_seed(1)
    return kind([keras.Input((6,)), keras.layers.Dense(3)])


def both(make, loss, x, y, weights=None, *, rows=None, **options):
    """(difference of the weights, losses of the ring, losses of one process); one batch an epoch."""
    models, losses = [], []
    mine = slice(hvd.rank(), None, hvd.size()) if rows is None else rows
    for part, distributed in ((mine, True), (RANK_OF_ALL, False)):
        model = make()
        model.compile(hvd.DistributedOptimizer(SGD(0.5)) if distributed else SGD(0.5), loss=loss(), **options)
        callbacks = [hvd.AverageMetrics()] if distributed else []
        history = model.fit(
            x[part],
            y[part],
            sample_weight=None if weights is None else weights[part],
            batch_size=len(x),
            epochs=3,
            shuffle=False,
            verbose=0,
            callbacks=callbacks,
        ).history
        models.append(model)
        losses.append([float(v) for v in history["loss"]])
    hvd.check_equal_weights(models[0])
    pairs = zip(models[0].get_weights(), models[1].get_weights(), strict=True)
    return [max(float(np.abs(a - b).max()) for a, b in pairs), *losses]


def crossentropy(reduction="sum_over_batch_size"):
    return lambda: keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction)


def rows_with_labels():
    rng = np.random.default_rng(0)
    return rng.normal(size=(24, 6)).astype("float32"), rng.integers(0, 3, 24)


def case_masked():
    tokens = sequences()
    return both(masked_model, crossentropy(), tokens, tokens)


def case_masked_and_weighted():
    tokens = sequences()
    return both(
        masked_model, crossentropy(), tokens, tokens, np.linspace(0, 2, 24 * 9, dtype="float32").reshape(24, 9)
    )


def case_mean_by_weight():
    x, y = rows_with_labels()
    return both(plain_model, crossentropy("mean_with_sample_weight"), x, y, np.arange(24, dtype="float32"))


def case_mean_by_weight_and_mask():
    tokens = sequences()
    loss = crossentropy("mean_with_sample_weight")
    return both(masked_model, loss, tokens, tokens, step_weights())


def case_no_weight_on_one_rank():
    x, y = rows_with_labels()
    weights = np.arange(24, dtype="float32")
    weights[0 :: hvd.size()] = 0
    return both(plain_model, crossentropy("mean_with_sample_weight"), x, y, weights)


def case_steps_several_at_once():
    tokens = sequences()
    return both(masked_model, crossentropy(), tokens, tokens, steps_per_execution=2)


def case_eagerly():
    tokens = sequences()
    return both(masked_model, crossentropy(), tokens, tokens, run_eagerly=True)


def case_unequal_rows():
    """5 rows on rank 0, the others on rank 1: `gradient_share` and the divisor together are exact."""
    tokens = sequences()
    rows = slice(0, 5) if hvd.rank() == 0 else slice(5, 24)
    count = len(tokens[rows])

    class Shared(keras.Sequential):
        def train_step(self, data):
            if hvd.is_distributed(self.optimizer):
                self.optimizer.gradient_share = tf.constant(hvd.size() * count / 24, tf.float32)
            return super().train_step(data)

    return both(lambda: masked_model(Shared), crossentropy(), tokens, tokens, rows=rows)


def case_alone():
    """Rank 0 alone tests and computes a loss by hand."""
    tokens = sequences()
    model = masked_model()
    model.compile(hvd.DistributedOptimizer(SGD(0.5)), loss=crossentropy()())
    model.train_on_batch(tokens[hvd.rank() :: 2], tokens[hvd.rank() :: 2])
    if hvd.rank() == 0:
        outputs = model(tokens)
        model.compute_loss(tokens, tokens, outputs)
        model.evaluate(tokens, tokens, verbose=0)
    return hvd.check_equal_weights(model)
