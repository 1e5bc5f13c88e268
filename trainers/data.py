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

from trainers.job import Split


def steps_per_epoch(rows: int, global_batch_rows: int) -> int:
    """Global batches that cover `rows`; the last one may be short."""
    return -(-rows // global_batch_rows)


def epoch_order(rows: int, *, seed: int, epoch: int) -> np.ndarray:
    """(rows,) int64: a permutation of the rows that depends on (seed, epoch) alone."""
    return np.random.default_rng((seed, epoch)).permutation(rows)


def rank_slice(batch_rows: int, *, rank: int, size: int) -> slice:
    """The part of a global batch that a rank computes; the first ranks take one row more where it does not divide."""
    share, extra = divmod(batch_rows, size)
    start = rank * share + min(rank, extra)
    return slice(start, start + share + (rank < extra))


def may_be_empty(rows: int, global_batch_rows: int, size: int) -> bool:
    """Whether some global batch has fewer rows than there are ranks."""
    return global_batch_rows < size or 0 < rows % global_batch_rows < size


def rank_batches(
    order: np.ndarray, global_batch_rows: int, *, rank: int, size: int
) -> Iterator[tuple[np.ndarray, float]]:
    """Yield (row numbers, share) per global batch.

    A rank with no row of a batch gets that batch's first row with share 0: it must step with the others.
    """
    for start in range(0, len(order), global_batch_rows):
        batch = order[start : start + global_batch_rows]
        mine = batch[rank_slice(len(batch), rank=rank, size=size)]
        share = size * len(mine) / len(batch)
        yield (mine if len(mine) else batch[:1]), share


def training_dataset(
    split: Split, *, global_batch_rows: int, rank: int, size: int, seed: int, first_epoch: int
) -> tf.data.Dataset:
    """Endless (x, y, share) batches in shuffled order, from `first_epoch` on.

    share: (local rows,) float32, one value repeated. Endless, because destroying a tf.data iterator at the end of an
    epoch would stall (see `_dataset`).
    """

    def batches() -> Iterator[Any]:
        epoch = first_epoch
        while True:
            order = epoch_order(len(split), seed=seed, epoch=epoch)
            yield from _take(split, order, global_batch_rows, rank, size)
            epoch += 1

    return _dataset(batches, split)


def evaluation_dataset(split: Split, *, global_batch_rows: int, rank: int, size: int) -> tf.data.Dataset:
    """(x, y, share) batches of one pass in file order, repeated for ever."""

    def batches() -> Iterator[Any]:
        while True:
            yield from _take(split, np.arange(len(split)), global_batch_rows, rank, size)

    return _dataset(batches, split)


def _take(split: Split, order: np.ndarray, global_batch_rows: int, rank: int, size: int) -> Iterator[Any]:
    for rows, share in rank_batches(order, global_batch_rows, rank=rank, size=size):
        part = split.take(rows)
        yield part.x, part.target, np.full(len(rows), share, np.float32)


def _dataset(batches: Any, split: Split) -> tf.data.Dataset:
    def rows_of(array: np.ndarray) -> tf.TensorSpec:
        return tf.TensorSpec((None, *array.shape[1:]), array.dtype)

    signature = (
        keras.tree.map_structure(rows_of, split.x),
        rows_of(split.target),
        tf.TensorSpec((None,), tf.float32),
    )
    options = tf.data.Options()
    # With autotune on, ending an iterator waits for the autotune thread's nap, which doubles up to seconds.
    options.autotune.enabled = False
    return tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(2).with_options(options)
