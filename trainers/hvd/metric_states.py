"""The states of a model's metrics, joined over the ranks: sums are added up, largest values compared.

Knows nothing about logs or epochs.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from configs.errors import TrainingError
from trainers.hvd.collectives import allreduce, rank
from trainers.hvd.settings import Op

_OP_OF_AGGREGATION = {"sum": Op.sum, "mean": Op.average}
State = list[Any]
"""[shape, dtype, operation] of one metric variable."""


def states_of(model: Any) -> list[Any]:
    """The variables of all metrics, each once."""
    return list({id(variable): variable for variable in model.metrics_variables}.values())


def joined_states(model: Any) -> list[tuple[Any, Op]]:
    """The metric variables that are joined over the ranks, each with its operation.

    A state of truth values is true where it is on any rank.
    """
    pairs = [(v, _OP_OF_AGGREGATION.get(v.aggregation)) for v in states_of(model)]
    return [(v, Op.max if str(v.dtype) == "bool" else op) for v, op in pairs if op is not None]


def describe(model: Any) -> list[State]:
    """What `add_up` needs to know of a rank."""
    return [[list(v.shape), str(v.dtype), op.value] for v, op in joined_states(model)]


def add_up(model: Any, states: Sequence[list[State]], with_rows: Sequence[int]) -> None:
    """Replace the model's metric states by those of all ranks; a collective.

    states: of every rank, by `describe`. with_rows: the ranks that count; one without rows may not have made its
    metrics yet, and hands in zeros. Raises TrainingError where ranks with rows have different metrics.
    """
    expected = states[with_rows[0]]
    other = next((number for number in with_rows if states[number] != expected), None)
    if other is not None:
        raise TrainingError(
            f"Rank {other} has other metrics than rank {with_rows[0]}: {len(states[other])} states against "
            f"{len(expected)}. Expected the same metrics on every rank."
        )
    ready = states[rank()] == expected
    variables = [v for v, _ in joined_states(model)] if ready else [None] * len(expected)
    groups: dict[tuple[str, str], list[tuple[Any, State]]] = {}
    for variable, state in zip(variables, expected, strict=True):
        groups.setdefault((_carrier(state[1], state[2]), state[2]), []).append((variable, state))
    for (carrier, op), members in sorted(groups.items()):
        _join(members, tf.as_dtype(carrier), op)


def _join(members: list[tuple[Any, State]], carrier: Any, op: str) -> None:
    parts = [
        tf.zeros(shape, carrier) if variable is None else tf.cast(tf.convert_to_tensor(variable), carrier)
        for variable, (shape, _, _) in members
    ]
    flat = tf.concat([tf.reshape(part, (-1,)) for part in parts], 0)
    total = allreduce(flat, op=op, name=f"ringmaster_metrics_{carrier.name}_{op}")
    for (variable, (shape, dtype, _)), value in zip(
        members, tf.split(total, [part.shape.num_elements() for part in parts]), strict=True
    ):
        if variable is not None:
            variable.assign(tf.cast(tf.reshape(value, shape), dtype))


def _carrier(dtype: str, op: str) -> str:
    """The number format in which a state travels: Horovod has no bool, bfloat16 or unsigned numbers."""
    if "float" in dtype:
        return "float64" if dtype == "float64" else "float32"
    return "float64" if op == Op.average else "int64"
