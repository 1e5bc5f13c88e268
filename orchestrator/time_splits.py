"""Splits by time: the times of rows, the dates that cut them, and whether those fit the column."""

from collections.abc import Sequence

import numpy as np

from configs.data import SplitSpec
from configs.dates import ISO
from configs.errors import DataError
from configs.preprocessing import BadValue, Columns, sort_keys
from configs.preprocessing.times import dates_hint, is_missing, joined, likely_number_format, shown, times_of

CUTS = {"valid_from": "valid", "test_from": "test"}
"""The part that begins at each date."""


def needs_all_times(split: SplitSpec) -> bool:
    """Whether a row's part depends on the times of all others: it is split by time, and not by dates alone."""
    fractions = (split.valid and not split.valid_from) or (split.test and not split.test_from)
    return split.by == "time" and bool(fractions)


def row_times(columns: Columns, split: SplitSpec, rows: int, formats: Sequence[str] = ()) -> np.ndarray:
    """(rows,) datetime64 or numbers: what the rows are sorted by. formats: of the column.

    Raises DataError naming the row that has none.
    """
    if split.column is None:
        return np.arange(rows)
    values = columns[split.column]
    try:
        times = sort_keys(split.column, values, formats)
    except BadValue as error:
        why = f", as data.split.column sorts by it{dates_hint(split.column, values)}"
        raise BadValue(error.before, error.row, error.after + why) from None
    bad = np.flatnonzero(is_missing(times))
    if bad.size:
        fix = "fix or remove the row, or leave such rows out with data.bad_rows: skip"
        what = f": has no date, and the split is by time; {fix}"
        raise BadValue(f"column {split.column!r}, row ", int(bad[0]) + 1, what)
    return times


def shares_of_times(times: np.ndarray, split: SplitSpec, formats: Sequence[str] = ()) -> np.ndarray:
    """(rows,) int8: 0 train, 1 valid, 2 test; the latest rows test. Of equal times, the rows that come later do."""
    rows = len(times)
    shares = np.zeros(rows, np.int8)
    order = np.argsort(times, kind="stable")
    last, middle = np.zeros(rows, bool), np.zeros(rows, bool)
    if split.test_from is not None:
        last = at_or_after(times, read_cut("test_from", split, times, formats))
    else:
        last[order[rows - round(rows * split.test) :]] = True
    if split.valid_from is not None:
        middle = at_or_after(times, read_cut("valid_from", split, times, formats))
    else:
        left = order[~last[order]]
        middle[left[max(0, len(left) - round(rows * split.valid)) :]] = True
    shares[middle] = 1
    shares[last] = 2
    return shares


def at_or_after(times: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """(rows,) whether a row is not before a cut of one value."""
    if times.dtype.kind != "M":
        return np.asarray(times >= cut)
    both = joined([times, cut])
    return np.asarray(both[:-1] >= both[-1])


def span_of(times: np.ndarray) -> np.ndarray:
    """(2,) the first and the last time, or none of no rows."""
    return times[:0] if not len(times) else np.array([times.min(), times.max()], times.dtype)


def joined_times(parts: Sequence[np.ndarray], split: SplitSpec) -> np.ndarray:
    """The times of all pieces. Raises DataError where some are dates and others numbers."""
    some = [part for part in parts if len(part)]
    kinds = {part.dtype.kind == "M" for part in some}
    if len(kinds) > 1:
        raise DataError(f"column {split.column!r} holds dates in some files and numbers in others; make them equal")
    if kinds == {True}:
        return joined(some)
    return np.concatenate(some) if some else np.empty(0)


def require_cuts_fit(times: np.ndarray, split: SplitSpec, formats: Sequence[str] = ()) -> None:
    """Raise DataError where a date of the split is not one of the column, or leaves a part without rows.

    times: of all rows, or the first and the last one.
    """
    given = [key for key in CUTS if getattr(split, key) is not None]
    if split.by != "time" or not given or not len(times):
        return
    cuts = {key: read_cut(key, split, times, formats) for key in given}
    first, last = span_of(times)
    for key, cut in cuts.items():
        if not at_or_after(np.array([last], times.dtype), cut)[0]:
            raise _unfit(key, cut, f"leaves no rows for the {CUTS[key]} part", split, times)
        if at_or_after(np.array([first], times.dtype), cut)[0]:
            part = "valid" if key == "test_from" and "valid_from" in cuts else "train"
            raise _unfit(key, cut, f"leaves no rows for the {part} part", split, times)
    if len(cuts) == 2 and at_or_after(cuts["valid_from"], cuts["test_from"])[0]:
        raise DataError(
            f"data.split.valid_from={split.valid_from!r} is not before data.split.test_from={split.test_from!r} and "
            "leaves no rows for the valid part; make it earlier"
        )


def _unfit(key: str, cut: np.ndarray, what: str, split: SplitSpec, times: np.ndarray) -> DataError:
    text, read = getattr(split, key), shown(cut[0])
    meant = f" (read as {read})" if read != text else ""
    first, last = span_of(times)
    if first == last:
        return DataError(
            f"data.split.{key}={text!r} {what}: column {split.column!r} holds {shown(first)} in every row. Split by "
            "another column, or give fractions with data.split.valid and data.split.test instead"
        )
    return DataError(
        f"data.split.{key}={text!r}{meant} {what}: column {split.column!r} goes {range_of(times)}. "
        f"Give a {_one_of(times)} after the first and not after the last{_as_dates(times, split)}"
    )


def range_of(times: np.ndarray) -> str:
    """From the first to the last, for an error."""
    first, last = span_of(times)
    return f"from {shown(first)} to {shown(last)}"


def _one_of(times: np.ndarray) -> str:
    return "date" if times.dtype.kind == "M" else "number"


def _as_dates(times: np.ndarray, split: SplitSpec) -> str:
    """Where numbers look like dates: how to say so."""
    if times.dtype.kind == "M":
        return ""
    first, last = span_of(times)
    guess = likely_number_format([int(first), int(last)])
    return f', or say what the numbers are with data.dates: {{{split.column}: "{guess}"}}' if guess else ""


def read_cut(key: str, split: SplitSpec, times: np.ndarray, formats: Sequence[str] = ()) -> np.ndarray:
    """(1,) the date or number of data.split.valid_from or test_from, as the column has them. Raises DataError."""
    text = str(getattr(split, key)).strip()
    if times.dtype.kind == "M":
        cut = times_of([text], (*formats, ISO))
        if not np.isnat(cut[0]):
            return cut
    else:
        number = _number(text)
        if number is not None:
            return np.array([number])
    holds = f"column {split.column!r} holds {_one_of(times)}s"
    there = f" {range_of(times)}" if len(times) else ""
    raise DataError(
        f"data.split.{key}={text!r} does not fit: {holds}{there}. "
        f"Give such a {_one_of(times)}{_as_dates(times, split) if len(times) else ''}"
    )


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if np.isfinite(number) else None
    return None
