"""Cases of everything a Horovod user turns on, on real ranks, each against one process."""

import cases_binding as binding
import keras
import numpy as np
import tensorflow as tf

from trainers import hvd

SGD = keras.optimizers.SGD


def wrapped(**options):
    return lambda optimizer: hvd.DistributedOptimizer(optimizer, **options)


def case_backward_passes():
    """Two passes, then one reduction: as one process that applies the mean of two batches."""
    result = binding.compare(
        lambda: SGD(0.5),
        wrap=wrapped(backward_passes_per_step=2, average_aggregated_gradients=True),
        metrics=[],
        loss="mse",
    )
    x, y = binding.make_data()
    model = binding.make_model()
    double = np.arange(len(x)).reshape(-1, 2 * binding.ROWS)
    for _ in range(2):
        for rows in double:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(model(x[rows]) - y[rows]))
            gradients = tape.gradient(loss, model.trainable_variables)
            for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
                variable.assign_sub(0.5 * gradient)
    again = binding.make_model()
    optimizer = wrapped(backward_passes_per_step=2, average_aggregated_gradients=True)(SGD(0.5))
    mine = binding.batches(x, y, hvd.rank(), hvd.size())
    binding.train(again, optimizer, mine, loss="mse", metrics=[])
    return {
        "sha256": result["sha256"],
        "difference": binding.largest_difference(again, model),
        "iterations": int(optimizer.iterations.numpy()),
    }


def case_keras_accumulation():
    return binding.compare(lambda: keras.optimizers.Adam(0.05, gradient_accumulation_steps=2, clipnorm=0.1))


def case_predivide():
    return binding.compare(lambda: SGD(0.5), wrap=wrapped(gradient_predivide_factor=4.0))


def case_two_groups():
    return binding.compare(lambda: SGD(0.5), wrap=wrapped(groups=2))


def case_sum_is_average_times_ranks():
    def wrap(optimizer):
        optimizer.learning_rate = 0.5 / hvd.size()
        return hvd.DistributedOptimizer(optimizer, op=hvd.Sum)

    return binding.compare(lambda: SGD(0.5), wrap=wrap)


def case_fp16():
    return binding.compare(lambda: SGD(0.5), wrap=wrapped(compression=hvd.Compression.fp16))


def case_bf16():
    return binding.compare(lambda: SGD(0.5), wrap=wrapped(compression="bf16"))


def case_adasum():
    """Equal gradients are averaged, orthogonal ones added."""
    variables = [tf.Variable([0.0] * 4), tf.Variable([0.0, 0.0])]
    optimizer = hvd.DistributedOptimizer(SGD(1.0), op=hvd.Adasum)
    orthogonal = np.zeros(4, "float32")
    orthogonal[hvd.rank()] = 2.0
    optimizer.apply([tf.constant(orthogonal), tf.constant([3.0, 4.0])], variables)
    return [v.numpy().tolist() for v in variables]


def embedding_model():
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Embedding(20, 4), keras.layers.Flatten(), keras.layers.Dense(1)]
    return keras.Sequential([keras.Input((3,), dtype="int32"), *layers])


def train_embedding(optimizer, *, part, parts):
    tokens = np.random.default_rng(0).integers(0, 20, size=(24, 3)).astype("int32")
    labels = (tokens.sum(1) % 2).astype("float32")[:, None]
    model = embedding_model()
    model.compile(optimizer, "mse")
    model.fit(tokens[part::parts], labels[part::parts], epochs=3, batch_size=24, verbose=0, shuffle=False)
    return model


def case_sparse():
    """Adam treats sparse gradients in its own way, so only what stays sparse equals it."""
    adam, sgd = lambda: keras.optimizers.Adam(0.05), lambda: SGD(0.5)
    differences = []
    for make, options in (
        (adam, {}),
        (adam, {"compression": "fp16"}),
        (adam, {"compression": "bf16"}),
        (sgd, {"sparse_as_dense": True}),
    ):
        optimizer = hvd.DistributedOptimizer(make(), **options)
        model = train_embedding(optimizer, part=hvd.rank(), parts=hvd.size())
        whole = train_embedding(make(), part=0, parts=1)
        hvd.check_equal_weights(model)
        differences.append(binding.largest_difference(model, whole))
    return differences


