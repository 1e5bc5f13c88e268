"""Which rows train, which choose the best epoch, and which only test.

A row keeps its part when rows are appended: its part depends on its own place, class or group, never on how many rows
there are (fractions of a split by time aside: its dates do that).
"""

import hashlib
from collections.abc import Mapping

import numpy as np

from configs.data import SplitSpec
from configs.errors import DataError
from configs.preprocessing import Columns, as_dates, as_numbers, as_texts
from trainers.job import TEST, TRAIN, VALID

BLOCKS = (5, 10, 20, 25, 50, 100)
"""Rows per block of a random split; the first in which both fractions are whole numbers of rows is taken."""


def split_rows(rows: int, split: SplitSpec) -> dict[str, np.ndarray]:
    """Row numbers of each part, by chance alone; see `split_columns`."""
    return _named(_by_fraction(np.arange(rows), split), split)


def split_columns(
    columns: Columns, labels: np.ndarray, split: SplitSpec, given: Mapping[str, int] | None = None
) -> dict[str, np.ndarray]:
    """Row numbers of each part, in the order of the source; a part that is not asked for is left out.

    labels: (rows,) of the target, for a stratified split.
    given: rows at the end of the source that are a part already (files of their own), by part in that order.
    Raises DataError when a part would be empty, or holds no date that it is split by.
    """
    rows = len(labels)
    given = given or {}
    free = rows - sum(given.values())
    asked = split.model_copy(update={name: 0.0 for name in given} | {f"{name}_from": None for name in given})
    here = {name: column[:free] for name, column in columns.items()}
    parts = _named(_shares(here, labels[:free], asked), asked)
    start = free
    for name, count in given.items():
        parts[name] = np.arange(start, start + count)
        start += count
    return parts


def _shares(columns: Columns, labels: np.ndarray, split: SplitSpec) -> np.ndarray:
    """(rows,) a number for each row's part: 0 train, 1 valid, 2 test."""
    rows = len(labels)
    if split.by == "group":
        return _by_group(as_texts(str(split.column), columns[str(split.column)]), split)
    if split.by == "time":
        return _by_time(columns, split, rows)
    if split.by == "stratified":
        return _by_class(labels, split)
    return _by_fraction(np.arange(rows), split)


def _by_fraction(places: np.ndarray, split: SplitSpec) -> np.ndarray:
    """places: of each row among those it is drawn with. Every block of rows has its fractions, at random places."""
    size = next((size for size in BLOCKS if _whole(size * split.valid) and _whole(size * split.test)), BLOCKS[-1])
    test, valid = round(size * split.test), round(size * split.valid)
    shares = np.zeros(len(places), np.int8)
    if not len(places):
        return shares
    blocks = int(places.max()) // size + 1
    # One stream for all blocks: a block's numbers do not depend on the blocks after it.
    ranks = np.argsort(np.random.default_rng(split.seed).random((blocks, size)), axis=1)
    rank = ranks[places // size, places % size]
    shares[rank < test + valid] = 1
    shares[rank < test] = 2
    return shares


def _whole(number: float) -> bool:
    return abs(number - round(number)) < 1e-9


def _by_class(values: np.ndarray, split: SplitSpec) -> np.ndarray:
    labels = np.array([str(text) for text in as_texts("target", values)])
    shares = np.zeros(len(labels), np.int8)
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        shares[mine] = _by_fraction(np.arange(len(mine)), split)
    return shares


def _by_group(groups: list[str | None], split: SplitSpec) -> np.ndarray:
    """A hash of the group's name and the seed is the draw: the same group is in the same part for ever."""
    draws = {group: _draw(f"{split.seed}:{group}") for group in set(groups)}
    draw = np.array([draws[group] for group in groups])
    return np.where(draw < split.test, 2, np.where(draw < split.test + split.valid, 1, 0)).astype(np.int8)


def _draw(text: str) -> float:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _by_time(columns: Columns, split: SplitSpec, rows: int) -> np.ndarray:
    times = np.arange(rows, dtype=np.float64) if split.column is None else _times(split.column, columns[split.column])
    bad = np.flatnonzero(np.isnan(times))
    if bad.size:
        raise DataError(
            f"column {split.column!r}, row {bad[0] + 1}: has no date, and the split is by time; mend or remove the row"
        )
    shares = np.zeros(rows, np.int8)
    order = np.argsort(times, kind="stable")
    test, valid = round(rows * split.test), round(rows * split.valid)
    if split.test_from is not None:
        last = times >= _cut(split.test_from, split)
    else:
        last = np.isin(np.arange(rows), order[rows - test :]) if test else np.zeros(rows, bool)
    if split.valid_from is not None:
        middle = times >= _cut(split.valid_from, split)
    else:
        left = order[~last[order]]
        middle = np.isin(np.arange(rows), left[max(0, len(left) - valid) :]) if valid else np.zeros(rows, bool)
    shares[middle] = 1
    shares[last] = 2
    return shares


def _times(column: str, values: np.ndarray) -> np.ndarray:
    """Dates as seconds, numbers as they are; NaN where there is none."""
    if values.dtype.kind in "iuf":
        return as_numbers(column, values)
    dates = as_dates(column, values)
    return np.where(np.isnat(dates), np.nan, dates.astype(np.int64).astype(np.float64))


def _cut(text: str, split: SplitSpec) -> float:
    column = f"data.split ({split.column})"
    try:
        return float(text)
    except ValueError:
        return float(_times(column, np.array([text], object))[0])


def _named(shares: np.ndarray, split: SplitSpec) -> dict[str, np.ndarray]:
    """The parts by name. Raises DataError when one that was asked for is empty."""
    parts = {TRAIN: np.flatnonzero(shares == 0)}
    if split.valid or split.valid_from:
        parts[VALID] = np.flatnonzero(shares == 1)
    if split.test or split.test_from:
        parts[TEST] = np.flatnonzero(shares == 2)
    empty = next((name for name, part in parts.items() if not len(part)), None)
    if empty:
        raise DataError(
            f"{len(shares)} row(s) leave none for the {empty} part (data.split.valid={split.valid}, "
            f"data.split.test={split.test}); give more rows, or change data.split"
        )
    return parts
