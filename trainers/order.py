"""The order in which an epoch takes its rows: from (seed, epoch) alone, so alike for any number of workers.

An order has a length, and a slice of it gives row numbers; where there are too many rows for a permutation of all, it
is worked out as it is needed.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Order(Protocol):
    """Row numbers in their order; a NumPy array is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> np.ndarray: ...


def epoch_order(rows: int, *, seed: int, epoch: int) -> np.ndarray:
    """(rows,) int64: a permutation of the rows that depends on (seed, epoch) alone."""
    return np.random.default_rng((seed, epoch)).permutation(rows)


class FileOrder:
    """Rows as they are stored: 0, 1, 2, ..."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, part: slice) -> np.ndarray:
        return np.arange(*part.indices(self._rows))


class WindowedOrder:
    """A permutation that reads a disk in large pieces: shards in random order, and the rows of several shuffled.

    A window is as many shards, one after the other in their random order, as together have `window_rows` rows. Its
    rows are permuted; then comes the next window. So every row comes exactly once, and only the shards of one window
    are needed at a time.
    """

    def __init__(self, shard_rows: Sequence[int], *, window_rows: int, seed: int, epoch: int) -> None:
        """shard_rows: of each shard, in the order of the rows' numbers; none is 0."""
        counts = np.asarray(shard_rows, np.int64)
        self._first_rows, self._counts = np.cumsum(counts) - counts, counts
        self._draw = (seed, epoch)
        self._shards = np.random.default_rng(self._draw).permutation(len(counts))
        done = np.cumsum(counts[self._shards])
        # A window ends with the shard that fills it.
        window_of = (done - counts[self._shards]) // window_rows
        self._starts = np.flatnonzero(np.diff(window_of, prepend=-1))
        self._ends = done[np.append(self._starts[1:], len(counts)) - 1] if len(counts) else done
        self._kept: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, part: slice) -> np.ndarray:
        start, stop, _ = part.indices(len(self))
        pieces = [np.empty(0, np.int64)]
        while start < stop:
            window = int(np.searchsorted(self._ends, start, side="right"))
            rows = self._window(window)
            before = int(self._ends[window]) - len(rows)
            pieces.append(rows[start - before : stop - before])
            start = int(self._ends[window])
        return np.concatenate(pieces)

    def _window(self, number: int) -> np.ndarray:
        if self._kept is None or self._kept[0] != number:
            shards = self._shards[self._starts[number] :]
            if number + 1 < len(self._starts):
                shards = shards[: self._starts[number + 1] - self._starts[number]]
            rows = [self._first_rows[shard] + np.arange(self._counts[shard]) for shard in shards]
            # The first draw of (seed, epoch) orders the shards, so windows count from 1.
            draw = np.random.default_rng((*self._draw, number + 1))
            self._kept = number, draw.permutation(np.concatenate(rows))
        return self._kept[1]