def case_sparse_stays_sparse():
    """The reduction of IndexedSlices joins the rows of all ranks; nothing dense is made."""
    from trainers.hvd.reduction import reduce_gradients
    from trainers.hvd.settings import ReductionSettings

    values, indices = tf.constant([[1.0 + hvd.rank()]]), tf.constant([hvd.rank()])
    mine = tf.IndexedSlices(values, indices, dense_shape=[9, 1])
    table = tf.Variable(tf.zeros((9, 1)))
    (both,) = reduce_gradients([mine], [table], ReductionSettings(), name="slices")
    return [both.indices.numpy().tolist(), both.values.numpy().ravel().tolist()]


def case_non_finite_gradient_skips_on_all():
    """float16: one rank's infinite loss skips the step on all, and halves the scale on all."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = binding.make_model()
    finally:
        keras.config.set_dtype_policy("float32")
    model.compile(hvd.DistributedOptimizer(SGD(0.1)), "mse")
    hvd.broadcast_state(model)
    outer = model.optimizer
    before = [w.copy() for w in model.get_weights()]
    x, y = binding.make_data(rows=4)
    poisoned = x * (np.inf if hvd.rank() == 1 else 1.0)
    model.fit(poisoned, y, batch_size=4, verbose=0)
    skipped = all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    scale = float(outer.dynamic_scale.numpy())
    model.fit(x, y, batch_size=4, verbose=0)
    moved = any(not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    hvd.check_equal_weights(model)
    return [type(outer).__name__, hvd.is_distributed(outer), skipped, scale, moved]


def case_loss_scale_around_the_reduction():
    """In `fit` the reduction moves outside; in a loop of the user's own nothing can move it."""
    inner = hvd.DistributedOptimizer(SGD(0.1))
    model = binding.make_model()
    model.compile(keras.optimizers.LossScaleOptimizer(inner), "mse")
    x, y = binding.make_data(rows=4)
    model.fit(x, y, verbose=0)
    moved = [hvd.is_distributed(model.optimizer), hvd.is_distributed(inner)]
    by_hand = keras.optimizers.LossScaleOptimizer(hvd.DistributedOptimizer(SGD(0.1)))
    try:
        by_hand.apply([tf.ones_like(v) for v in model.trainable_variables], model.trainable_variables)
    except Exception as error:
        return [moved, type(error).__name__, str(error)]
    return None


def case_freeze_and_recompile():
    model = binding.make_model()
    x, y = binding.make_data(rows=8)
    mine = x[hvd.rank() :: hvd.size()], y[hvd.rank() :: hvd.size()]
    model.compile(hvd.DistributedOptimizer(keras.optimizers.Adam(0.1)), "mse")
    model.fit(*mine, verbose=0)
    model.layers[0].trainable = False
    frozen = model.layers[0].kernel.numpy()
    model.compile(hvd.DistributedOptimizer(keras.optimizers.Adam(0.1)), "mse")
    model.fit(*mine, verbose=0)
    kept = bool(np.array_equal(frozen, model.layers[0].kernel.numpy()))
    model.layers[0].trainable = True
    model.compile(hvd.DistributedOptimizer(keras.optimizers.Adam(0.1)), "mse")
    model.fit(*mine, verbose=0)
    hvd.check_equal_weights(model)
    return [kept, bool(np.array_equal(frozen, model.layers[0].kernel.numpy()))]


def case_run_eagerly():
    return binding.compare(lambda: keras.optimizers.Adam(0.05), run_eagerly=True, epochs=1)


def case_several_steps_per_execution():
    return binding.compare(lambda: keras.optimizers.Adam(0.05), steps_per_execution=2)


