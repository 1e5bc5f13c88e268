"""Cases that each rank runs: training on shards, against the same training in one process on the
joined batches.
"""

import keras
import numpy as np
import tensorflow as tf

from trainers import hvd

ROWS, STEPS = 12, 4


def make_data(seed=0, rows=ROWS * STEPS):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 6)).astype("float32")
    y = (x.sum(1) > 0).astype("float32")[:, None]
    return x, y


def make_model(seed=1, layers=()):
    keras.utils.set_random_seed(seed)
    hidden = [keras.layers.Dense(5, activation="tanh"), *layers]
    return keras.Sequential([keras.Input((6,)), *hidden, keras.layers.Dense(1, activation="sigmoid")])


def batches(x, y, part=None, parts=1):
    """All global batches, or one rank's rows of each."""
    rows = [np.arange(i, i + ROWS)[slice(part, None, parts)] for i in range(0, len(x), ROWS)]
    x_rows, y_rows = np.stack([x[r] for r in rows]), np.stack([y[r] for r in rows])
    return tf.data.Dataset.from_tensor_slices((x_rows, y_rows))


def train(model, optimizer, data, callbacks=(), epochs=2, **compile_options):
    options = {
        "loss": "binary_crossentropy",
        "metrics": ["accuracy", keras.metrics.AUC(name="auc")],
    }
    model.compile(optimizer=optimizer, **(options | compile_options))
    return model.fit(data, epochs=epochs, verbose=0, callbacks=list(callbacks)).history


def largest_difference(model, other):
    return max(float(np.abs(a - b).max()) for a, b in zip(model.get_weights(), other.get_weights(), strict=True))


def compare(make_optimizer, *, callbacks=(), wrap=None, model_options=None, **options):
    """Train on this rank's rows and, apart, on all rows; return what must agree."""
    wrap = wrap or hvd.DistributedOptimizer
    x, y = make_data()
    sharded, whole = make_model(**(model_options or {})), make_model(**(model_options or {}))
    mine = batches(x, y, hvd.rank(), hvd.size())
    history = train(sharded, wrap(make_optimizer()), mine, [hvd.AverageMetrics(), *callbacks], **options)
    expected = train(whole, make_optimizer(), batches(x, y), **options)
    return {
        "sha256": hvd.check_equal_weights(sharded),
        "difference": largest_difference(sharded, whole),
        "history": {name: [float(v) for v in values] for name, values in history.items()},
        "expected": {name: [float(v) for v in values] for name, values in expected.items()},
    }


def case_ring():
    return [hvd.rank(), hvd.size(), hvd.local_rank(), hvd.local_size(), hvd.is_initialized()]


def case_collectives():
    rank = hvd.rank()
    hvd.barrier()
    return {
        "average": hvd.allreduce(np.float32([rank, 2 * rank])).numpy().tolist(),
        "sum": hvd.allreduce(np.int64([rank + 1]), op="sum").numpy().tolist(),
        "max": hvd.allreduce(np.float32([rank]), op=hvd.Max).numpy().tolist(),
        "gathered": hvd.allgather(np.full((rank + 1, 1), rank, "int32")).numpy().ravel().tolist(),
        "unsigned": hvd.broadcast(np.uint32([rank + 4000000000]), 1).numpy().tolist(),
        "object": hvd.broadcast_object({"from": rank} if rank == 1 else None, root_rank=1),
        "objects": hvd.allgather_object([rank] * rank),
    }


def case_sgd():
    return compare(lambda: keras.optimizers.SGD(0.5, momentum=0.9))


def case_adam_clipped_with_moving_average():
    return compare(lambda: keras.optimizers.AdamW(0.05, global_clipnorm=0.05, use_ema=True, ema_momentum=0.5))


def case_unequal_rows():
    """Ranks hold parts of 5 rows (3 + 2); `gradient_share` makes the average exact."""

    class SharedStep(keras.Sequential):
        def train_step(self, data):
            self.optimizer.gradient_share = tf.constant(share, tf.float32)
            return super().train_step(data)

    def make_layers():
        keras.utils.set_random_seed(1)
        return [keras.Input((6,)), keras.layers.Dense(3), keras.layers.Dense(1)]

    sharded, whole = SharedStep(make_layers()), keras.Sequential(make_layers())
    x, y = make_data(rows=5)
    rows = np.arange(5)[hvd.rank() :: hvd.size()]
    share = hvd.size() * len(rows) / 5
    optimizer = hvd.DistributedOptimizer(keras.optimizers.SGD(0.1))
    sharded.compile(optimizer=optimizer, loss="mse", metrics=["mae"])
    whole.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse", metrics=["mae"])
    one_batch = {"epochs": 3, "batch_size": 5, "shuffle": False, "verbose": 0}
    average = [hvd.AverageMetrics()]
    history = sharded.fit(x[rows], y[rows], callbacks=average, **one_batch).history
    expected = whole.fit(x, y, **one_batch).history
    return {
        "sha256": hvd.check_equal_weights(sharded),
        "difference": largest_difference(sharded, whole),
        "history": history,
        "expected": expected,
        "left": optimizer.gradient_share,
    }


def case_broadcast_state():
    model = make_model(seed=hvd.rank(), layers=[keras.layers.Dropout(0.5), keras.layers.Dense(5)])
    model.compile(hvd.DistributedOptimizer(keras.optimizers.Adam(0.01)), "mse", metrics=["mae"])
    x, y = make_data()
    if hvd.rank() == 0:
        alone = make_model(seed=5, layers=[keras.layers.Dropout(0.5), keras.layers.Dense(5)])
        alone.compile(keras.optimizers.Adam(0.01), "mse")
        alone.fit(x, y, epochs=1, verbose=0)
        model.set_weights(alone.get_weights())
        model.optimizer.build(model.trainable_variables)
        for mine, slot in zip(model.optimizer.variables, alone.optimizer.variables, strict=True):
            mine.assign(slot)
    hvd.broadcast_state(model)
    slots = [float(np.sum(np.abs(v.numpy()))) for v in model.optimizer.variables]
    seeds = [v.numpy().tolist() for v in model.variables if "seed" in v.path]
    hvd.decorrelate_seeds(model)
    apart = [v.numpy().tolist() for v in model.variables if "seed" in v.path]
    return {
        "sha256": hvd.check_equal_weights(model),
        "slots": slots,
        "seeds": seeds,
        "apart": apart,
    }


def case_batch_norm_average():
    model = make_model(layers=[keras.layers.BatchNormalization(momentum=0.5)])
    x, y = make_data()
    model.compile(hvd.DistributedOptimizer(keras.optimizers.SGD(0.1)), "mse")
    model.fit(batches(x, y, hvd.rank(), hvd.size()), epochs=1, verbose=0)
    before = model.layers[1].moving_mean.numpy().tolist()
    hvd.average_batch_norm(model)
    return {
        "before": before,
        "after": model.layers[1].moving_mean.numpy().tolist(),
        "sha256": hvd.check_equal_weights(model),
    }


def case_share_without_scale_loss():
    """A step that never scales the loss: `apply` weighs the gradients; share 0 hides even NaN."""
    variable = tf.Variable([0.0])
    optimizer = hvd.DistributedOptimizer(keras.optimizers.SGD(1.0))
    last = hvd.rank() == hvd.size() - 1
    optimizer.gradient_share = 0.0 if last else 1.0
    optimizer.apply([tf.constant([np.nan if last else 3.0], tf.float32)], [variable])
    weighed = float(variable[0])
    optimizer.apply([tf.constant([1.0])], [variable])
    return [weighed, float(variable[0]) - weighed]
