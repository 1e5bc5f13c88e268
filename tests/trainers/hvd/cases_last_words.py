"""Ways in which one rank ends alone; the exception leaves the program, as in a script."""

import sys

import cases_binding as binding
import keras

from trainers import hvd


def _fit(callback):
    model = binding.make_model()
    model.compile(hvd.DistributedOptimizer(keras.optimizers.SGD(0.1)), "mse")
    x, y = binding.make_data()
    try:
        model.fit(binding.batches(x, y, hvd.rank(), hvd.size()), verbose=0, epochs=2, callbacks=[callback])
    except Exception:
        sys.excepthook(*sys.exc_info())
        sys.exit(1)


class Raises(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if hvd.rank() == 1 and batch == 2:
            raise ValueError("Connection reset by peer, row 17")


class Stops(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training = hvd.rank() == 1 and batch == 2


def case_rank_raises():
    _fit(Raises())


def case_rank_stops():
    _fit(Stops())
