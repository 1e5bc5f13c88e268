"""A rank's part of every global batch: each row exactly once per epoch, the same steps on every rank.

The order of an epoch depends on (seed, epoch) alone, so 1 and N workers see the same global batches. A rank takes a
contiguous slice of each; slices differ by at most one row, and no row is padded in, so that Keras counts real rows
only. `share` is what makes the average over ranks of the local mean gradients equal the mean over the joined batch:
with m of the R rows on this rank of n, share = n * m / R. Knows nothing about Horovod.
"""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainers.augment import Augmentation, Change
from trainers.job import Rows
from trainers.order import FileOrder, Order

CHUNK_BYTES = 4 * 2**20
CHUNK_STEPS = 64
"""Batches go from Python to TensorFlow in chunks of at most so many bytes and steps: a crossing costs 0.7 ms, as much
as a tenth of a small model's step, whatever it carries."""


def steps_per_epoch(rows: int, global_batch_rows: int) -> int:
    """Global batches that cover `rows`; the last one may be short."""
    return -(-rows // global_batch_rows)


def rank_slice(batch_rows: int, *, rank: int, size: int) -> slice:
    """The part of a global batch that a rank computes; the first ranks take one row more where it does not divide."""
    share, extra = divmod(batch_rows, size)
    start = rank * share + min(rank, extra)
    return slice(start, start + share + (rank < extra))


def may_be_empty(rows: int, global_batch_rows: int, size: int) -> bool:
    """Whether some global batch has fewer rows than there are ranks."""
    return global_batch_rows < size or 0 < rows % global_batch_rows < size


def rank_chunks(
    order: Order, global_batch_rows: int, *, rank: int, size: int, first_step: int = 0, steps: int = CHUNK_STEPS
) -> Iterator[tuple[np.ndarray, float]]:
    """Yield (row numbers, share) for up to `steps` global batches at a time; row numbers: (steps, local rows).

    A rank with no row of a batch gets that batch's first row with share 0: it must step with the others. A short last
    batch is a chunk of its own.
    """
    for chunk in _global_chunks(order, global_batch_rows, first_step, steps):
        rows = chunk.shape[1]
        mine = chunk[:, rank_slice(rows, rank=rank, size=size)]
        yield (mine if mine.shape[1] else chunk[:, :1]), size * mine.shape[1] / rows


def _global_chunks(order: Order, batch: int, first_step: int, steps: int) -> Iterator[np.ndarray]:
    """(steps, rows of a global batch) of row numbers."""
    full = len(order) // batch
    for start in range(first_step, full, steps):
        stop = min(start + steps, full)
        yield order[start * batch : stop * batch].reshape(stop - start, batch)
    rest = order[max(full, first_step) * batch :]
    if len(rest):
        yield rest[np.newaxis]


def rank_batches(
    order: Order, global_batch_rows: int, *, rank: int, size: int, first_step: int = 0
) -> Iterator[tuple[np.ndarray, float]]:
    """Yield (row numbers, share) per global batch, from `first_step` on; see `rank_chunks`."""
    for rows, share in rank_chunks(order, global_batch_rows, rank=rank, size=size, first_step=first_step):
        yield from ((row, share) for row in rows)


def batch_rows(  # noqa: PLR0913 - a shard and a position in the run
    split: Rows, *, global_batch_rows: int, seed: int, epoch: int, step: int, rank: int, size: int
) -> np.ndarray:
    """Numbers, from 1, of the rows of one training batch of one rank: in the source where known, else in the split."""
    order = split.order(seed=seed, epoch=epoch)
    rows, _ = next(rank_batches(order, global_batch_rows, rank=rank, size=size, first_step=step))
    numbers = split.take(rows).source_rows
    return rows + 1 if numbers is None else numbers


def training_dataset(  # noqa: PLR0913 - a shard and a position in the run
    split: Rows,
    *,
    global_batch_rows: int,
    rank: int,
    size: int,
    seed: int,
    first_epoch: int,
    first_step: int = 0,
    augmentation: Augmentation | None = None,
) -> tf.data.Dataset:
    """Endless (x, y[, weight], share) batches in shuffled order, from a step of `first_epoch` on.

    weight and share: (local rows,) float32; the share is one value repeated. Endless, because destroying a tf.data
    iterator at the end of an epoch would stall (see `_dataset`).
    """

    def chunks() -> Iterator[Any]:
        epoch, step = first_epoch, first_step
        while True:
            order = split.order(seed=seed, epoch=epoch)
            change = augmentation.of_epoch(epoch) if augmentation else None
            yield from _take(split, order, global_batch_rows, change, rank=rank, size=size, first_step=step)
            epoch, step = epoch + 1, 0

    return _dataset(chunks, split)


def evaluation_dataset(split: Rows, *, global_batch_rows: int, rank: int, size: int) -> tf.data.Dataset:
    """(x, y[, weight], share) batches of one pass in file order, repeated for ever."""

    def chunks() -> Iterator[Any]:
        while True:
            yield from _take(split, FileOrder(len(split)), global_batch_rows, rank=rank, size=size)

    return _dataset(chunks, split)


def _take(
    split: Rows, order: Order, global_batch_rows: int, change: Change | None = None, **shard: int
) -> Iterator[Any]:
    """(x, y[, weight], share) of several batches at a time, each with axes (steps, local rows, ...)."""
    local_rows = -(-global_batch_rows // shard["size"])
    steps = min(CHUNK_STEPS, max(1, CHUNK_BYTES // max(1, split.take(slice(0, 1)).nbytes * local_rows)))
    for rows, share in rank_chunks(order, global_batch_rows, **shard, steps=steps):
        part = split.take(rows)
        if change is not None:
            part = change(part, rows)
        weight = () if part.weight is None else (part.weight,)
        yield part.x, part.target, *weight, np.full(rows.shape, share, np.float32)


def _dataset(chunks: Any, split: Rows) -> tf.data.Dataset:
    def rows_of(array: np.ndarray) -> tf.TensorSpec:
        return tf.TensorSpec((None, None, *array.shape[1:]), array.dtype)

    numbers, like = tf.TensorSpec((None, None), tf.float32), split.take(slice(0, 1))
    weight = () if like.weight is None else (numbers,)
    signature = (keras.tree.map_structure(rows_of, like.x), rows_of(like.target), *weight, numbers)
    options = tf.data.Options()
    # With autotune on, ending an iterator waits for the autotune thread's nap, which doubles up to seconds.
    options.autotune.enabled = False
    dataset = tf.data.Dataset.from_generator(chunks, output_signature=signature).prefetch(1)
    one_by_one = dataset.flat_map(lambda *chunk: tf.data.Dataset.from_tensor_slices(chunk))
    return one_by_one.prefetch(2).with_options(options)