def case_two_inputs_and_outputs():
    def make():
        keras.utils.set_random_seed(4)
        a, b = keras.Input((6,), name="a"), keras.Input((6,), name="b")
        joined = keras.layers.Concatenate()([keras.layers.Dense(4)(a), keras.layers.Dense(3)(b)])
        outputs = {"left": keras.layers.Dense(1, name="left")(joined)}
        outputs["right"] = keras.layers.Dense(1, name="right")(joined)
        return keras.Model({"a": a, "b": b}, outputs)

    def fit(model, optimizer, rows, callbacks=()):
        model.compile(optimizer, loss={"left": "mse", "right": "mae"}, metrics={"left": ["mae"]})
        data = {"a": x[rows], "b": -x[rows]}, {"left": y[rows], "right": 2 * y[rows]}
        return model.fit(*data, batch_size=24, epochs=2, shuffle=False, verbose=0, callbacks=list(callbacks)).history

    x, y = binding.make_data(rows=24)
    sharded, whole = make(), make()
    mine = slice(hvd.rank(), None, hvd.size())
    optimizer = hvd.DistributedOptimizer(SGD(0.05))
    history = fit(sharded, optimizer, mine, [hvd.AverageMetrics()])
    expected = fit(whole, SGD(0.05), slice(None))
    return {
        "sha256": hvd.check_equal_weights(sharded),
        "difference": binding.largest_difference(sharded, whole),
        "history": history,
        "expected": expected,
    }


def case_tape_and_custom_loop():
    model, whole = binding.make_model(), binding.make_model()
    x, y = binding.make_data(rows=12)

    @tf.function
    def step(network, optimizer, x, y, distributed):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(network(x) - y))
        if distributed:
            tape = hvd.DistributedGradientTape(tape)
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))

    mine, alone = SGD(0.1), SGD(0.1)
    for optimizer, network in ((mine, model), (alone, whole)):
        optimizer.build(network.trainable_variables)
    rows = slice(hvd.rank(), None, hvd.size())
    for _ in range(3):
        step(model, mine, x[rows], y[rows], True)
        step(whole, alone, x, y, False)
    hvd.check_equal_weights(model)
    return binding.largest_difference(model, whole)


def case_sync_batch_norm():
    """Unequal rows on the ranks, normalised as one batch; exact because the loss is weighted."""

    class Weighted(keras.Sequential):
        def train_step(self, data):
            self.optimizer.gradient_share = tf.constant(share, tf.float32)
            return super().train_step(data)

    def make(kind):
        keras.utils.set_random_seed(6)
        hidden = [keras.layers.Dense(4), keras.layers.BatchNormalization(momentum=0.5)]
        return kind([keras.Input((6,)), *hidden, keras.layers.Dense(1)])

    x, y = binding.make_data(rows=11)
    x = x * 3 + 5
    rows = np.arange(11)[hvd.rank() :: hvd.size()]
    share = hvd.size() * len(rows) / 11
    sharded, whole = make(Weighted), make(keras.Sequential)
    changed = hvd.synchronize_batch_norm(sharded)
    sharded.compile(hvd.DistributedOptimizer(SGD(0.01)), "mse")
    whole.compile(SGD(0.01), "mse")
    options = {"batch_size": 11, "epochs": 3, "shuffle": False, "verbose": 0}
    sharded.fit(x[rows], y[rows], **options)
    whole.fit(x, y, **options)
    saved = keras.saving.serialize_keras_object(sharded.layers[1])
    hvd.check_equal_weights(sharded)
    return {
        "changed": changed,
        "difference": binding.largest_difference(sharded, whole),
        "saved": [saved["module"], saved["class_name"]],
    }


def case_process_sets():
    """Two rings in one job: rank 0 alone, the others together."""
    alone = hvd.add_process_set([0])
    others = hvd.add_process_set(list(range(1, hvd.size())))
    mine = alone if hvd.rank() == 0 else others
    variable = tf.Variable([0.0])
    optimizer = hvd.DistributedOptimizer(SGD(1.0), process_set=mine)
    optimizer.apply([tf.constant([float(hvd.rank())])], [variable])
    hvd.barrier()
    return variable.numpy().tolist()


