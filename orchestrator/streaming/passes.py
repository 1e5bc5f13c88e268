"""What is done to one piece in each pass: count its rows, learn from its training rows, store its rows.

Each is a function of one argument that runs in a task of its own. A pass reads the piece again and leaves out the same
rows, so that little has to be handed from one to the next.
"""

import errno
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from configs.data import DataSpec
from configs.errors import DataError
from configs.preprocessing import BadValue, Fitter, Preprocessing, as_numbers, plain_columns, text_codes, with_target
from configs.train import TrainSpec
from orchestrator.cleaning import SHOWN, UNKNOWN_LABEL, Dropped, comparable, sift, together
from orchestrator.report import ROW_KEYS, row_keys, row_sums
from orchestrator.sources import BadRows, blocks_of
from orchestrator.sources.blocks import Block, Notes
from orchestrator.splits import SHARES, Dealer, strata
from orchestrator.streaming.pieces import Piece
from orchestrator.time_splits import joined_times, needs_all_times, row_times, span_of
from orchestrator.weights import class_weights, row_weights
from trainers.job import TRAIN, Split
from trainers.stored import Shard, ShardWriter

FULL = {errno.ENOSPC, errno.EDQUOT, None}
"""Of a disk that is full. NumPy says only how many bytes it wrote where it happens in the middle of an array."""


