"""A list of gradients in, the same list reduced over the ranks out: the seam between Keras and
Horovod.

Dense gradients of one dtype are joined into one flat buffer, so that a step pays for one
negotiation and one ring pass instead of one per variable. Inside: TensorFlow tensors only. Knows
nothing about optimizers or models; another Keras backend would get its own function of this
signature.
"""

from collections.abc import Sequence
from typing import Any

import horovod.tensorflow as horovod
import tensorflow as tf

from configs.errors import SpecError
from trainers.hvd.adasum import adasum_rows
from trainers.hvd.settings import Compression, Op, ReductionSettings

BUCKET_BYTES = 32 * 2**20
"""A bucket is closed at this size: the flat copy of a large model stays small, and what the
backward pass has
finished travels while it goes on."""


def reduce_gradients(
    gradients: Sequence[Any],
    variables: Sequence[Any],
    settings: ReductionSettings,
    *,
    share: Any = None,
    name: str = "gradients",
) -> list[Any]:
    """Return `gradients` reduced over the ranks of `settings.process_set`, in order; None stays
    None.

    gradients: dense tensors and IndexedSlices. share: a float32 scalar that multiplies this rank's
        gradients before
    the reduction. Returns the input unchanged on ranks outside the process set and where there is
    but one rank.
    """
    ranks = settings.process_set or horovod.global_process_set
    if not ranks.included() or ranks.size() == 1:
        return list(gradients)
    reduced = list(gradients)
    if settings.sparse_as_dense:
        reduced = [tf.convert_to_tensor(g) if isinstance(g, tf.IndexedSlices) else g for g in reduced]
    dense = [i for i, g in enumerate(reduced) if g is not None and not isinstance(g, tf.IndexedSlices)]
    sparse = [i for i, g in enumerate(reduced) if isinstance(g, tf.IndexedSlices)]
    # Names hold positions only: ranks with other dtypes or shapes then meet under one name, and
    # Horovod says what differs, instead of both waiting for a partner.
    for number, bucket in enumerate(_buckets(dense, reduced, variables, settings.groups)):
        parts = [reduced[i] for i in bucket]
        values = _reduce_bucket(parts, settings, ranks, share, f"{name}_{number}")
        for i, value in zip(bucket, values, strict=True):
            reduced[i] = value
    for i in sparse:
        reduced[i] = _reduce_slices(reduced[i], settings, ranks, share, f"{name}_sparse_{i}")
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


def _reduce_bucket(parts: list[Any], settings: ReductionSettings, ranks: Any, share: Any, name: str) -> list[Any]:
    """Return the tensors of one bucket, all of one dtype, after one trip around the ring."""
    sizes = [part.shape.num_elements() for part in parts]
    flat = tf.concat([tf.reshape(part, (-1,)) for part in parts], 0) if len(parts) > 1 else tf.reshape(parts[0], (-1,))
    if share is not None:
        # A rank without rows has share 0, and whatever stands in its gradients must not count.
        flat = tf.math.multiply_no_nan(flat, tf.cast(share, flat.dtype))
    if settings.op == Op.adasum:
        rows = tf.reshape(_gather(flat, ranks, name), (ranks.size(), -1))
        values = [adasum_rows(rows_of_one) for rows_of_one in tf.split(rows, sizes, 1)]
    else:
        values = tf.split(_sum_flat(flat, settings, ranks, name), sizes)
    return [tf.reshape(value, part.shape) for value, part in zip(values, parts, strict=True)]


def _sum_flat(flat: Any, settings: ReductionSettings, ranks: Any, name: str) -> Any:
    """Return the sum (or average) of one flat buffer over the ranks, in the buffer's dtype."""
    dtype, divide = flat.dtype, settings.op == Op.average
    predivide = settings.gradient_predivide_factor
    if predivide != 1.0:
        flat /= predivide
    if settings.compression == Compression.bf16 or dtype == tf.bfloat16:
        summed = _sum_as_bfloat16(flat, ranks, name)
    elif settings.compression == Compression.fp16 and dtype.is_floating:
        summed = tf.cast(_allreduce(tf.cast(flat, tf.float16), ranks, name), dtype)
    elif divide and predivide == 1.0:
        return _allreduce(flat, ranks, name, horovod.Average)
    else:
        summed = _allreduce(flat, ranks, name)
    if divide:
        summed *= tf.cast(predivide / ranks.size(), summed.dtype)
    return tf.cast(summed, dtype)


def _sum_as_bfloat16(flat: Any, ranks: Any, name: str) -> Any:
    """Return the sum of `flat` as float32, its values having travelled as bfloat16.

    Horovod has no bfloat16 reduction: every rank collects one slice of all ranks' values, adds
    them up in float32, and hands its slice round. The bytes on the wire are those of a ring
    allreduce of 16-bit numbers.
    """
    count, ring = flat.shape.num_elements(), ranks.size()
    padded = tf.pad(tf.cast(flat, tf.bfloat16), [[0, -count % ring]])
    bits = tf.bitcast(padded, tf.int16)
    mine = horovod.alltoall(bits, name=f"{name}_slices", ignore_name_scope=True, process_set=ranks)
    slices = tf.reshape(tf.cast(tf.bitcast(mine, tf.bfloat16), tf.float32), (ring, -1))
    total = tf.bitcast(tf.cast(tf.reduce_sum(slices, 0), tf.bfloat16), tf.int16)
    whole = tf.bitcast(_gather(total, ranks, f"{name}_sums"), tf.bfloat16)
    return tf.ensure_shape(tf.cast(whole, tf.float32)[:count], (count,))


def _reduce_slices(slices: Any, settings: ReductionSettings, ranks: Any, share: Any, name: str) -> Any:
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
        values /= tf.cast(ranks.size(), dtype)
    if settings.compression == Compression.fp16:
        values = tf.cast(_gather(tf.cast(values, tf.float16), ranks, f"{name}_values"), dtype)
    elif settings.compression == Compression.bf16 or dtype == tf.bfloat16:
        bits = tf.bitcast(tf.cast(values, tf.bfloat16), tf.int16)
        values = tf.cast(tf.bitcast(_gather(bits, ranks, f"{name}_values"), tf.bfloat16), dtype)
    else:
        values = _gather(values, ranks, f"{name}_values")
    indices = _gather(slices.indices, ranks, f"{name}_indices")
    return tf.IndexedSlices(values, indices, dense_shape=slices.dense_shape)


def _allreduce(flat: Any, ranks: Any, name: str, op: Any = horovod.Sum) -> Any:
    return horovod.allreduce(flat, op=op, name=name, process_set=ranks, ignore_name_scope=True)


def _gather(tensor: Any, ranks: Any, name: str) -> Any:
    return horovod.allgather(tensor, name=name, process_set=ranks, ignore_name_scope=True)
