"""Preprocessed rows on disk, for data larger than memory: `ShardWriter` writes them, `StoredSplit` takes rows of them.

A shard is a `.npy` file of records, one per row, with every input, the target, the weight and the source row side by
side, so that a row is one piece of the disk. Shards are mapped, not read: the workers of a host share their pages.
"""

import mmap
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from configs.errors import DataError
from trainers.job import Split
from trainers.order import Order, WindowedOrder

WINDOW_BYTES = 128 * 2**20
"""Rows that are shuffled with each other, where the job does not say how many."""
SHARD_BYTES = WINDOW_BYTES // 256
"""A window takes so many pieces of the source from all over it: rows that are sorted by class are mixed too."""
TARGET, WEIGHT, SOURCE_ROW = "target", "weight", "source_row"
INPUT = "input:"


@dataclass(frozen=True)
class Shard:
    """A file of rows, seen from the folder of its split."""

    file: str
    rows: int


def record_type(split: Split) -> np.dtype:
    """The type of one row of a split."""
    return np.dtype([(name, array.dtype, array.shape[1:]) for name, array in _arrays(split).items()])


def records_of(split: Split) -> np.ndarray:
    """(rows,) records of `record_type`."""
    records = np.empty(len(split), record_type(split))
    for name, array in _arrays(split).items():
        records[name] = array
    return records


def _arrays(split: Split) -> dict[str, np.ndarray]:
    """What a record holds, by field."""
    arrays: dict[str, np.ndarray] = {INPUT + name: array for name, array in split.inputs.items()}
    arrays[TARGET] = split.target
    if split.weight is not None:
        arrays[WEIGHT] = split.weight
    if split.source_rows is not None:
        arrays[SOURCE_ROW] = split.source_rows
    return arrays


def split_of(records: np.ndarray, deferred: Mapping[str, Any]) -> Split:
    """Records of any number of axes -> their arrays."""
    arrays = {name: np.ascontiguousarray(records[name]) for name in records.dtype.names or ()}
    inputs = {name.removeprefix(INPUT): array for name, array in arrays.items() if name.startswith(INPUT)}
    return Split(inputs, arrays[TARGET], arrays.get(WEIGHT), arrays.get(SOURCE_ROW), deferred)


def window_rows(row_bytes: int, given: int | None) -> int:
    """How many rows are shuffled with each other: as the job says, or as many as take WINDOW_BYTES."""
    return given or max(1, WINDOW_BYTES // row_bytes)


class ShardWriter:
    """Writes rows as they come, in shards of about SHARD_BYTES."""

    def __init__(self, folder: Path, prefix: str) -> None:
        """prefix: begins the names of the files, which sort by it."""
        self._folder, self._prefix = folder, prefix
        self._waiting: list[np.ndarray] = []
        self.shards: list[Shard] = []

    def add(self, split: Split) -> None:
        """Raises OSError where the disk is full."""
        self._waiting.append(records_of(split))
        for records in self._full_shards():
            self._write(records)

    def close(self) -> None:
        """Write what is left."""
        if sum(map(len, self._waiting)):
            self._write(np.concatenate(self._waiting))
        self._waiting = []

    def _full_shards(self) -> Iterator[np.ndarray]:
        rows = max(1, SHARD_BYTES // self._waiting[0].dtype.itemsize)
        if sum(map(len, self._waiting)) < rows:
            return
        records = np.concatenate(self._waiting)
        full = len(records) // rows * rows
        self._waiting = [records[full:].copy()]
        yield from np.split(records[:full], range(rows, full, rows))

    def _write(self, records: np.ndarray) -> None:
        name = f"{self._prefix}-{len(self.shards):05}.npy"
        self._folder.mkdir(parents=True, exist_ok=True)
        np.save(self._folder / name, records)
        self.shards.append(Shard(name, len(records)))


@dataclass(frozen=True)
class StoredSplit:
    """Rows on disk, in the order of the source; see `Rows`. Can be pickled, and read by several processes.

    shuffle_rows: about how many rows are shuffled with each other; None for as many as take WINDOW_BYTES.
    """

    folder: Path
    shards: tuple[Shard, ...]
    deferred: Mapping[str, Any] = field(default_factory=dict)
    shuffle_rows: int | None = None

    def __len__(self) -> int:
        return sum(shard.rows for shard in self.shards)

    def take(self, rows: np.ndarray | slice) -> Split:
        """Raises DataError where this host does not see the folder."""
        return self._files.take(rows).take(slice(None))

    def order(self, *, seed: int, epoch: int) -> Order:
        """All rows, shuffled within windows; see `WindowedOrder`."""
        counts = [shard.rows for shard in self.shards]
        return WindowedOrder(counts, window_rows=self.window_rows, seed=seed, epoch=epoch)

    @property
    def nbytes(self) -> int:
        """None in memory."""
        return 0

    @property
    def row_bytes(self) -> int:
        """Of a row on disk."""
        return self._files.dtype.itemsize

    @property
    def window_rows(self) -> int:
        """About how many rows are shuffled with each other."""
        return window_rows(self.row_bytes, self.shuffle_rows)

    @property
    def _files(self) -> "_MappedShards":
        if "_mapped" not in self.__dict__:
            object.__setattr__(self, "_mapped", _MappedShards(self))
        return self.__dict__["_mapped"]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_mapped"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


class _MappedShards:
    """The files of a split in this process; those that were not used for long are let go."""

    def __init__(self, split: StoredSplit) -> None:
        self._split = split
        counts = np.array([shard.rows for shard in split.shards], np.int64)
        self._ends = np.cumsum(counts)
        self._mapped: OrderedDict[int, np.ndarray] = OrderedDict()
        self._rows = 0
        self._one_at_a_time = Lock()  # the thread that prepares batches, and an error that names rows
        self.dtype = self._map(0).dtype

    def take(self, rows: np.ndarray | slice) -> Split:
        """The rows as they are stored."""
        numbers = np.arange(*rows.indices(int(self._ends[-1]))) if isinstance(rows, slice) else rows
        flat = numbers.reshape(-1)
        shards = np.searchsorted(self._ends, flat, side="right")
        taken = np.empty(len(flat), self.dtype)
        with self._one_at_a_time:
            for shard in np.unique(shards):
                here = shards == shard
                first = self._ends[shard] - self._split.shards[shard].rows
                taken[here] = self._map(int(shard))[flat[here] - first]
        return split_of(taken.reshape(numbers.shape), self._split.deferred)

    def _map(self, number: int) -> np.ndarray:
        if number in self._mapped:
            self._mapped.move_to_end(number)
            return self._mapped[number]
        shard = self._split.shards[number]
        path = self._split.folder / shard.file
        try:
            mapped = np.load(path, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise DataError(
                f"rows that were stored for streaming cannot be read on this host: {path}: {error}. With workers on "
                "several hosts, name a `folder` on a disk that all of them see"
            ) from error
        mapped._mmap.madvise(mmap.MADV_WILLNEED)  # a window needs all of it soon
        self._mapped[number] = np.asarray(mapped)
        self._rows += shard.rows
        self._let_go()
        return self._mapped[number]

    def _let_go(self) -> None:
        """A batch may stand in two windows, and a window is larger than asked for by a part of a shard."""
        if len(self._mapped) == 1:
            return
        limit = 2 * self._split.window_rows
        while self._rows > limit and len(self._mapped) > 1:
            number, _ = self._mapped.popitem(last=False)
            self._rows -= self._split.shards[number].rows
