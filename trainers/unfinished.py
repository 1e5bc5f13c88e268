"""The state of an epoch that is not over: what the ranks have counted so far, kept with a checkpoint.

Knows nothing about files, nor about which step it is.
"""

from typing import Any

import keras
import numpy as np

from trainers import hvd
from trainers.hvd.metrics import sum_metrics


def gather_metrics(model: keras.Model) -> list[np.ndarray]:
    """Move what all ranks have counted to rank 0, whose metric states are returned; the others begin from zero.

    The sum over the ranks stays what it was, so the epoch's metrics do too. After it the ranks stand exactly as those
    of a resumed run do: a run that was disturbed gives the same numbers, to the bit. A collective.
    """
    sum_metrics(model)
    states = [variable.numpy() for variable in metric_variables(model)]
    give_metrics(model, states)
    return states


def give_metrics(model: keras.Model, states: list[np.ndarray]) -> None:
    """Set the metric states of this rank as `gather_metrics` leaves them."""
    for variable, state in zip(metric_variables(model), states, strict=True):
        summed = variable.aggregation == "sum"
        variable.assign(np.zeros_like(state) if summed and hvd.rank() else state)


def metric_variables(model: keras.Model) -> list[Any]:
    """The variables of all metrics, each once."""
    return list({id(variable): variable for variable in model.metrics_variables}.values())