@dataclass(frozen=True)
class Rows:
    """Rows of a block that are left, as `plain_columns` gives them.

    numbers: of each row in its piece, from 0; the first of the block has `first`.
    """

    columns: dict[str, np.ndarray]
    numbers: np.ndarray
    block: Block
    first: int

    def __len__(self) -> int:
        return len(self.numbers)

    def select(self, kept: np.ndarray) -> "Rows":
        """Some of the rows, by a mask."""
        columns = {name: column[kept] for name, column in self.columns.items()}
        return replace(self, columns=columns, numbers=self.numbers[kept])

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Let an error about a value name the file and the row in it."""
        try:
            yield
        except BadValue as error:
            file, row = self.block.place(int(self.numbers[error.row - 1]) - self.first)
            raise error.at(row - error.row + 1, file) from None


class PieceReader:
    """Reads a piece block by block, and counts what it leaves out. Raises DataError naming file and row."""

    def __init__(self, piece: Piece, data: DataSpec) -> None:
        """data: without features of kind auto."""
        self._piece, self._data = piece, data
        self.notes = Notes()
        self.bad = BadRows(data.bad_rows == "skip")
        self.dropped: list[Dropped] = []
        self.read = 0

    def __iter__(self) -> Iterator[Rows]:
        reading = replace(self._piece.reading(self._data, self.bad), notes=self.notes)
        for block in blocks_of(self._piece.found, reading):
            left = sift(with_target(block.columns, self._data.target), self._data)
            first = self.read
            for one in left.dropped:
                self.dropped.append(replace(one, examples=tuple(row + first for row in one.examples)))
            rows = Rows(left.columns, left.source_rows + first, replace(block, columns={}), first)
            with rows.naming():
                columns = plain_columns(left.columns, self._data)
                for name in self._piece.numbers:
                    columns[name] = as_numbers(name, columns[name], self._data.read)
            yield replace(rows, columns=columns)
            self.read += len(block)


@dataclass(frozen=True)
class Counted:
    """What the first pass finds in a piece.

    rows: that were read; left: of them, those that are not left out.
    labels, codes: of each row, labels[codes], for a split by class; times: (left,) for one by time, or the first
    and the last ones of blocks where dates alone cut.
    keys: (left, 2) hashes, equal for equal rows, where repeated rows are to be dropped; numbers: of these rows in
    the piece, from 0.
    """

    rows: int
    left: int
    dropped: tuple[Dropped, ...]
    bad: BadRows
    labels: tuple[str, ...] = ()
    codes: np.ndarray | None = None
    times: np.ndarray | None = None
    keys: np.ndarray | None = None
    numbers: np.ndarray | None = None

    def classes(self, repeated: np.ndarray | None) -> dict[str, int]:
        """How many rows each label has, without those that are repeated."""
        if self.codes is None:
            return {}
        codes = self.codes if repeated is None else self.codes[~repeated]
        return dict(zip(self.labels, np.bincount(codes, minlength=len(self.labels)).tolist(), strict=True))


@dataclass(frozen=True)
class Count:
    """The first pass over a piece."""

    piece: Piece
    data: DataSpec


def count(task: Count) -> Counted:
    """How many rows there are, and what the split has to know of all pieces before it deals the rows of one."""
    data, split = task.data, task.data.split
    reader = PieceReader(task.piece, _only_needed(data))
    left, labels = 0, dict[str, int]()
    codes: list[np.ndarray] = []
    times: list[np.ndarray] = []
    keys: list[np.ndarray] = []
    numbers: list[np.ndarray] = []
    for rows in reader:
        left += len(rows)
        if split.by == "stratified":
            places, texts = text_codes(data.target.column, strata(rows.columns[data.target.column]))
            code_of = np.array([labels.setdefault(text or "", len(labels)) for text in texts], np.int32)
            codes.append(code_of[places])
        if split.by == "time" and split.column is not None and task.piece.part == TRAIN:
            with rows.naming():
                found = row_times(rows.columns, split, len(rows), data.formats_of(split.column))
            times.append(found if needs_all_times(split) else span_of(found))
        if data.drop_duplicates:
            with rows.naming():
                used = list(comparable(rows.columns, data).values())
            numbers.append(rows.numbers)
            keys.append(np.stack([row_keys(used, key) for key in ROW_KEYS], axis=1))
    return Counted(
        reader.read,
        left,
        tuple(reader.dropped),
        reader.bad,
        tuple(labels),
        np.concatenate(codes) if codes else None,
        joined_times(times, split) if times else None,
        *(np.concatenate(some) if some else None for some in (keys, numbers)),
    )


def _only_needed(data: DataSpec) -> DataSpec:
    """Without the columns that say nothing about how many rows there are and how they are split."""
    if data.bad_rows == "skip" or data.drop_duplicates:
        return data
    return data.model_copy(update={"features": {}, "id": None, "sample_weight": None})


@dataclass(frozen=True)
class Deal:
    """How the rows of a piece are dealt to the parts.

    rows, classes, shares: as `Dealer` takes them. repeated: (left,) whether an equal row stands before, or None.
    first_row: rows of the source before the piece.
    """

    piece: Piece
    data: DataSpec
    first_row: int = 0
    rows: int = 0
    classes: Mapping[str, int] = field(default_factory=dict)
    shares: np.ndarray | None = None
    repeated: np.ndarray | None = None


def dealt(deal: Deal, notes: Notes | None = None) -> Iterator[tuple[Rows, np.ndarray]]:
    """The rows of a piece block by block, and of each row the place of its part in SHARES.

    notes: is told what was done to pictures.
    """
    formats = deal.data.formats_of(deal.data.split.column)
    dealer = Dealer(deal.data.split, rows=deal.rows, classes=deal.classes, shares=deal.shares, formats=formats)
    repeated = deal.repeated
    reader = PieceReader(deal.piece, deal.data)
    reader.notes = reader.notes if notes is None else notes
    for rows in reader:
        if repeated is not None:
            here, repeated = repeated[: len(rows)], repeated[len(rows) :]
            rows = rows.select(~here)
        if deal.piece.part != TRAIN:
            yield rows, np.full(len(rows), SHARES.index(deal.piece.part), np.int8)
            continue
        with rows.naming():
            yield rows, dealer.deal(rows.columns, rows.columns[deal.data.target.column])


@dataclass(frozen=True)
class Learn:
    """The second pass over a piece: its training rows teach a fitter."""

    deal: Deal
    fitter: Fitter


def learn(task: Learn) -> tuple[Fitter, Counter[str]]:
    """The fitter, and how many rows each part has."""
    found: Counter[str] = Counter()
    for rows, shares in dealt(task.deal):
        training = rows.select(shares == SHARES.index(TRAIN))
        if len(training):
            with training.naming():
                task.fitter.update(training.columns)
        found.update({name: int(np.count_nonzero(shares == share)) for share, name in enumerate(SHARES)})
    return task.fitter, found


@dataclass(frozen=True)
class Sample:
    """Some raw rows, for the data report and for tests of what is served."""

    columns: dict[str, np.ndarray]
    labels: np.ndarray
    shares: np.ndarray
    source_rows: np.ndarray


@dataclass(frozen=True)
class Store:
    """The third pass over a piece: its rows as the model sees them go to disk.

    number: of the piece. every: one row of so many goes into the sample. later: inputs that stay bytes.
    """

    deal: Deal
    number: int
    preprocessing: Preprocessing
    train: TrainSpec
    folder: Path
    every: int
    later: tuple[str, ...] = ()


@dataclass(frozen=True)
class StoredPiece:
    """The shards of each part, what the weights add up to, what was left out, a sample, the `row_sums`, and what was
    done to pictures."""

    shards: Mapping[str, tuple[Shard, ...]]
    weight: float
    dropped: tuple[Dropped, ...]
    sample: list[Sample]
    content: np.ndarray
    notes: Notes


def store(task: Store) -> StoredPiece:
    """Write the rows of a piece. Raises DataError where the disk is full."""
    writers = {part: ShardWriter(task.folder / part, f"{task.number:06}") for part in SHARES}
    sample: list[Sample] = []
    dropped: list[Dropped] = []
    shown: set[int] = set()
    notes = Notes()
    content, weight = np.zeros(2, np.uint64), 0.0
    try:
        for some, their_shares in dealt(task.deal, notes):
            rows, shares = _with_known_labels(some, their_shares, task, dropped)
            if not len(rows):
                continue
            split = preprocessed(rows, task.deal, task.preprocessing)
            _require_alike(split, rows, task)
            weight += 0.0 if split.weight is None else float(split.weight.sum())
            for share, name in enumerate(SHARES):
                if (shares == share).any():
                    writers[name].add(_weighed(split.select(shares == share), name, task))
            sample.append(_sample(rows, shares, task, shown))
            content = content + row_sums(*_raw(rows, task), rows.numbers + task.deal.first_row)
        for writer in writers.values():
            writer.close()
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise DataError(
            f"no space is left in {task.folder}, where streaming keeps the preprocessed rows; give a folder on a "
            "larger disk with folder=PATH"
        ) from error
    shards = {name: tuple(writer.shards) for name, writer in writers.items()}
    return StoredPiece(shards, weight, together([dropped]), sample, content, notes)


def _raw(rows: Rows, task: Store) -> tuple[dict[str, np.ndarray], np.ndarray]:
    data = task.deal.data
    return {name: rows.columns[name] for name in data.features}, rows.columns[data.target.column]


def _sample(rows: Rows, shares: np.ndarray, task: Store, shown: set[int]) -> Sample:
    """One row of every so many, and the first of each part in the piece. shown: parts that had theirs."""
    numbers = rows.numbers + task.deal.first_row
    chosen = numbers % task.every == 0
    for share in set(shares.tolist()) - shown:
        chosen[np.argmax(shares == share)] = True
        shown.add(share)
    columns, labels = _raw(rows, task)
    columns = {name: column[chosen] for name, column in columns.items()}
    return Sample(columns, labels[chosen], shares[chosen], numbers[chosen])


def preprocessed(rows: Rows, deal: Deal, preprocessing: Preprocessing) -> Split:
    """Rows as the model sees them, images of bytes aside, which stay so until they are taken."""
    with rows.naming():
        inputs, later = preprocessing.transform_most(rows.columns)
        target = preprocessing.target.encode(rows.columns[deal.data.target.column])
        weight = row_weights(rows.columns, deal.data)
    return Split(inputs, target, weight, rows.numbers + deal.first_row + 1, later)


def _weighed(split: Split, part: str, task: Store) -> Split:
    """In training a row also counts as its class does."""
    by_class = class_weights(split.target, task.train, task.preprocessing.target) if part == TRAIN else None
    if by_class is None:
        return split
    return replace(split, weight=by_class * (1.0 if split.weight is None else split.weight))


def _require_alike(split: Split, rows: Rows, task: Store) -> None:
    """All shards have records of one type."""
    odd = set(split.deferred).symmetric_difference(task.later)
    if odd:
        raise DataError(
            f"column {min(odd)!r} holds bytes (uint8) in some files and other numbers in others, such as "
            f"{rows.block.file}; make them equal"
        )


def _with_known_labels(rows: Rows, shares: np.ndarray, task: Store, dropped: list[Dropped]) -> tuple[Rows, np.ndarray]:
    """Where bad rows are left out, without those whose label training never showed."""
    data, target = task.deal.data, task.preprocessing.target
    if data.bad_rows != "skip":
        return rows, shares
    known = target.knows(rows.columns[data.target.column])
    numbers = rows.numbers[~known][:SHOWN] + task.deal.first_row + 1
    if len(numbers):
        dropped.append(Dropped(UNKNOWN_LABEL, int((~known).sum()), tuple(numbers.tolist())))
    return rows.select(known), shares[known]
