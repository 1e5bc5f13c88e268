"""Cases of metrics and logs: the same on every rank, and those of one process."""

import cases_binding as binding
import keras
import numpy as np
import tensorflow as tf

from trainers import hvd

SGD = keras.optimizers.SGD


def plain(history):
    return {name: [np.asarray(v, "float64").tolist() for v in values] for name, values in history.items()}


def rows_of(count, rank=None):
    x, y = binding.make_data(rows=count)
    rank = hvd.rank() if rank is None else rank
    return x[rank :: hvd.size()], y[rank :: hvd.size()]


def compiled(metrics=("mae",), model=None, **options):
    model = model or binding.make_model()
    model.compile(hvd.DistributedOptimizer(SGD(0.1)), "mse", metrics=list(metrics) or None, **options)
    return model


def callbacks(*more):
    return [hvd.callbacks.MetricAverageCallback(), *more]


def case_lone_evaluate():
    """Rank 0 tests alone after every step and epoch; the logs stay those of all ranks."""
    model, found = compiled(), []

    class Test(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            found.append(self.model.evaluate(x[:4], y[:4], verbose=0)[0])

    x, y = rows_of(16)
    own = [Test()] if hvd.rank() == 0 else []
    history = model.fit(x, y, batch_size=4, epochs=2, verbose=0, callbacks=callbacks(*own)).history
    return [plain(history), len(found)]


def case_evaluate_inside_with_the_callback():
    model, x, y = compiled(), *rows_of(16)

    class Test(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.evaluate(x[:4], y[:4], verbose=0, callbacks=callbacks())

    return plain(
        model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0, callbacks=callbacks(Test())).history
    )


def case_fit_without_the_callback_is_the_ranks_own():
    model, x, y = compiled(), *rows_of(16)
    model.fit(x, y, verbose=0, callbacks=callbacks())
    own = plain(model.fit(x * (1 + hvd.rank()), y, verbose=0).history)
    return own["loss"] if hvd.rank() else [own["loss"][0], "other"]


def case_empty_validation():
    """Rank 1 has no rows to test with."""
    x, y = rows_of(16)
    mine = (x[:4], y[:4]) if hvd.rank() == 0 else (x[:0], y[:0])
    history = plain(compiled().fit(x, y, validation_data=mine, verbose=0, callbacks=callbacks()).history)
    fresh = compiled([keras.metrics.AUC()])
    tested = fresh.evaluate(*mine, verbose=0, callbacks=callbacks(), return_dict=True)
    return [history, {name: round(float(v), 5) for name, v in tested.items()}]


class OwnLogs(keras.Model):
    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            p = self(x, training=True)
            loss = self.compute_loss(x, y, p)
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        rank = float(hvd.rank())
        return {
            "loss": loss,
            "vector": tf.constant([rank, 1.0]),
            "nested": {"matrix": tf.constant([[rank], [2 * rank]]), "deep": {"count": tf.constant(hvd.rank())}},
            "flag": tf.constant(hvd.rank() == 0),
            "text": tf.constant("a"),
            "nothing": None,
        }


def functional(kind):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6,))
    return kind(inputs, keras.layers.Dense(1, activation="sigmoid")(inputs))


def case_own_logs():
    model = compiled((), model=functional(OwnLogs))
    history = model.fit(*rows_of(8), verbose=0, callbacks=callbacks()).history
    return plain({name: history[name] for name in ("vector", "matrix", "count", "flag")}) | {
        "names": sorted(history),
        "loss": float(history["loss"][0]),
    }


class Guide(keras.Model):
    """Keras's own guide for train_step."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            p = self(x, training=True)
            loss = self.compute_loss(x, y, p)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, p)
        return {m.name: m.result() for m in self.metrics}


def against_one_process(make, metrics, *, loss="mse", labels=lambda y: y):
    """(history of this ring, history of one process on all rows), both in two steps."""
    x, y = binding.make_data(rows=24)
    y, found = labels(y), []
    for distributed in (True, False):
        model = make()
        optimizer = hvd.DistributedOptimizer(SGD(0.1)) if distributed else SGD(0.1)
        model.compile(optimizer, loss, metrics=metrics())
        data = binding.batches(x, y, *((hvd.rank(), hvd.size()) if distributed else ()))
        history = model.fit(data, epochs=2, verbose=0, callbacks=callbacks() if distributed else [])
        found.append(plain(history.history))
    return found


def case_guide():
    return against_one_process(lambda: functional(Guide), lambda: ["accuracy"], loss="binary_crossentropy")


def case_stock_metrics():
    kinds = keras.metrics
    return against_one_process(
        binding.make_model,
        lambda: [
            kinds.AUC(name="auc"),
            kinds.Precision(name="precision"),
            kinds.BinaryIoU(name="iou"),
            kinds.F1Score(threshold=0.5, name="f1"),
            kinds.RootMeanSquaredError(name="rmse"),
            kinds.R2Score(name="r2"),
        ],
    )


class States(keras.metrics.Metric):
    """Truth, whole numbers of several kinds, a mean that says so, and results in a dict."""

    def __init__(self, name="states"):
        super().__init__(name=name)
        zeros = keras.initializers.Zeros()
        self.seen = self.add_variable((), zeros, dtype="bool", name="seen")
        self.rows = self.add_variable((), zeros, dtype="int32", name="rows")
        self.long = self.add_variable((2,), zeros, dtype="uint32", name="long")
        self.half = self.add_variable((), zeros, dtype="bfloat16", name="half")
        self.rate = self.add_variable((), zeros, dtype="float32", aggregation="mean", name="rate")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.seen.assign(tf.constant(hvd.rank() == 0))
        self.rows.assign(self.rows + tf.shape(y_true)[0])
        self.long.assign(self.long + tf.constant([1, 2], tf.uint32))
        self.half.assign(self.half + tf.constant(1, tf.bfloat16))
        self.rate.assign(tf.constant(float(hvd.rank())))

    def result(self):
        parts = {"seen": self.seen, "rows": self.rows, "long": self.long, "half": self.half, "rate": self.rate}
        return {name: tf.cast(tf.convert_to_tensor(v), tf.float32) for name, v in parts.items()}


def case_kinds_of_states():
    history = compiled([States()]).fit(*rows_of(8), batch_size=2, verbose=0, callbacks=callbacks()).history
    return plain({name: history[name] for name in ("seen", "rows", "long", "half", "rate")})


def case_custom_train_step_logs():
    class Custom(keras.Sequential):
        def train_step(self, data):
            super().train_step(data)
            return {"my_rank": tf.cast(hvd.rank(), tf.float32)}

    layers = [keras.Input((6,)), keras.layers.Dense(1)]
    model = Custom(layers)
    model.compile(hvd.DistributedOptimizer(SGD(0.1)), "mse")
    x, y = binding.make_data(rows=4)
    return model.fit(x, y, verbose=0, callbacks=[hvd.AverageMetrics()]).history


def case_evaluate_alone():
    x, y = binding.make_data(rows=11)
    model = binding.make_model()
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy", keras.metrics.AUC()])
    rows = slice(hvd.rank(), None, hvd.size())
    mine = model.evaluate(x[rows], y[rows], verbose=0, callbacks=[hvd.AverageMetrics()])
    alone = model.evaluate(x, y, verbose=0)
    return [[float(v) for v in mine], [float(v) for v in alone]]
