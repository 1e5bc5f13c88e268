"""Ways a ring breaks; each runs alone in fresh processes, as it leaves the ring unusable."""

import os
import time

import cases_binding as binding
import keras
import tensorflow as tf

from configs.errors import TrainingError
from trainers import hvd

INIT = False  # one of the cases is about ranks that never arrive


def start():
    hvd.init()
    model = binding.make_model()
    model.compile(hvd.DistributedOptimizer(keras.optimizers.SGD(0.1)), "mse")
    return model


def fit(model, callbacks=()):
    x, y = binding.make_data()
    with hvd.failures_explained():
        model.fit(binding.batches(x, y, hvd.rank(), hvd.size()), epochs=3, verbose=0, callbacks=list(callbacks))


class Raises(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if hvd.rank() == 1 and batch == 2:
            raise ValueError("row 17 has no label")


class Dies(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if hvd.rank() == 1 and batch == 2:
            os._exit(9)


class Sleeps(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if hvd.rank() == 1 and batch == 2:
            time.sleep(20)


def case_rank_raises():
    fit(start(), [Raises()])


def case_rank_dies():
    fit(start(), [Dies()])


def case_rank_stalls():
    fit(start(), [hvd.StallWatch(timeout_s=8), Sleeps()])


def case_other_dtype():
    hvd.init()
    variable = tf.Variable([0.0], dtype="float16" if hvd.rank() else "float32")
    optimizer = hvd.DistributedOptimizer(keras.optimizers.SGD(0.1))
    with hvd.failures_explained():
        optimizer.apply([tf.ones((1,), variable.dtype)], [variable])


def case_other_shape():
    hvd.init()
    variable = tf.Variable(tf.zeros((3 + hvd.rank(),)))
    optimizer = hvd.DistributedOptimizer(keras.optimizers.SGD(0.1))
    with hvd.failures_explained():
        optimizer.apply([tf.ones(variable.shape)], [variable])


def other_models(layers):
    hvd.init()
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), *layers(hvd.rank())])
    model.compile(hvd.DistributedOptimizer(keras.optimizers.SGD(0.1)), "mse")
    hvd.broadcast_state(model)


def case_models_differ():
    """Every kind of difference in turn; returns what each rank was told."""
    dense = keras.layers.Dense
    kinds = {
        "shape": lambda rank: [dense(4 + rank), dense(1)],
        "count": lambda rank: [dense(4) for _ in range(2 + rank)],
        "name": lambda rank: [dense(4, name="left" if rank else "right"), dense(1)],
        "dtype": lambda rank: [dense(4, dtype="float64" if rank else "float32"), dense(1)],
    }
    told = {}
    for kind, layers in kinds.items():
        try:
            other_models(layers)
        except TrainingError as error:
            told[kind] = str(error)
    return told


def case_rank_never_arrives():
    if os.environ["HOROVOD_RANK"] == "1":
        return "stayed away"
    hvd.init()
    return "started"


def case_not_started():
    return hvd.rank()
