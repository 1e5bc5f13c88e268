"""Rows of a series -> windows, each with the value to come; the same for training, `predict` and the endpoint."""

import numpy as np

from configs.data import WindowSpec
from configs.errors import DataError
from configs.preprocessing.dates import as_dates
from configs.preprocessing.values import Columns, as_numbers, as_texts


def window_starts(columns: Columns, window: WindowSpec, *, ahead: int) -> np.ndarray:
    """(windows, width + ahead) row numbers: each window's rows, oldest first, and the `ahead` rows after it.

    Raises DataError when no series is long enough, or a row has no place in the order.
    """
    rows = len(next(iter(columns.values())))
    length = window.width + ahead
    found = []
    for series in _series(columns, window, rows):
        starts = np.arange(0, len(series) - length + 1, window.stride)
        found.append(series[starts[:, None] + np.arange(length)])
    windows = np.concatenate(found) if found else np.empty((0, length), np.int64)
    if not len(windows):
        raise DataError(
            f"no series has the {length} rows that one window needs (data.window.width={window.width}"
            f"{f', horizon={ahead}' if ahead else ''}); got {rows} row(s)"
        )
    return windows


def _series(columns: Columns, window: WindowSpec, rows: int) -> list[np.ndarray]:
    """Row numbers of each series in its order."""
    order = np.arange(rows)
    if window.order is not None:
        order = np.argsort(_places(window.order, columns[window.order]), kind="stable")
    if window.group is None:
        return [order]
    names = np.array([str(text) for text in as_texts(window.group, columns[window.group])])[order]
    return [order[names == name] for name in dict.fromkeys(names.tolist())]


def _places(column: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind in "iuf":
        places = as_numbers(column, values)
        bad = np.flatnonzero(np.isnan(places))
    else:
        places = as_dates(column, values)
        bad = np.flatnonzero(np.isnat(places))
    if bad.size:
        raise DataError(f"column {column!r}, row {bad[0] + 1}: has no value, and data.window.order sorts by it")
    return places
