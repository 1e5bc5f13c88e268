"""Proof that the ranks hold the same model: structure, then weights, with the first difference
named.

Knows nothing about how the weights came to be what they are.
"""

import hashlib
import socket
from typing import Any

import numpy as np

from configs.errors import TrainingError
from trainers.hvd.collectives import rank, size
from trainers.hvd.messages import allgather_json


def weights_sha256(model: Any) -> str:
    """Return the SHA-256 in hex over names, shapes and bytes of the model's float variables,
    trainable ones first.
    """
    digest = hashlib.sha256()
    variables = float_variables(model)
    for name, variable in zip(_whole_names(variables), variables, strict=True):
        digest.update(f"{name} {tuple(variable.shape)} {_dtype(variable)}".encode())
        digest.update(_bytes(variable))
    return digest.hexdigest()


def check_equal_weights(model: Any) -> str:
    """Return the hash all ranks share; raise TrainingError on every rank, with rank, host and
    variable, if they differ.

    A collective: all ranks must call it.
    """
    mine = weights_sha256(model)
    hashes = allgather_json(mine, name="weights_sha256")
    if len(set(hashes)) == 1:
        return mine
    variables = float_variables(model)
    of_each = [hashlib.sha256(_bytes(v)).hexdigest() for v in variables]
    details = list(zip(signatures(variables), of_each, strict=True))
    reports = allgather_json((socket.gethostname(), details), name="weights_of_ranks")
    if all(report[1] == reports[0][1] for report in reports):
        return str(hashes[0])  # one rank loaded what the others built, so that only names differ
    raise TrainingError(_first_difference(reports, what="holds other weights"))


def weights_by_name(model: Any) -> dict[str, np.ndarray]:
    """Return the model's float variables as float32 arrays, in order, named as in other runs."""
    variables = float_variables(model)
    names = [name.replace("#0", "") for name in _whole_names(variables)]
    pairs = zip(names, variables, strict=True)
    return {f"{i}:{name}": np.asarray(v.numpy(), np.float32) for i, (name, v) in enumerate(pairs)}


def check_same_structure(named: list[Any], others: list[Any], what: str) -> None:
    """Raise TrainingError on every rank unless all hold the same variables in the same order.

    named: compared by name, shape and dtype. others (slots, metrics): by shape and dtype, as Keras
        puts process-wide
    numbers into the middle of their names.
    """
    if size() == 1:
        return
    details = [(signature, "") for signature in signatures(named)]
    details += [(f"{tuple(v.shape)} {_dtype(v)}", "") for v in others]
    mine = hashlib.sha256(repr(details).encode()).hexdigest()
    if len(set(allgather_json(mine, name=f"structure_of_{what}"))) == 1:
        return
    reports = allgather_json((socket.gethostname(), details), name=f"details_of_{what}")
    raise TrainingError(_first_difference(reports, what=f"built another {what}"))


def float_variables(model: Any) -> list[Any]:
    """Return the trainable, then the non-trainable variables of floating dtype (not seeds and
    counters).
    """
    variables = list(model.trainable_variables) + list(model.non_trainable_variables)
    return [v for v in variables if "float" in str(v.dtype)]


def signatures(variables: list[Any]) -> list[str]:
    """Return "layer/name shape dtype" per variable, the same for the same model whatever was built
    before it.

    Keras numbers unnamed layers through the life of the process: a rank that built one more model
    calls its first layer dense_7. Numbers are therefore counted anew inside the list: dense_7,
    dense_9 become dense#0, dense#1. What stands before the layer is left out: a Sequential that
    was loaded from a file no longer has it.
    """
    names = [[_split_number(part) for part in path_of(v).split("/")[-2:]] for v in variables]
    counted = _counted_anew(names)
    return [f"{name} {tuple(v.shape)} {_dtype(v)}" for name, v in zip(counted, variables, strict=True)]


def path_of(variable: Any) -> str:
    """Return the name of a Keras or TensorFlow variable, with what it stands in."""
    return str(getattr(variable, "path", None) or getattr(variable, "name", "variable").split(":")[0])


def _dtype(variable: Any) -> str:
    return str(getattr(variable.dtype, "name", variable.dtype))


def _whole_names(variables: list[Any]) -> list[str]:
    """Name of each variable with all that it stands in, numbers counted anew."""
    return _counted_anew([[_split_number(part) for part in path_of(v).split("/")] for v in variables])


def _counted_anew(names: list[list[tuple[str, int]]]) -> list[str]:
    numbers: dict[str, list[int]] = {}
    for base, number in sorted({pair for parts in names for pair in parts}):
        numbers.setdefault(base, []).append(number)
    return ["/".join(f"{base}#{numbers[base].index(number)}" for base, number in parts) for parts in names]


def _split_number(part: str) -> tuple[str, int]:
    base, _, number = part.rpartition("_")
    return (base, int(number)) if base and number.isdigit() else (part, -1)


def _bytes(variable: Any) -> bytes:
    return np.ascontiguousarray(variable.numpy()).tobytes()


def _first_difference(reports: list[tuple[str, list[tuple[str, str]]]], what: str) -> str:
    """Return the message: which rank differs from rank 0, on which host, and in which variable
    first.
    """
    root_host, expected = reports[0]
    for number, (host, found) in enumerate(reports):
        if found == expected:
            continue
        pairs = list(zip(expected, found, strict=False))
        at = next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))
        theirs = found[at][0] if at < len(found) else f"nothing (it has {len(found)} variables)"
        ours = expected[at][0] if at < len(expected) else f"nothing (it has {len(expected)} variables)"
        theirs, ours = theirs.replace("#0", ""), ours.replace("#0", "")
        return (
            f"Rank {number} on host {host} {what} than rank 0 on host {root_host}. First "
            "difference, variable "
            f"{at}: rank {number} has {theirs}, rank 0 has {ours}. Expected the same on every "
            "rank: build the model "
            "alike everywhere and call hvd.broadcast_state(model) before training. (Seen by "
            f"rank {rank()}.)"
        )
    return (
        f"A rank {what}, and the next comparison found all alike: a rank changes its weights "
        "while they are compared. Change weights between steps only."
    )
