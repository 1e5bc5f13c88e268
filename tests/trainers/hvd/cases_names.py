"""Cases of Horovod's names and arguments, by value."""

import tempfile

import cases_binding as binding
import keras
import numpy as np
import tensorflow as tf

from trainers import hvd

SGD = keras.optimizers.SGD


def numbers(tensor):
    return tf.convert_to_tensor(tensor).numpy().tolist()


def case_allreduce():
    mine = tf.constant([1.0 + hvd.rank(), 4.0])
    slices = tf.IndexedSlices(tf.constant([[1.0]]), tf.constant([hvd.rank()]), dense_shape=[4, 1])
    return {
        "average": numbers(hvd.allreduce(mine)),
        "average=False": numbers(hvd.allreduce(mine, average=False)),
        "keras order": numbers(hvd.allreduce(mine, "name", False, 0.5, 4.0)),
        "tensorflow order": numbers(hvd.allreduce(mine, False, "", "", hvd.Compression.fp16)),
        "value=": numbers(hvd.allreduce(value=mine, op=hvd.Max)),
        "scaled": numbers(hvd.allreduce(tensor=mine, op=hvd.Sum, prescale_factor=0.5, postscale_factor=4.0)),
        "adasum": numbers(hvd.allreduce(tf.constant([3.0, 4.0]), op=hvd.Adasum)),
        "slices": numbers(hvd.allreduce(slices, op=hvd.Sum)),
        "grouped": [numbers(t) for t in hvd.grouped_allreduce([mine, mine * 2], op=hvd.Sum)],
    }


def case_exchange():
    rank = hvd.rank()
    rows = tf.constant([[10.0 * rank], [10.0 * rank + 1]])
    received, splits = hvd.alltoall(rows, [1] * hvd.size())
    return {
        "alltoall": [numbers(hvd.alltoall(rows)), numbers(received), numbers(splits)],
        "unsigned": numbers(hvd.alltoall(tf.constant([2**32 - 1, rank], tf.uint32))),
        "scatter": numbers(hvd.reducescatter(rows, op=hvd.Sum)),
        "scatters": [numbers(t) for t in hvd.grouped_reducescatter([rows, rows * 2])],
        "gathers": [numbers(t) for t in hvd.grouped_allgather([rows, rows + 1])],
        "object": hvd.broadcast_object_fn(1)(rank),
        "sizes": [int(op()) for op in (hvd.size_op, hvd.rank_op, hvd.local_size_op, hvd.local_rank_op)],
        "built": [hvd.gloo_built(), hvd.gloo_enabled(), hvd.mpi_built(), hvd.is_homogeneous()],
    }


def case_broadcasts():
    variables = [tf.Variable([1.0 + hvd.rank()]), tf.Variable([hvd.rank()])]
    returned = hvd.broadcast_(variables, 1)
    model = binding.make_model(seed=hvd.rank())
    model.compile(SGD(0.0), "mse")
    own = model.layers[-1].kernel
    before = own.numpy()
    start = hvd.callbacks.BroadcastGlobalVariablesCallback(0, "", [own.value])
    x, y = binding.make_data(rows=4)
    model.fit(x, y, verbose=0, callbacks=[start])
    return [
        [numbers(v) for v in returned],
        bool(np.array_equal(own.numpy(), before)),
        float(np.abs(hvd.allreduce(model.layers[0].kernel) - model.layers[0].kernel).max()),
    ]


def case_sum_of_passes():
    variable = tf.Variable([0.0])
    summed = hvd.DistributedOptimizer(SGD(1.0), backward_passes_per_step=4)
    for _ in range(4):
        summed.apply([tf.constant([1.0])], [variable])
    return numbers(variable)


def case_local_layers():
    """One layer is each rank's own, its gradient divided by the ranks; the other is averaged."""
    keras.utils.set_random_seed(0)
    shared, own = keras.layers.Dense(1, use_bias=False), keras.layers.Dense(1, use_bias=False)
    model = keras.Sequential([keras.Input((1,)), shared, own])
    rate, rank = SGD(1.0), hvd.rank()
    optimizer = hvd.PartialDistributedOptimizer(rate, local_layers=own)
    before = [numbers(v)[0][0] for v in model.trainable_variables]
    optimizer.apply([tf.constant([[2.0 * rank]]), tf.constant([[2.0 * rank]])], model.trainable_variables)
    moved = [b - numbers(v)[0][0] for v, b in zip(model.trainable_variables, before, strict=True)]
    x = tf.constant([[1.0 + rank]])
    with tf.GradientTape(persistent=True) as plain:
        loss = tf.reduce_sum(model(x))
    tape = hvd.PartialDistributedGradientTape(plain, local_layers=[own], scale_local_gradients=False)
    variables = [v.value for v in model.trainable_variables]
    mine = plain.gradient(loss, variables)
    told = tape.gradient(loss, variables)
    return [moved, [float(abs(a - b)[0, 0]) for a, b in zip(mine, told, strict=True)]]


