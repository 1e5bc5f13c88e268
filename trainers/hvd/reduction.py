"""A list of gradients in, the same list reduced over the ranks out: the seam between Keras and
Horovod.

Dense gradients of one dtype are joined into one flat buffer, so that a step pays for one
negotiation and one ring pass instead of one per variable. Inside: TensorFlow tensors only. Knows
nothing about optimizers or models; another Keras backend would get its own function of this
signature.
"""

import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import horovod.tensorflow as horovod
import tensorflow as tf

from configs.errors import SpecError, TrainingError
from trainers.hvd.adasum import adasum_rows
from trainers.hvd.identity import (
    disagreement,
    fingerprint,
    fixed_label,
    in_program_order,
    marked,
    marked_rows,
    unmarked,
)
from trainers.hvd.settings import Compression, Op, ReductionSettings

BUCKET_BYTES = 32 * 2**20
"""A bucket is closed at this size: the flat copy of a large model stays small, and what the
backward pass has
finished travels while it goes on."""


@dataclass(frozen=True)
class Wire:
    """Where a tensor travels: among which ranks, under which name, and marked as what."""

    ranks: Any
    name: str
    mark: tuple[int, int] = (0, 0)

    def allreduce(self, flat: Any, op: Any = horovod.Sum) -> Any:
        """(values,) -> their sum (or what `op` says) over the ranks."""
        tensor = marked(flat, self.mark)
        return unmarked(
            horovod.allreduce(tensor, op=op, name=self.name, process_set=self.ranks, ignore_name_scope=True)
        )

    def gather(self, rows: Any, part: str = "") -> Any:
        """(rows, ...) -> the rows of all ranks."""
        tensor = marked_rows(rows, self.mark)
        name = f"{self.name}{part}"
        whole = horovod.allgather(tensor, name=name, process_set=self.ranks, ignore_name_scope=True)
        return tf.reshape(whole, tf.concat([[-1], tf.shape(rows)[1:]], 0))

    def exchange(self, values: Any) -> Any:
        """(values,) -> slice r of every rank's values, on rank r."""
        tensor = marked_rows(values, self.mark)
        name = f"{self.name}_slices"
        return unmarked(horovod.alltoall(tensor, name=name, process_set=self.ranks, ignore_name_scope=True))


def reduce_gradients(
    gradients: Sequence[Any],
    variables: Sequence[Any],
    settings: ReductionSettings,
    *,
    share: Any = None,
    name: str = "ringmaster_gradients",
) -> list[Any]:
    """Return `gradients` reduced over the ranks of `settings.process_set`, in order; None stays
    None.

    gradients: dense tensors and IndexedSlices. share: a float32 scalar that multiplies this rank's
        gradients before
    the reduction. Returns the input unchanged on ranks outside the process set and where there is
    but one rank. Ranks whose gradients are not those of the same variables get an error, all of them.
    """
    ranks = settings.process_set or horovod.global_process_set
    if not ranks.included() or ranks.size() == 1:
        return list(gradients)
    reduced = list(gradients)
    if settings.sparse_as_dense:
        reduced = [tf.convert_to_tensor(g) if isinstance(g, tf.IndexedSlices) else g for g in reduced]
    reduced = [_of_known_shape(g, v) for g, v in zip(reduced, variables, strict=True)]
    mark = fingerprint([_about(g, v) for g, v in zip(reduced, variables, strict=True)])
    first = Wire(ranks, f"{name}_0", mark)
    try:
        return in_program_order(lambda: _reduce_in_order(reduced, variables, settings, share, first))
    except tf.errors.OpError as error:  # in eager mode; out of a graph it comes when the step runs
        said = disagreement(str(error))
        if said is None:
            raise
        raise TrainingError(f"Rank {horovod.rank()} on host {socket.gethostname()}: {said}") from None


def _of_known_shape(gradient: Any, variable: Any) -> Any:
    """Return the gradient with its variable's shape: behind a masked layer TensorFlow knows it at run time only."""
    if gradient is None or isinstance(gradient, tf.IndexedSlices) or gradient.shape.is_fully_defined():
        return gradient
    return tf.ensure_shape(gradient, variable.shape)


