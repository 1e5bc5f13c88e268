"""One rank's state on all ranks: weights, optimizer slots, metrics and seeds.

Knows nothing about checkpoints; whoever loads one on rank 0 calls `broadcast_state` after.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

from configs.errors import TrainingError
from trainers.hvd.collectives import broadcast, global_process_set, rank
from trainers.hvd.equality import check_same_structure
from trainers.hvd.identity import in_program_order, label, native, set_label
from trainers.hvd.messages import allgather_json
from trainers.hvd.model_optimizers import slots_of
from trainers.hvd.optimizer import prepare_to_reduce

BUCKET_BYTES = 64 * 2**20
"""Variables travel in flat buffers of at most this size (a larger variable alone)."""

# An odd number near 2**64 / golden ratio: neighbouring ranks land far apart in the space of seeds.
SEED_STRIDE = 0x9E3779B97F4A7C15


def broadcast_state(model: Any, root_rank: int = 0, local_variables: Iterable[Any] = ()) -> None:
    """Give every rank the root's variables: weights, optimizer slots and iteration, metrics, seed
    generators.

    local_variables: those that each rank keeps as they are. Builds an optimizer that has no slots yet, so that all
    ranks hold the same list. Raises TrainingError on every rank when the ranks built different models. Afterwards all
    ranks draw the same random numbers; call `decorrelate_seeds` to make dropout differ. A collective: all ranks must
    call it.
    """
    if not model.built:
        raise TrainingError(
            f"Model '{model.name}' on rank {rank()} has no variables yet. Expected a built "
            "model: give it an "
            "Input layer, call model.build(shape), or run it once on a batch before "
            "broadcast_state."
        )
    prepare_to_reduce(model)
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and not optimizer.built:
        optimizer.build(model.trainable_variables)
    variables = state_variables(model)
    own = len(model.variables)
    check_same_structure(variables[:own], variables[own:], "model")
    kept = {id(native(v)) for v in local_variables}
    broadcast_variables([v for v in variables if id(native(v)) not in kept], root_rank)


def state_variables(model: Any) -> list[Any]:
    """Return every variable of model, optimizer and metrics once, in the order of their making."""
    found = {id(v): v for v in [*model.variables, *slots_of(model), *getattr(model, "metrics_variables", [])]}
    return list(found.values())


def broadcast_variables(
    variables: Iterable[Any], root_rank: int = 0, process_set: Any = global_process_set, inplace: bool = False
) -> None:
    """Give every rank the root's values of Keras or TensorFlow variables; a collective.

    inplace: taken for Horovod's sake.
    """
    if not process_set.included() or process_set.size() == 1:
        return
    listed = list(variables)
    if tf.executing_eagerly() and process_set is global_process_set:
        _agree_on_labels(listed)
    in_program_order(lambda: _broadcast_in_order(listed, root_rank, process_set))


def _broadcast_in_order(variables: list[Any], root_rank: int, process_set: Any) -> list[Any]:
    assigned = []
    for number, bucket in enumerate(_buckets(variables)):
        flat = tf.concat([tf.reshape(tf.convert_to_tensor(v), (-1,)) for v in bucket], 0)
        whole = broadcast(flat, root_rank, name=f"ringmaster_broadcast_{number}", process_set=process_set)
        values = tf.split(whole, [native(v).shape.num_elements() for v in bucket])
        for variable, value in zip(bucket, values, strict=True):
            variable.assign(tf.reshape(value, variable.shape))
        assigned.append(whole)
    return assigned


_broadcasts = itertools.count()


def _agree_on_labels(variables: list[Any]) -> None:
    """Let all ranks call each variable the same from now on, whatever made it there: built, copied or loaded.

    Raises TrainingError on every rank where the lists are not alike.
    """
    number = next(_broadcasts)
    reports = allgather_json(
        [[f"{tuple(v.shape)} {native(v).dtype.name}", label(v)] for v in variables], name="labels"
    )
    shapes = [[shape for shape, _ in report] for report in reports]
    if any(found != shapes[0] for found in shapes):
        check_same_structure(variables, [], "list of variables")
        raise TrainingError("the ranks broadcast lists of unlike variables. Give the same list on every rank.")
    for at, variable in enumerate(variables):
        labels = [report[at][1] for report in reports]
        known = {text for text in labels if text is not None}
        # A rank that keeps its variable has graphs that know it by its label: the others take that one.
        set_label(variable, known.pop() if len(known) == 1 else f"{number}.{at}")


def broadcast_(
    variables: Iterable[Any], root_rank: int, name: str | None = None, process_set: Any = global_process_set
) -> list[Any]:
    """Give every rank the root's values of `variables` and return these; a collective."""
    variables = list(variables)
    broadcast_variables(variables, root_rank, process_set)
    return variables


def decorrelate_seeds(model: Any) -> None:
    """Make the seed generators of this rank differ from those of the other ranks, in a way that
    repeats.

    Call it once after `broadcast_state`. Rank 0 keeps its seeds, so a checkpoint written by rank 0
    and broadcast again gives every rank the random numbers it would have had without the restart.
    """
    for variable in model.variables:
        if variable.path.endswith("seed_generator_state"):
            seed, counter = (int(value) for value in variable.numpy())
            # Kept to 31 bits: the state is int64 here, uint32 on other backends.
            variable.assign([(seed + rank() * SEED_STRIDE) % 2**31 if rank() else seed, counter])


def _buckets(variables: Sequence[Any]) -> list[list[Any]]:
    """Return the variables in lists of one dtype and at most BUCKET_BYTES each."""
    buckets: list[list[Any]] = []
    open_bucket: dict[Any, tuple[list[Any], int]] = {}
    for variable in variables:
        inner = native(variable)
        size_bytes = inner.shape.num_elements() * inner.dtype.size
        bucket, filled = open_bucket.get(inner.dtype, (None, 0))
        if bucket is None or filled + size_bytes > BUCKET_BYTES:
            bucket, filled = [], 0
            buckets.append(bucket)
        bucket.append(variable)
        open_bucket[inner.dtype] = (bucket, filled + size_bytes)
    return buckets