def case_equal_weights_are_watched():
    model = binding.make_model()
    model.compile(hvd.DistributedOptimizer(SGD(0.1)), "mse")
    x, y = binding.make_data()
    data = binding.batches(x, y, hvd.rank(), hvd.size())
    watch = hvd.CheckEqualWeights(every_steps=3)
    model.fit(data, epochs=2, verbose=0, callbacks=[watch])
    steps = watch.steps
    if hvd.rank() == 1:
        kernel = model.layers[1].kernel
        kernel.assign(kernel + 1e-6)
    try:
        model.fit(data, verbose=0, callbacks=[hvd.CheckEqualWeights()])
    except Exception as error:
        return [steps, type(error).__name__, str(error)]
    return None


def case_saved_optimizer_is_stock():
    import tempfile

    model = binding.make_model()
    model.compile(hvd.DistributedOptimizer(keras.optimizers.Adam(0.1)), "mse")
    x, y = binding.make_data(rows=4)
    model.fit(x, y, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/model.keras"
        model.save(path)
        loaded = keras.models.load_model(path)
        again = hvd.load_model(path)
    slots = zip(model.optimizer.variables, loaded.optimizer.variables, strict=True)
    return {
        "type": f"{type(loaded.optimizer).__module__}.{type(loaded.optimizer).__name__}",
        "same": all(np.array_equal(a.numpy(), b.numpy()) for a, b in slots),
        "distributed": [hvd.is_distributed(m.optimizer) for m in (model, loaded, again)],
        "config": keras.saving.serialize_keras_object(model.optimizer)["module"],
    }


class OwnStep(keras.Sequential):
    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
        self.optimizer.apply_gradients(
            zip(tape.gradient(loss, self.trainable_weights), self.trainable_weights, strict=True)
        )
        return {"loss": loss}


def _trained_with_xla_on(train, *, own_step=False, **compile_options):
    """What the warning says, whether XLA is off, and the hash of the weights, which the ranks must agree on."""
    import logging

    model = binding.make_model()
    if own_step:
        model = OwnStep(model.layers)
        model.build((None, *binding.make_data(rows=4)[0].shape[1:]))
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("trainers.hvd.xla").addHandler(handler)
    model.compile(hvd.DistributedOptimizer(SGD(0.1)), "mse", jit_compile=True, **compile_options)
    try:
        train(model, *binding.make_data(rows=8))
    finally:
        logging.getLogger("trainers.hvd.xla").removeHandler(handler)
    return {"jit_compile": model.jit_compile, "said": said, "sha256": hvd.check_equal_weights(model)}


def case_xla_is_switched_off():
    def bare(model, x, y):
        model.fit(x, y, batch_size=2, verbose=0)

    def with_callback(model, x, y):
        model.fit(x, y, verbose=0, callbacks=[hvd.AverageMetrics()])

    def by_batch(model, x, y):
        model.train_on_batch(x, y)
        model.test_on_batch(x, y)

    def broadcast_first(model, x, y):
        hvd.broadcast_state(model)
        model.fit(x, y, verbose=0)
        model.evaluate(x, y, verbose=0)
        model.predict(x, verbose=0)

    return [
        *[_trained_with_xla_on(train) for train in (bare, with_callback, by_batch, broadcast_first)],
        _trained_with_xla_on(bare, own_step=True),
        _trained_with_xla_on(bare, steps_per_execution=2),
    ]


def case_xla_stays_on_for_a_stock_optimizer():
    hvd.DistributedOptimizer(SGD(0.1))
    model = binding.make_model()
    model.compile(SGD(0.1), "mse", jit_compile=True)
    x, y = binding.make_data(rows=4)
    model.fit(x, y, verbose=0)
    return model.jit_compile