def _about(gradient: Any, variable: Any) -> str:
    """Return what all ranks must say alike of a gradient."""
    if gradient is None:
        kind = "none"
    else:
        kind = "sparse" if isinstance(gradient, tf.IndexedSlices) else "dense"
    return f"{kind} {tuple(variable.shape)} {fixed_label(variable)}"


def _reduce_in_order(
    reduced: list[Any], variables: Sequence[Any], settings: ReductionSettings, share: Any, first: Wire
) -> list[Any]:
    """Reduce the first bucket, whose mark stands for all gradients, and only where the ranks agree the others."""
    dense = [i for i, g in enumerate(reduced) if g is not None and not isinstance(g, tf.IndexedSlices)]
    sparse = [i for i, g in enumerate(reduced) if isinstance(g, tf.IndexedSlices)]
    buckets = _buckets(dense, reduced, variables, settings.groups)
    agreed: list[Any] = []
    if not buckets:
        agreed = [first.allreduce(tf.zeros((1,)))]
    for number, bucket in enumerate(buckets):
        wire = replace(first, name=f"{first.name[:-1]}{number}", mark=(0, 0)) if number else first
        with tf.control_dependencies(agreed):
            values = _reduce_bucket([reduced[i] for i in bucket], settings, share, wire)
        agreed = agreed or values[:1]
        for i, value in zip(bucket, values, strict=True):
            reduced[i] = value
    for i in sparse:
        wire = replace(first, name=f"{first.name[:-1]}sparse_{i}", mark=(0, 0))
        with tf.control_dependencies(agreed):
            reduced[i] = _reduce_slices(reduced[i], settings, share, wire)
    return reduced


