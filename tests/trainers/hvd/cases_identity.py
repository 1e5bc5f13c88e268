"""Cases in which the ranks made different things before: what they train together must still meet."""

import copy
import pickle
import tempfile

import cases_binding as binding
import keras
import numpy as np
import tensorflow as tf

from trainers import hvd

SGD = keras.optimizers.SGD


def mlp():
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(4), keras.layers.Dense(1)])


def mine(rows=24):
    x, y = binding.make_data(rows=rows)
    return x[hvd.rank() :: hvd.size()], y[hvd.rank() :: hvd.size()]


def case_retrace_on_one_rank():
    model, optimizer = mlp(), SGD(0.1)
    hvd.broadcast_variables(model.variables, root_rank=0)

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(x) - y))
        tape = hvd.DistributedGradientTape(tape)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)

    x, y = binding.make_data(rows=24)
    for _ in range(2):
        for start in (0, 8, 16):
            rows = slice(start, start + (4 if hvd.rank() == 1 and start == 16 else 8))
            step(x[rows], y[rows])
    return hvd.check_equal_weights(model)


def case_more_was_made_on_one_rank():
    """One more model, wrapped, compiled and built: its layers, names and optimizers are counted by Keras."""
    if hvd.rank() == 0:
        side = mlp()
        side.compile(hvd.DistributedOptimizer(SGD(0.1)), "mse")
        side.optimizer.build(side.trainable_variables)
        keras.layers.BatchNormalization().build((None, 4))
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(4), keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    )
    hvd.synchronize_batch_norm(model)
    model.compile(hvd.DistributedOptimizer(keras.optimizers.Adam(0.01)), "mse")
    start = hvd.callbacks.BroadcastGlobalVariablesCallback(0)
    model.fit(*mine(), batch_size=4, verbose=0, callbacks=[start, hvd.CheckEqualWeights()])
    return hvd.check_equal_weights(model)


def case_loaded_on_one_rank():
    """Rank 0 loads; the others build anew, then keep what they have."""

    def make():
        model = mlp()
        model.compile(hvd.DistributedOptimizer(SGD(0.01, momentum=0.9)), "mse")
        return model

    start = hvd.callbacks.BroadcastGlobalVariablesCallback(0)
    model = make()
    model.fit(*mine(), batch_size=4, verbose=0, callbacks=[start])
    told = []
    with tempfile.TemporaryDirectory() as folder:
        for kept in (False, True):
            model.save(f"{folder}/model.keras")
            other = model if kept else make()
            model = hvd.load_model(f"{folder}/model.keras") if hvd.rank() == 0 else other
            model.fit(*mine(), batch_size=4, verbose=0, callbacks=[start])
            told.append([hvd.check_equal_weights(model), int(model.optimizer.iterations)])
    return told


def tower_step(way):
    """A step in which this rank has gradients for one of two towers."""
    towers = mlp(), mlp()
    both = towers[0].trainable_variables + towers[1].trainable_variables
    hvd.broadcast_variables(both, root_rank=0)
    optimizer = hvd.DistributedOptimizer(SGD(0.1))
    optimizer.build(both)
    x, y = binding.make_data(rows=8)
    tower = towers[hvd.rank() % 2]

    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(tower(x) - y))
        variables = tower.trainable_variables if way == "list" else both
        optimizer.apply(tape.gradient(loss, variables), variables)

    return tf.function(step) if way == "graph" else step


def case_other_variables_of_equal_size():
    """By None, by the list alone, and in a graph."""
    told = []
    for way in ("none", "list", "graph"):
        try:
            with hvd.failures_explained():
                tower_step(way)()
        except Exception as error:
            told.append([type(error).__name__, str(error)])
    return told


