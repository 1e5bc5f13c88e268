"""What is to be said about the windows of a series: gaps, times that stand there twice, rows out of order."""

from collections.abc import Iterator

import numpy as np

from configs.data import DataSpec, WindowSpec
from configs.dates import duration_of
from configs.preprocessing import BadValue, Columns, sort_keys
from configs.preprocessing.times import is_missing, shown, with_offset
from configs.preprocessing.windows import Ordered, in_order, window_places

GAP = 1.5
"""A step so many times the usual one is a gap: months differ in length, and clocks jitter."""


def series_notes(series: Ordered, columns: Columns, data: DataSpec) -> Iterator[str]:
    """One sentence for everything that looks wrong about the order of the rows. columns: raw."""
    window = data.window
    if window is None:
        return
    if window.order is None:
        yield from _unsorted(columns, data, window)
        return
    yield from _repeated(series, window)
    if window.max_gap is None:
        yield from _gaps(series, window)


def series_left_out(series: Ordered, window: WindowSpec, windows: int) -> Iterator[str]:
    """One line for windows and series that give no example. windows: how many there are."""
    length = window.width + window.horizon
    lengths = np.diff(series.bounds)
    short = lengths < length
    if window.group is not None and short.any():
        yield (
            f"left out {int(lengths[short].sum()):,} row(s): in series of {window.group!r} with less than the "
            f"{length} rows that a window and its target need ({int(short.sum()):,} of {len(lengths):,} series)"
        )
    whole = len(window_places(series.bounds, length, window.stride))
    if window.max_gap is not None and whole > windows:
        yield f"left out {whole - windows:,} window(s): across a gap longer than data.window.max_gap={window.max_gap}"


def _gaps(series: Ordered, window: WindowSpec) -> Iterator[str]:
    steps, inner = series.steps, ~series.borders
    forward = steps[inner & (steps > 0)]
    if not len(forward) or series.keys is None:
        return
    usual = np.median(forward)
    wide = inner & (steps > GAP * usual)
    length = window.width + window.horizon
    starts = window_places(series.bounds, length, window.stride)
    before = np.concatenate([[0], np.cumsum(wide)])
    crossing = int((before[starts + length - 1] > before[starts]).sum()) if len(starts) else 0
    if not crossing:
        return
    place = int(np.flatnonzero(wide)[0])
    after, kept = shown(series.keys[place]), forward[forward <= GAP * usual].max()
    most = _step(kept, series.keys)
    fix = f"leave them out with data.window.max_gap: {most}" if crossing < len(starts) else "is that as it should be?"
    yield (
        f"{crossing:,} of {len(starts):,} windows ({crossing / len(starts):.1%}) cross a gap in the times of "
        f"{window.order!r}: the usual step is {_step(usual, series.keys)}, and {int(wide.sum()):,} step(s) are "
        f"longer, the first of {_step(steps[place], series.keys)} after {after}; {fix}"
    )


def _step(step: float, keys: np.ndarray) -> str:
    """A step as data.window.max_gap takes it."""
    if keys.dtype.kind != "M":
        return f"{step:.15g}"
    return duration_of(round(step) * (1 if keys.dtype == np.dtype("datetime64[ns]") else 1000))


def _repeated(series: Ordered, window: WindowSpec) -> Iterator[str]:
    if series.keys is None or len(series.rows) < 2:
        return
    same = (series.steps == 0) & ~series.borders
    rows = np.concatenate([same, [False]]) | np.concatenate([[False], same])
    if not rows.any():
        return
    share, first = rows.mean(), shown(series.keys[np.argmax(rows)])
    where = f"within a series of {window.group!r}" if window.group else "in the series"
    fix = "they stay in the order of the rows" if window.group else "is data.window.group missing?"
    yield (
        f"{int(rows.sum()):,} of {len(rows):,} rows ({share:.1%}) have a time in {window.order!r} that stands there "
        f"several times {where}, the first of them {first}; {fix}"
    )


def _unsorted(columns: Columns, data: DataSpec, window: WindowSpec) -> Iterator[str]:
    """Rows are taken as they come: is that the order of their times?"""
    named = [data.split.column] if data.split.by == "time" else []
    dates = [*named, *(name for name, feature in data.features.items() if feature.kind == "date")]
    column = next((name for name in dates if name is not None), None)
    if column is None:
        return
    try:
        keys = sort_keys(column, columns[column], data.formats_of(column))
    except BadValue:
        return
    if is_missing(keys).any():
        return
    series = in_order(columns, window)
    steps = Ordered(series.rows, series.bounds, keys[series.rows]).steps
    zero = np.zeros(1, steps.dtype)[0]
    back = int(((steps < zero) & ~series.borders).sum())
    if back:
        yield (
            f"windows take the rows as they come, and {column!r} goes back in time at {back:,} of them; "
            f"sort them with data.window.order: {column}"
        )


def offset_notes(columns: Columns, data: DataSpec) -> Iterator[str]:
    """Whether some times of a column have an offset and others none."""
    order = data.window.order if data.window else None
    by_time = data.split.column if data.split.by == "time" else None
    dates = [name for name, feature in data.features.items() if feature.kind == "date"]
    for column in dict.fromkeys(name for name in [order, by_time, *dates] if name):
        values = columns[column]
        if values.dtype != object:
            continue
        having, without = with_offset(value for value in values.reshape(-1).tolist() if isinstance(value, str))
        if having and without:
            yield (
                f"{without:,} of {having + without:,} times in {column!r} have no offset such as Z or +02:00, and the "
                "others have one; those without are taken in UTC"
            )