def _buckets(dense: list[int], gradients: Sequence[Any], variables: Sequence[Any], groups: Any) -> list[list[int]]:
    """Return positions that travel together: one dtype each, last variable first, as the backward
    pass ends there.
    """
    order = list(reversed(dense))
    if groups is None:
        return _split_by_dtype(order, gradients, BUCKET_BYTES)
    if isinstance(groups, int):
        total = sum(_bytes(gradients[i]) for i in order)
        return _split_by_dtype(order, gradients, -(-total // groups))
    position_of = {id(variable): i for i, variable in enumerate(variables)}
    buckets, seen = [], set()
    for group in groups:
        unknown = [v for v in group if id(v) not in position_of]
        if unknown:
            raise SpecError(
                f"groups names the variable {getattr(unknown[0], 'path', unknown[0])}, which has "
                "no gradient in this "
                "step. Expected lists of the model's trainable variables."
            )
        members = [position_of[id(v)] for v in group if position_of[id(v)] in set(dense)]
        seen.update(members)
        buckets += _split_by_dtype(members, gradients, None)
    return buckets + _split_by_dtype([i for i in order if i not in seen], gradients, BUCKET_BYTES)


def _split_by_dtype(order: list[int], gradients: Sequence[Any], limit_bytes: int | None) -> list[list[int]]:
    buckets: list[list[int]] = []
    open_bucket: dict[Any, tuple[list[int], int]] = {}
    for i in order:
        dtype, size = gradients[i].dtype, _bytes(gradients[i])
        bucket, filled = open_bucket.get(dtype, (None, 0))
        if bucket is None or (limit_bytes is not None and filled + size > limit_bytes):
            bucket, filled = [], 0
            buckets.append(bucket)
        bucket.append(i)
        open_bucket[dtype] = (bucket, filled + size)
    return buckets


def _bytes(gradient: Any) -> int:
    return (gradient.shape.num_elements() or 0) * gradient.dtype.size


def _reduce_bucket(parts: list[Any], settings: ReductionSettings, share: Any, wire: Wire) -> list[Any]:
    """Return the tensors of one bucket, all of one dtype, after one trip around the ring."""
    sizes = [part.shape.num_elements() for part in parts]
    flat = tf.concat([tf.reshape(part, (-1,)) for part in parts], 0) if len(parts) > 1 else tf.reshape(parts[0], (-1,))
    if share is not None:
        # A rank without rows has share 0, and whatever stands in its gradients must not count.
        flat = tf.math.multiply_no_nan(flat, tf.cast(share, flat.dtype))
    if settings.op == Op.adasum:
        rows = tf.reshape(wire.gather(flat), (wire.ranks.size(), -1))
        values = [adasum_rows(rows_of_one) for rows_of_one in tf.split(rows, sizes, 1)]
    else:
        values = tf.split(_sum_flat(flat, settings, wire), sizes)
    return [tf.reshape(value, part.shape) for value, part in zip(values, parts, strict=True)]


def _sum_flat(flat: Any, settings: ReductionSettings, wire: Wire) -> Any:
    """Return the sum (or average) of one flat buffer over the ranks, in the buffer's dtype."""
    dtype, divide = flat.dtype, settings.op == Op.average
    predivide = settings.gradient_predivide_factor
    if predivide != 1.0:
        flat /= predivide
    if settings.compression == Compression.bf16 or dtype == tf.bfloat16:
        summed = _sum_as_bfloat16(flat, wire)
    elif settings.compression == Compression.fp16 and dtype.is_floating:
        summed = tf.cast(wire.allreduce(tf.cast(flat, tf.float16)), dtype)
    elif divide and predivide == 1.0:
        return wire.allreduce(flat, horovod.Average)
    else:
        summed = wire.allreduce(flat)
    if divide:
        summed *= tf.cast(predivide / wire.ranks.size(), summed.dtype)
    return tf.cast(summed, dtype)


def _sum_as_bfloat16(flat: Any, wire: Wire) -> Any:
    """Return the sum of `flat` as float32, its values having travelled as bfloat16.

    Horovod has no bfloat16 reduction: every rank collects one slice of all ranks' values, adds
    them up in float32, and hands its slice round. The bytes on the wire are those of a ring
    allreduce of 16-bit numbers.
    """
    count, ring = flat.shape.num_elements(), wire.ranks.size()
    padded = tf.pad(tf.cast(flat, tf.bfloat16), [[0, -count % ring]])
    bits = tf.bitcast(padded, tf.int16)
    slices = tf.reshape(tf.cast(tf.bitcast(wire.exchange(bits), tf.bfloat16), tf.float32), (ring, -1))
    total = tf.bitcast(tf.cast(tf.reduce_sum(slices, 0), tf.bfloat16), tf.int16)
    whole = tf.bitcast(wire.gather(total, "_sums"), tf.bfloat16)
    return tf.ensure_shape(tf.cast(whole, tf.float32)[:count], (count,))


def _reduce_slices(slices: Any, settings: ReductionSettings, share: Any, wire: Wire) -> Any:
    """Return IndexedSlices with the rows of all ranks; an index that several ranks touched stands
    there again.
    """
    if settings.op == Op.adasum:
        raise SpecError(
            "op=adasum met a sparse gradient (IndexedSlices of an Embedding layer). Adasum needs "
            "dense gradients: "
            "give sparse_as_dense=True, or use op=average."
        )
    values, dtype = slices.values, slices.values.dtype
    if share is not None:
        values = tf.math.multiply_no_nan(values, tf.cast(share, dtype))
    if settings.op == Op.average:
        values /= tf.cast(wire.ranks.size(), dtype)
    if settings.compression == Compression.fp16:
        values = tf.cast(wire.gather(tf.cast(values, tf.float16), "_values"), dtype)
    elif settings.compression == Compression.bf16 or dtype == tf.bfloat16:
        bits = tf.bitcast(tf.cast(values, tf.bfloat16), tf.int16)
        values = tf.cast(tf.bitcast(wire.gather(bits, "_values"), tf.bfloat16), dtype)
    else:
        values = wire.gather(values, "_values")
    indices = wire.gather(slices.indices, "_indices")
    return tf.IndexedSlices(values, indices, dense_shape=slices.dense_shape)
