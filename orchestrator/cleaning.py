"""Rows that cannot be learned from: found, counted, and left out where the job allows it."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pandas as pd

from configs.data import DataSpec
from configs.errors import DataError
from configs.preprocessing import Columns, as_numbers, misfits, text_array
from configs.preprocessing.rows import missing_labels, plain_order
from configs.preprocessing.times import holds_times, is_missing, sort_keys
from configs.preprocessing.values import LARGEST, read_numbers
from configs.rules import ValueRules

SHOWN = 5
"""So many of the rows that were left out are named."""
REPEATED = "equal to an earlier row"
UNKNOWN_LABEL = "a label that the training part never shows"


@dataclass(frozen=True)
class Dropped:
    """Rows that were left out: why, how many, and the first few row numbers (from 1) of the source."""

    reason: str
    rows: int
    examples: tuple[int, ...]


@dataclass(frozen=True)
class Clean:
    """The rows that are left, and their numbers in the source (from 0)."""

    columns: dict[str, np.ndarray]
    source_rows: np.ndarray
    dropped: tuple[Dropped, ...]


def clean(columns: Columns, data: DataSpec) -> Clean:
    """Leave out what `data.bad_rows: skip` allows to leave out.

    Without it every row stays, and preprocessing names the first bad one. Raises DataError when nothing is left.
    """
    left = sift(columns, data)
    require_some(len(left.source_rows), len(columns[data.target.column]), left.dropped)
    return left


def require_some(left: int, rows: int, dropped: Iterable[Dropped]) -> None:
    """Raise DataError when no row is left."""
    if not left:
        reasons = "; ".join(f"{entry.rows}: {entry.reason}" for entry in dropped)
        raise DataError(f"all {rows} rows were left out ({reasons}); mend the data or loosen data.bad_rows")


def sift(columns: Columns, data: DataSpec) -> Clean:
    """What `clean` gives, also where nothing is left."""
    rows = len(columns[data.target.column])
    kept = np.ones(rows, bool)
    dropped: list[Dropped] = []

    def drop(bad: np.ndarray, reason: str) -> None:
        bad = bad & kept
        if bad.any():
            numbers = np.flatnonzero(bad)
            dropped.append(Dropped(reason, len(numbers), tuple(int(number) + 1 for number in numbers[:SHOWN])))
            kept[bad] = False

    if data.bad_rows == "skip":
        for reason, bad in _bad(columns, data):
            drop(bad, reason)
    left = dict(columns) if kept.all() else {name: column[kept] for name, column in columns.items()}
    return Clean(left, np.flatnonzero(kept), tuple(dropped))


def _bad(columns: Columns, data: DataSpec) -> list[tuple[str, np.ndarray]]:
    found: list[tuple[str, np.ndarray]] = []
    for name, feature in data.features.items():
        if feature.kind == "number":
            found.append(
                (
                    f"{name!r} is no number, or infinite",
                    _no_number(name, columns[name], data.read, missing_is_bad=False),
                )
            )
        elif feature.kind in {"tensor", "image"} and columns[name].dtype.kind == "f":
            infinite = ~np.isfinite(columns[name].reshape(len(columns[name]), -1)).all(axis=1)
            found.append((f"{name!r} is not finite", np.asarray(infinite)))
    found += _no_dates(columns, data)
    target = data.target.column
    if columns[target].ndim == 2:
        numbers = np.stack([_lenient(target, column, data.read) for column in columns[target].T], axis=1)
        found.append(
            (
                f"the target {target!r} is not what data.target.kind={data.target.kind} needs",
                misfits(data.target.kind, numbers),
            )
        )
    elif data.target.kind == "number":
        # In a series a missing value may still be the past of others; its own window is left out later.
        bad = _no_number(target, columns[target], data.read, missing_is_bad=data.window is None)
        found.append((f"the target {target!r} is no finite number", bad))
    elif data.target.kind != "multi_label":  # where a cell without a label is a row without labels
        found += missing_labels(columns[target], data)
    return found


def _no_dates(columns: Columns, data: DataSpec) -> list[tuple[str, np.ndarray]]:
    """Dates that cannot be read, and rows that have no place in the order of a series or a split by time."""
    found = []
    for name, feature in data.features.items():
        if feature.kind == "date":
            missing = np.array(
                [value is None for value in text_array(name, columns[name], data.read.of_dates).reshape(-1)], bool
            )
            found.append(
                (f"{name!r} is not a date", ~(holds_times(name, columns[name], data.formats_of(name)) | missing))
            )
    order = data.window.order if data.window else None
    by_time = data.split.column if data.split.by == "time" else None
    for name in dict.fromkeys(name for name in (order, by_time) if name):
        try:
            plain = plain_order(name, columns[name], data.read)
            bad = is_missing(sort_keys(name, plain, data.formats_of(name)))
        except DataError:
            bad = ~holds_times(name, columns[name], data.formats_of(name))
        found.append((f"{name!r} has no time to sort by", bad))
    return found


def _lenient(column: str, values: np.ndarray, rules: ValueRules) -> np.ndarray:
    """(rows,) float64, NaN where a value is no number."""
    return read_numbers(column, values, rules)[0]


def _no_number(name: str, values: np.ndarray, rules: ValueRules, *, missing_is_bad: bool) -> np.ndarray:
    """(rows,) whether a value is neither a number that float32 can hold nor (where that is allowed) missing."""
    if values.dtype.kind in "iub":
        return np.zeros(len(values), bool)
    numbers, wrong = read_numbers(name, values, rules)
    bad = wrong | (np.abs(numbers) > LARGEST)
    bad = bad | np.isnan(numbers) if missing_is_bad else bad
    return np.asarray(bad.reshape(len(values), -1).any(axis=1))


def without_repeated(rows: Clean, data: DataSpec) -> Clean:
    """Keep the first of rows that are equal in all columns of the job (but the id). Columns are plain."""
    keys = comparable(rows.columns, data)
    frame = {name: [one.tobytes() for one in values] if values.ndim > 1 else values for name, values in keys.items()}
    repeated = pd.DataFrame(frame).duplicated().to_numpy()
    if not repeated.any():
        return rows
    numbers = rows.source_rows[repeated]
    dropped = Dropped(REPEATED, len(numbers), tuple((numbers[:SHOWN] + 1).tolist()))
    left = {name: column[~repeated] for name, column in rows.columns.items()}
    return Clean(left, rows.source_rows[~repeated], (*rows.dropped, dropped))


def comparable(columns: Columns, data: DataSpec) -> dict[str, np.ndarray]:
    """The columns that make rows equal, each of one type whatever the file or the block it comes from.

    columns: features as `plain_columns` gives them, the others raw.
    """
    numbers = {data.sample_weight, data.target.column if data.target.kind == "number" else None}
    found = {}
    for name in data.columns:
        if name in data.features:
            found[name] = columns[name]
        elif name != data.id:
            found[name] = (as_numbers if name in numbers or columns[name].ndim > 1 else text_array)(
                name, columns[name]
            )
    return found


def together(several: Iterable[Iterable[Dropped]]) -> tuple[Dropped, ...]:
    """The rows that were left out block by block, one entry for each reason."""
    found: dict[str, Dropped] = {}
    for one in chain.from_iterable(several):
        before = found.get(one.reason, Dropped(one.reason, 0, ()))
        examples = (*before.examples, *one.examples)[:SHOWN]
        found[one.reason] = Dropped(one.reason, before.rows + one.rows, examples)
    return tuple(found.values())


def told(dropped: tuple[Dropped, ...]) -> list[str]:
    """One line per reason, for the log."""
    return [
        f"left out {entry.rows} row(s): {entry.reason} (row {', '.join(map(str, entry.examples))}"
        f"{', ...' if entry.rows > len(entry.examples) else ''})"
        for entry in dropped
    ]