def case_tape_keeps_structures():
    a, b = tf.Variable([1.0]), tf.Variable([2.0])
    with hvd.DistributedGradientTape(tf.GradientTape(persistent=True)) as tape:
        loss = a * (1.0 + hvd.rank())
    nested = tape.gradient(loss, {"a": a, "b": [b]}, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return [numbers(nested["a"]), numbers(nested["b"][0]), numbers(tape.gradient(loss, a))]


class Steep(keras.optimizers.SGD):
    pass


def case_load_model():
    model = binding.make_model()
    model.compile(Steep(0.1), "mse")
    x, y = binding.make_data(rows=4)
    model.fit(x, y, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model.keras")
        loaded = hvd.load_model(f"{folder}/model.keras", [Steep], None, hvd.Compression.fp16, False)
    return [type(loaded.optimizer).__name__, hvd.is_distributed(loaded.optimizer)]


def case_best_model():
    model = binding.make_model()
    model.compile(hvd.DistributedOptimizer(SGD(0.1)), "mse")
    x, y = binding.make_data(rows=8)
    best = hvd.callbacks.BestModelCheckpoint(monitor="loss")
    try:
        model.fit(x, y, verbose=0, callbacks=[best])
    except Exception as error:
        said = str(error)
    with tempfile.TemporaryDirectory() as folder:
        best.filepath = f"{folder}/best.keras"
        model.fit(x, y, verbose=0, callbacks=[best])
        keras.models.load_model(best.filepath)
    return said


def warmed_up(optimizer, steps_per_execution=1, initial_epoch=0, **options):
    model = binding.make_model()
    model.compile(hvd.DistributedOptimizer(optimizer), "mse", steps_per_execution=steps_per_execution)
    x, y = binding.make_data()
    rates = []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: rates.append(float(model.optimizer.learning_rate))
    )
    warm_up = hvd.callbacks.LearningRateWarmupCallback(**options)
    data = binding.batches(x, y, hvd.rank(), hvd.size())
    model.fit(data, epochs=3, initial_epoch=initial_epoch, verbose=0, callbacks=[warm_up, note])
    return rates


def case_warm_up():
    restored = SGD(0.03)
    restored.iterations.assign(4)
    try:
        warmed_up(restored, initial_epoch=1, warmup_epochs=2)
    except Exception as error:
        refused = str(error)
    return {
        "3 at once": warmed_up(SGD(0.1), steps_per_execution=3, initial_lr=0.1, warmup_epochs=2),
        "resumed": warmed_up(SGD(0.03), initial_epoch=1, initial_lr=0.1, warmup_epochs=2, verbose=1),
        "refused": refused,
    }


def case_momentum_follows_the_rate():
    """The velocity is multiplied as the rate is, once per change, and stays where nobody asks for it."""
    ends = []
    for correct in (True, False):
        optimizer = SGD(1.0, momentum=0.5)
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        model.compile(hvd.DistributedOptimizer(optimizer), loss=lambda y, p: tf.reduce_mean(p))
        step = hvd.callbacks.LearningRateScheduleCallback(1.0, 0.1, momentum_correction=correct)
        ones = np.ones((1, 1), "float32")
        model.fit(ones, ones, epochs=2, verbose=0, callbacks=[step])
        ends.append(numbers(optimizer.momentums[0])[0][0])
    return ends


def case_warm_up_from_the_optimizers_rate():
    rates = []
    model = binding.make_model()
    model.compile(hvd.DistributedOptimizer(SGD(hvd.scale_learning_rate(0.1))), "mse")
    x, y = binding.make_data()
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: rates.append(float(model.optimizer.learning_rate))
    )
    warm_up = hvd.LearningRateWarmup(warmup_epochs=2)
    data = binding.batches(x, y, hvd.rank(), hvd.size())
    model.fit(data, epochs=3, verbose=0, callbacks=[warm_up, note])
    return rates


def case_wrapping_twice():
    optimizer = hvd.DistributedOptimizer(SGD(0.1))
    same = hvd.DistributedOptimizer(optimizer) is optimizer
    try:
        hvd.DistributedOptimizer(optimizer, op=hvd.Sum)
    except Exception as error:
        return [same, type(error).__name__]
    return None
