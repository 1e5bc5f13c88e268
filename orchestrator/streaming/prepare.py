"""`JobSpec` -> the same `Prepared` as in memory, with rows on disk.

Three passes over the pieces: count (how many rows there are, which the split needs to know), learn (the preprocessing,
from the training rows), store. Which rows train, what is learned from them and what the model sees is as in memory.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
import pandas as pd

from configs.data import DataSpec
from configs.errors import DataError
from configs.job import JobSpec
from configs.preprocessing import Fitter, Preprocessing, as_numbers, infer, with_target
from configs.preprocessing.inference import SAMPLE_ROWS as INFERRED_ROWS
from configs.rules import ValueRules
from orchestrator.cleaning import REPEATED, SHOWN, Dropped, require_some, together, told
from orchestrator.datasets import GOLDEN_ROWS, Prepared, inference_warnings, inferred_kinds, json_rows
from orchestrator.loading import Loading
from orchestrator.memory import size_shown, wide_columns
from orchestrator.report import Facts
from orchestrator.sources import BadRows, blocks_of, joined_blocks
from orchestrator.sources.blocks import Block, Notes, column_kinds
from orchestrator.sources.columns import files_told
from orchestrator.sources.images import image_size
from orchestrator.splits import SHARES, asked_of, parts_of, require_rows
from orchestrator.streaming.passes import (
    Count,
    Counted,
    Deal,
    Learn,
    Sample,
    Store,
    StoredPiece,
    count,
    dealt,
    learn,
    preprocessed,
    store,
)
from orchestrator.streaming.pieces import Piece, pieces_of
from orchestrator.streaming.tasks import Run
from orchestrator.targets import check_metrics, check_target, resolved
from orchestrator.time_splits import joined_times, needs_all_times, require_cuts_fit, shares_of_times
from orchestrator.weights import class_weights, require_some_weight
from trainers.job import TRAIN, VALID, Split
from trainers.stored import StoredSplit, record_type, window_rows

SAMPLE_ROWS = 50_000
SAMPLE_BYTES = 64 * 2**20
"""How much of the rows the data report is made from."""
Note = Callable[[str], None]


@dataclass(frozen=True)
class Known:
    """What two passes teach: enough to plan the job, and to store its rows.

    rows: of each part. like: a few preprocessed rows, as all are stored.
    """

    data: DataSpec
    preprocessing: Preprocessing
    deals: list[Deal]
    counted: list[Counted]
    rows: Mapping[str, int]
    like: Split
    inferred: str
    warnings: tuple[str, ...] = ()

    @property
    def disk_bytes(self) -> int:
        """What the rows will take."""
        return sum(self.rows.values()) * record_type(self.like).itemsize

    @property
    def window_bytes(self) -> int:
        """What a worker maps at a time, two windows of rows that are shuffled with each other."""
        row_bytes = record_type(self.like).itemsize
        return min(self.rows[TRAIN], 2 * window_rows(row_bytes, self.data.shuffle_rows)) * row_bytes


def survey(spec: JobSpec, loading: Loading, run: Run, note: Note) -> Known:
    """Count the rows and learn from those that train. Raises DataError or SpecError."""
    pieces = pieces_of(loading.files)
    size = sum(file.size for piece in pieces for file in piece.found.files)
    note(f"streaming {size_shown(size)} in {len(pieces)} piece(s): counting rows")
    meant, told_target = _with_target(spec, pieces)
    data, pieces, inferred, warnings = _with_kinds(meant, pieces)
    inferred = "; ".join(filter(None, [told_target, inferred]))
    data = data.model_copy(update={"split": asked_of(data.split, [name for name in loading.files if name != TRAIN])})
    counted = list(run(count, (Count(piece, data) for piece in pieces)))
    _require_rows_read(loading, pieces, counted)
    read = sum(each.rows for each in counted)
    require_some(sum(each.left for each in counted), read, _dropped(counted, []))
    times = joined_times([each.times for each in counted if each.times is not None], data.split)
    require_cuts_fit(times, data.split, data.formats_of(data.split.column))
    note(f"learning from {read:,} rows")
    deals = _deals(pieces, data, counted)
    # Learned apart, then merged in the order of the pieces: the same on any number of hosts.
    fitter, rows, trains = Fitter(data, rows=read), Counter[str](), 0
    for number, (learned, found) in enumerate(run(learn, (Learn(deal, Fitter(data, rows=read)) for deal in deals))):
        fitter.merge(learned)
        trains = number if found[TRAIN] and not rows[TRAIN] else trains
        rows += found
    parts = [*parts_of(data.split), *(name for name in loading.files if name != TRAIN)]
    counts = {name: rows[name] for name in SHARES if name in parts}
    require_rows(counts, data.split)
    preprocessing = fitter.finish()
    check_target(spec.train.loss, preprocessing.target, data.target.column)
    check_metrics(spec.train, preprocessing.target, data.target.column)
    class_weights(np.empty(0, np.int64), spec.train, preprocessing.target)
    return Known(
        data, preprocessing, deals, counted, counts, _first_rows(deals[trains], preprocessing), inferred, warnings
    )


def _first_rows(deal: Deal, preprocessing: Preprocessing) -> Split:
    """A few training rows of a piece that has some."""
    rows = next(rows for some, shares in dealt(deal) if len(rows := some.select(shares == SHARES.index(TRAIN))))
    return preprocessed(rows.select(np.arange(len(rows)) < GOLDEN_ROWS), deal, preprocessing)


def _require_rows_read(loading: Loading, pieces: list[Piece], counted: list[Counted]) -> None:
    """Raise DataError naming the part whose files have no row."""
    for part, found in loading.files.items():
        rows = sum(each.rows for piece, each in zip(pieces, counted, strict=True) if piece.part == part)
        if not rows:
            raise DataError(f"{found.files[0].name} has no rows; a job needs at least a few to train on")


@contextmanager
def streamed(spec: JobSpec, loading: Loading, run: Run, folder: Path, note: Note) -> Iterator[Prepared]:
    """The rows of a job, stored in a folder that is removed afterwards. Raises DataError or SpecError."""
    try:
        yield _stored(spec, loading, run, folder, note)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _stored(spec: JobSpec, loading: Loading, run: Run, folder: Path, note: Note) -> Prepared:
    known = survey(spec, loading, run, note)
    _require_space(known, folder)
    note(f"storing {size_shown(known.disk_bytes)} of preprocessed rows in {folder}")
    every, later = _every(known), tuple(known.like.deferred)
    tasks = (
        Store(deal, number, known.preprocessing, spec.train, folder, every, later)
        for number, deal in enumerate(known.deals)
    )
    return _prepared(spec, loading, known, list(run(store, tasks)), folder)


def _with_target(spec: JobSpec, pieces: list[Piece]) -> tuple[DataSpec, str]:
    """What the target is, where the job leaves that open, by the first rows."""
    only = spec.data.model_copy(update={"features": {}, "id": None, "sample_weight": None})
    first = _first_columns(only, pieces)[spec.data.target.column]
    return resolved(spec.data, spec.train.loss, first)


def _with_kinds(data: DataSpec, pieces: list[Piece]) -> tuple[DataSpec, list[Piece], str, tuple[str, ...]]:
    """What the first rows tell, for all pieces alike: the kinds of columns that the job leaves open, whether a column
    to split by in time holds numbers (in blocks, a CSV file calls its columns texts), and the size of images."""
    inferred, warnings = "", tuple[str, ...]()
    if any(feature.kind == "auto" for feature in data.features.values()):
        columns = _first_columns(data, pieces)
        found = infer(columns, data)
        warnings = inference_warnings(data, found, columns)
        data, inferred = found, inferred_kinds(found, data, columns)
    column, numbers = data.split.column, tuple[str, ...]()
    if data.split.by == "time" and column is not None and column not in column_kinds(data):
        only = data.model_copy(update={"features": {}, "id": None, "sample_weight": None})
        numbers = (column,) if _holds_numbers(column, _first_columns(only, pieces)[column], data.read) else ()
    files = pieces[0].found
    size = image_size(files.files, data.read, skip=data.bad_rows == "skip") if files.format == "images" else None
    return data, [replace(piece, numbers=numbers, image_size=size) for piece in pieces], inferred, warnings


def _first_columns(data: DataSpec, pieces: list[Piece]) -> dict[str, np.ndarray]:
    """The first rows, as many as kinds are inferred from."""
    bad = BadRows(data.bad_rows == "skip")
    blocks: list[Block] = []
    for block in chain.from_iterable(blocks_of(piece.found, piece.reading(data, bad)) for piece in pieces):
        blocks += [block] if len(block) else []
        held = sum(column.nbytes for one in blocks for column in one.columns.values())
        if sum(map(len, blocks)) >= INFERRED_ROWS or held >= SAMPLE_BYTES:
            break
    if not blocks:
        raise DataError(f"{pieces[0].found.files[0].name} has no rows; a job needs at least a few to train on")
    return with_target(joined_blocks(blocks, pieces[0].reading(data, bad)), data.target)


def _holds_numbers(column: str, values: np.ndarray, rules: ValueRules) -> bool:
    try:
        as_numbers(column, values, rules)
    except DataError:
        return False
    return True


def _dropped(counted: list[Counted], repeated: list[np.ndarray | None]) -> tuple[Dropped, ...]:
    """The rows that were left out, by their numbers in the source."""
    found: list[Dropped] = []
    equal: list[Dropped] = []
    first = 0
    for each, mask in zip_longest(counted, repeated):
        found += [replace(one, examples=tuple(row + first for row in one.examples)) for one in each.dropped]
        if mask is not None and each.numbers is not None and mask.any():
            examples = each.numbers[mask][:SHOWN] + first + 1
            equal.append(Dropped(REPEATED, int(mask.sum()), tuple(examples.tolist())))
        first += each.rows
    return together([found, equal])


def _deals(pieces: list[Piece], data: DataSpec, counted: list[Counted]) -> list[Deal]:
    """For every piece what comes before it."""
    nothing: list[np.ndarray | None] = [None] * len(pieces)
    repeated = _repeated(counted) if data.drop_duplicates else nothing
    left = [each.left - (0 if mask is None else int(mask.sum())) for each, mask in zip(counted, repeated, strict=True)]
    shares = _by_time(pieces, data, counted, repeated) if needs_all_times(data.split) else nothing
    deals = []
    first, rows, classes = 0, 0, Counter[str]()
    for number, piece in enumerate(pieces):
        deals.append(Deal(piece, data, first, rows, dict(classes), shares[number], repeated[number]))
        first += counted[number].rows
        rows += left[number]
        classes.update(counted[number].classes(repeated[number]))
    return deals


def _repeated(counted: list[Counted]) -> list[np.ndarray | None]:
    """Of every piece (left,) whether an equal row stands before, in it or in an earlier piece."""
    keys = np.concatenate([each.keys for each in counted if each.keys is not None])
    mask = pd.DataFrame(keys).duplicated().to_numpy()
    return list(np.split(mask, np.cumsum([each.left for each in counted])[:-1]))


def _by_time(
    pieces: list[Piece], data: DataSpec, counted: list[Counted], repeated: list[np.ndarray | None]
) -> list[np.ndarray | None]:
    """Of every piece to be split the parts of its rows."""
    times = []
    for piece, each, mask in zip(pieces, counted, repeated, strict=True):
        found = np.empty(0) if each.times is None else each.times
        if data.split.column is None:  # by the order of the rows
            found = np.zeros(each.left)
        if piece.part != TRAIN:
            times.append(found[:0])
            continue
        found = found if mask is None else found[~mask]
        times.append(found)
    shares = shares_of_times(joined_times(times, data.split), data.split, data.formats_of(data.split.column))
    return list(np.split(shares, np.cumsum([len(each) for each in times])[:-1]))


def _require_space(known: Known, folder: Path) -> None:
    """Raise DataError now instead of after the disk is full."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if known.disk_bytes > free:
        raise DataError(
            f"streaming keeps {sum(known.rows.values()):,} preprocessed rows, {size_shown(known.disk_bytes)}, in "
            f"{folder}, where {size_shown(free)} are free; give a folder on a larger disk with folder=PATH"
        )


