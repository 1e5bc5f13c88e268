"""The state of an epoch that is not over: what the ranks have counted so far, kept with a checkpoint.

Knows nothing about files, nor about which step it is.
"""

import keras
import numpy as np

from trainers import hvd
from trainers.hvd.metric_states import joined_states, states_of
from trainers.hvd.metrics import sum_metrics


def gather_metrics(model: keras.Model) -> list[np.ndarray]:
    """Move what all ranks have counted to rank 0, whose metric states are returned; the others begin from zero.

    The sum over the ranks stays what it was, so the epoch's metrics do too. After it the ranks stand exactly as those
    of a resumed run do: a run that was disturbed gives the same numbers, to the bit. A collective.
    """
    sum_metrics(model)
    states = [np.asarray(variable.numpy()) for variable in states_of(model)]
    give_metrics(model, states)
    return states


def give_metrics(model: keras.Model, states: list[np.ndarray]) -> None:
    """Set the metric states of this rank as `gather_metrics` leaves them."""
    summed = {id(variable) for variable, op in joined_states(model) if op == hvd.Sum}
    for variable, state in zip(states_of(model), states, strict=True):
        variable.assign(np.zeros_like(state) if id(variable) in summed and hvd.rank() else state)