def case_copies_stay_distributed():
    optimizer = hvd.DistributedOptimizer(keras.optimizers.Adam(0.25), op=hvd.Sum)
    serialized = keras.optimizers.serialize(optimizer)
    copies = [
        optimizer.from_config(optimizer.get_config()),
        optimizer.__class__.from_config(optimizer.get_config()),
        copy.deepcopy(optimizer),
        pickle.loads(pickle.dumps(optimizer)),
        keras.optimizers.deserialize(serialized),
    ]
    told = []
    for one in copies:
        variable = tf.Variable([0.0])
        one.apply([tf.constant([float(hvd.rank())])], [variable])
        equal = hvd.allgather(variable).numpy().tolist()
        told.append([hvd.is_distributed(one), one is optimizer, float(one.learning_rate), len(set(equal))])
    return told


class Own(keras.Model):
    """Two nets with an optimizer each, neither of them `model.optimizer`."""

    def __init__(self):
        super().__init__()
        self.a, self.b = mlp(), mlp()

    def compile(self, first, second, tape=False, **options):
        super().compile(**options)
        self.optimizers, self.tape = {"a": first, "b": [second]}, tape

    def train_step(self, data):
        for net, optimizer in ((self.a, self.optimizers["a"]), (self.b, self.optimizers["b"][0])):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(net(data[0]) - data[1]))
            tape = hvd.DistributedGradientTape(tape) if self.tape else tape
            optimizer.apply(tape.gradient(loss, net.trainable_variables), net.trainable_variables)
        return {"loss": loss}


def case_xla_is_off_wherever_a_collective_is():
    told = []
    for tape in (False, True):
        wrap = (lambda one: one) if tape else hvd.DistributedOptimizer
        model = Own()
        model.compile(wrap(keras.optimizers.Adam(0.01)), wrap(keras.optimizers.Adam(0.01)), tape, jit_compile=True)
        start = hvd.callbacks.BroadcastGlobalVariablesCallback(0)
        model.fit(*mine(), batch_size=4, verbose=0, callbacks=[start])
        told.append([model.jit_compile, hvd.check_equal_weights(model), len(hvd.slots_of(model))])
    normal = keras.Sequential([keras.Input((6,)), keras.layers.BatchNormalization(), keras.layers.Dense(1)])
    hvd.synchronize_batch_norm(normal)
    normal.compile(SGD(0.1), "mse", jit_compile=True)
    normal.train_on_batch(*mine())
    return [*told, [normal.jit_compile]]


def case_only_moving_statistics_are_averaged():
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(4, dtype="float64"), keras.layers.BatchNormalization()]
    )
    model.layers[0].trainable = False
    frozen = np.full((6, 4), 1 / 3 + 1e-14)
    model.layers[0].kernel.assign(frozen)
    model.layers[1].moving_mean.assign(np.full(4, float(hvd.rank()), "float32"))
    hvd.average_batch_norm(model)
    return [bool(np.array_equal(model.layers[0].kernel.numpy(), frozen)), float(model.layers[1].moving_mean[0])]


def case_messages():
    sent = {"a": [np.float32([[np.nan, 1 / 3]]), np.arange(3)], "text": "é", "none": None, "number": np.float32(0.1)}
    back = hvd.broadcast_json(sent if hvd.rank() == 1 else None, root_rank=1)
    same = [x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in zip(sent["a"], back["a"], strict=True)]
    gathered = hvd.allgather_json("x" * hvd.rank(), name="case")
    return [same, back["text"], back["none"], back["number"] == float(np.float32(0.1)), gathered]


def case_zeros_where_a_rank_has_no_gradient():
    """The fix that the message names, and the one of the tape."""
    towers = mlp(), mlp()
    both = towers[0].trainable_variables + towers[1].trainable_variables
    hvd.broadcast_variables(both, root_rank=0)
    optimizer = hvd.DistributedOptimizer(SGD(0.1))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(towers[hvd.rank() % 2](mine()[0]))
    gradients = tape.gradient(loss, both)
    zeros = [tf.zeros_like(v) if g is None else g for g, v in zip(gradients, both, strict=True)]
    optimizer.apply(zeros, both)
    zero = tf.UnconnectedGradients.ZERO
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(towers[hvd.rank() % 2](mine()[0]))
    SGD(0.1).apply(hvd.DistributedGradientTape(tape).gradient(loss, both, unconnected_gradients=zero), both)
    return [hvd.check_equal_weights(tower) for tower in towers]
