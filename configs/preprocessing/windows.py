"""Rows of a series -> windows, each with the value to come; the same for training, `predict` and the endpoint."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from configs.data import WindowSpec
from configs.dates import nanoseconds
from configs.errors import DataError
from configs.preprocessing.times import dates_hint, is_missing, sort_keys
from configs.preprocessing.values import BadValue, Columns, text_array

ORDER_FIX = "and data.window.order sorts by it; fix or remove the row, or leave such rows out with data.bad_rows: skip"


@dataclass(frozen=True)
class Ordered:
    """The rows of all series, one series after the other, each in its order.

    rows: (rows,) row numbers; bounds: (series + 1,) where each series begins in them; keys: (rows,) what they are
    sorted by, in the same order as rows, None without data.window.order.
    """

    rows: np.ndarray
    bounds: np.ndarray
    keys: np.ndarray | None

    @property
    def steps(self) -> np.ndarray:
        """(rows - 1,) from each row's key to the next one's: nanoseconds (microseconds for far dates) or a number."""
        if self.keys is None:
            return np.ones(max(0, len(self.rows) - 1), np.int64)
        steps = np.diff(self.keys)
        return steps.astype(np.int64) if steps.dtype.kind == "m" else steps

    @property
    def borders(self) -> np.ndarray:
        """(rows - 1,) whether the next row is of another series."""
        borders = np.zeros(max(0, len(self.rows) - 1), bool)
        borders[self.bounds[1:-1] - 1] = True
        return borders


def in_order(columns: Columns, window: WindowSpec, formats: Sequence[str] = ()) -> Ordered:
    """The rows of each series in its order; rows of equal times stay in the order that they have.

    formats: of dates in the column to sort by. Raises DataError naming the row that has no place in the order.
    """
    rows = np.arange(len(next(iter(columns.values()))))
    keys = None
    if window.order is not None:
        keys = _keys(window.order, columns[window.order], formats)
        rows = np.argsort(keys, kind="stable")
    bounds = np.array([0, len(rows)])
    if window.group is not None:
        names = text_array(window.group, columns[window.group])[rows]
        codes, found = pd.factorize(names, use_na_sentinel=False)  # by first appearance
        rows = rows[np.argsort(codes, kind="stable")]
        bounds = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=len(found)))])
    return Ordered(rows, bounds, None if keys is None else keys[rows])


def _keys(column: str, values: np.ndarray, formats: Sequence[str]) -> np.ndarray:
    try:
        keys = sort_keys(column, values, formats)
    except BadValue as error:
        why = f", as data.window.order sorts by it{dates_hint(column, values)}"
        raise BadValue(error.before, error.row, error.after + why) from None
    bad = np.flatnonzero(is_missing(keys))
    if bad.size:
        raise BadValue(f"column {column!r}, row ", int(bad[0]) + 1, f": has no value, {ORDER_FIX}")
    return keys


def window_starts(columns: Columns, window: WindowSpec, *, ahead: int, formats: Sequence[str] = ()) -> np.ndarray:
    """(windows, width + ahead) row numbers: each window's rows, oldest first, and the `ahead` rows after it.

    Raises DataError when no series is long enough, or a row has no place in the order.
    """
    return windows_of(in_order(columns, window, formats), window, ahead=ahead)


def windows_of(series: Ordered, window: WindowSpec, *, ahead: int) -> np.ndarray:
    """What `window_starts` gives, of rows that are in order."""
    length = window.width + ahead
    starts = window_places(series.bounds, length, window.stride)
    if window.max_gap is not None:
        starts = window_places(np.union1d(series.bounds, gap_ends(series, window)), length, window.stride)
    if not len(starts):
        gap = f", max_gap={window.max_gap}" if window.max_gap is not None else ""
        raise DataError(
            f"no series has the {length} rows that one window needs (data.window.width={window.width}"
            f"{f', horizon={ahead}' if ahead else ''}{gap}); got {len(series.rows)} row(s)"
        )
    return series.rows[starts[:, None] + np.arange(length)]


def window_places(bounds: np.ndarray, length: int, stride: int) -> np.ndarray:
    """(windows,) where each begins among ordered rows that are cut at the bounds."""
    pieces = [np.arange(low, high - length + 1, stride) for low, high in zip(bounds[:-1], bounds[1:], strict=True)]
    return np.concatenate([np.empty(0, np.int64), *pieces])


def gap_ends(series: Ordered, window: WindowSpec) -> np.ndarray:
    """Places of rows that come further after the row before them than data.window.max_gap allows."""
    keys = series.keys
    if keys is None or window.max_gap is None:
        return np.empty(0, np.int64)
    dates = keys.dtype.kind == "M"
    if dates != isinstance(window.max_gap, str):
        holds, give = ("dates", "a duration such as 1h") if dates else ("numbers", "a number")
        raise DataError(
            f"data.window.max_gap={window.max_gap}: column {window.order!r} holds {holds}; give {give} instead"
        )
    if isinstance(window.max_gap, str):
        most: float = nanoseconds(window.max_gap)
        most = most if keys.dtype == np.dtype("datetime64[ns]") else most / 1000
    else:
        most = window.max_gap
    return np.flatnonzero((series.steps > most) & ~series.borders) + 1
