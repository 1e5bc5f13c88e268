"""`AverageMetrics`: N ranks report the loss and metrics that one process would report over all
rows.

Keras metrics keep sums (total and count, confusion counts, histograms). Summed over the ranks
before Keras reads the epoch's result, they are those of one process; an average of the ranks'
results would not be. Knows nothing about where the results go.
"""

import contextvars
import functools
from typing import Any

import keras

from configs.errors import TrainingError
from trainers.hvd import logs as logs_of_ranks
from trainers.hvd.collectives import rank, size
from trainers.hvd.messages import allgather_json, broadcast_json
from trainers.hvd.metric_states import add_up, describe

# The one place where Keras turns metric states into the logs of an epoch or a test, whatever the
# number of steps.
_READ_RESULT = "_get_metrics_result_or_logs"


class Loop:
    """One call of `fit` or `evaluate`: whether it averages over the ranks.

    A test inside `fit` that rank 0 makes alone is a loop of its own, so there is no collective in it.
    """

    def __init__(self) -> None:
        self.averages = False


_loop: contextvars.ContextVar[Loop | None] = contextvars.ContextVar("ringmaster_loop", default=None)


class AverageMetrics(keras.callbacks.Callback):
    """Adds up the states of all metrics over the ranks at the end of every epoch and test.

    Put it first among the callbacks of `fit` and `evaluate`; a call without it stays this rank's own. Every rank then
    holds the same logs, so callbacks that decide by them (early stopping, learning rate on plateau) decide alike. Logs
    that a custom train step makes up itself are averaged over the ranks, element by element. A metric variable made
    with aggregation="mean" is averaged, one with aggregation="none" or "only_first_replica" stays the rank's own.
    """

    def __init__(self) -> None:
        super().__init__()
        _average_where_asked()

    def on_train_begin(self, logs: Any = None) -> None:
        """Average in this call of `fit`."""
        _average_in_this_loop()

    def on_test_begin(self, logs: Any = None) -> None:
        """Average in this test."""
        _average_in_this_loop()

    def on_train_end(self, logs: Any = None) -> None:
        """Leave what follows alone."""
        _average_no_more()

    def on_test_end(self, logs: Any = None) -> None:
        """Leave what follows alone."""
        _average_no_more()


def _average_in_this_loop() -> None:
    loop = _loop.get()
    if loop is None:
        # `model.fit(callbacks=[AverageMetrics()])` finds the method before it makes the first of these callbacks, so
        # this one call is in no loop yet.
        loop = Loop()
        _loop.set(loop)
    loop.averages = True


def _average_no_more() -> None:
    loop = _loop.get()
    if loop is not None:
        loop.averages = False


@functools.cache
def _average_where_asked() -> None:
    """Give every `fit` and `evaluate` a Loop, and let it decide how Keras reads the results at its end."""
    read = getattr(keras.Model, _READ_RESULT, None)
    if read is None:
        raise TrainingError(
            f"This Keras ({keras.__version__}) has no Trainer.{_READ_RESULT}, where AverageMetrics sums metrics. "
            "Expected Keras 3.15; use the versions that Ringmaster names."
        )

    @functools.wraps(read)
    def read_result(model: Any, local_logs: Any) -> Any:
        loop = _loop.get()
        if loop is None or not loop.averages or size() == 1:
            return read(model, local_logs)
        return _read_of_all_ranks(model, local_logs, read)

    keras.Model.fit = _in_a_loop(keras.Model.fit)
    keras.Model.evaluate = _in_a_loop(keras.Model.evaluate)
    setattr(keras.Model, _READ_RESULT, read_result)


def _in_a_loop(run: Any) -> Any:
    @functools.wraps(run)
    def run_in_a_loop(*args: Any, **kwargs: Any) -> Any:
        token = _loop.set(Loop())
        try:
            return run(*args, **kwargs)
        finally:
            _loop.reset(token)

    return run_in_a_loop


def _read_of_all_ranks(model: Any, local_logs: Any, read: Any) -> Any:
    """Return the logs of all ranks, the same on each; a collective. A rank that saw no rows has no part in them."""
    own = model.get_metrics_result() if local_logs else {}
    mine = logs_of_ranks.report(local_logs, own)
    reports = allgather_json({**mine, "states": describe(model)}, name="ringmaster_logs")
    with_rows = [number for number, report in enumerate(reports) if report["seen"]]
    if not with_rows:
        return read(model, local_logs)
    add_up(model, [report["states"] for report in reports], with_rows)
    logs = logs_of_ranks.joined(local_logs, reports, model.get_metrics_result() if local_logs else {})
    if len(with_rows) < size():
        root = with_rows[0]
        told = broadcast_json(logs_of_ranks.plain(logs) if rank() == root else None, root, name="ringmaster_logs")
        return logs if rank() in with_rows else told
    return logs


def sum_metrics(model: Any) -> None:
    """Replace every metric state of `model` by its sum over the ranks; a collective.

    Call it once per epoch or test, before the results are read and before the states are reset.
    """
    if size() > 1:
        add_up(model, [describe(model)] * size(), list(range(size())))