def _every(known: Known) -> int:
    row_bytes = sum(array.nbytes for array in known.like.inputs.values()) // len(known.like)
    rows = max(1, min(SAMPLE_ROWS, SAMPLE_BYTES // max(1, row_bytes)))
    return -(-sum(each.rows for each in known.counted) // rows)


def _prepared(spec: JobSpec, loading: Loading, known: Known, pieces: list[StoredPiece], folder: Path) -> Prepared:
    require_some_weight(sum(piece.weight for piece in pieces), known.data)
    splits = {
        name: StoredSplit(
            (folder / name).absolute(),
            tuple(shard for piece in pieces for shard in piece.shards[name]),
            known.like.deferred,
            known.data.shuffle_rows,
        )
        for name in known.rows
    }
    counts = {name: len(split) for name, split in splits.items()}
    require_rows(counts, known.data.split)
    facts = _facts(loading, known, pieces, counts)
    shown = facts.parts.get(VALID if VALID in splits else TRAIN, np.empty(0, int))[:GOLDEN_ROWS]
    raw = {name: column[shown] for name, column in facts.columns.items()}
    golden = Split(known.preprocessing.transform(raw), known.preprocessing.target.encode(facts.labels[shown]))
    return Prepared(known.preprocessing, splits, json_rows(raw), golden, facts)


def _facts(loading: Loading, known: Known, pieces: list[StoredPiece], counts: dict[str, int]) -> Facts:
    sample: list[Sample] = [one for piece in pieces for one in piece.sample]
    shares = np.concatenate([one.shares for one in sample])
    bad = reduce(BadRows.merged, (each.bad for each in known.counted))
    unknown = together([piece.dropped for piece in pieces])
    notes = Notes()
    for piece in pieces:
        notes.update(piece.notes)
    left_out = _dropped(known.counted, [deal.repeated for deal in known.deals])
    return Facts(
        columns={name: np.concatenate([one.columns[name] for one in sample]) for name in known.data.features},
        labels=np.concatenate([one.labels for one in sample]),
        parts={name: np.flatnonzero(shares == SHARES.index(name)) for name in known.rows},
        source_rows=np.concatenate([one.source_rows for one in sample]),
        preprocessing=known.preprocessing,
        source=known.data.source,
        left_out=(*files_told(known.data, loading.files), *notes.told(), *bad.told(), *told((*left_out, *unknown))),
        inferred=known.inferred,
        notes=(*known.warnings, *wide_columns(known.preprocessing)),
        loading=str(loading),
        counts=counts,
        sums=np.asarray(sum((piece.content for piece in pieces), np.zeros(2, np.uint64))),
    )
