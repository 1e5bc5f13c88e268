"""Date columns: parts of the calendar and the clock as table columns."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from configs.errors import DataError
from configs.features import DateFeature, DatePart
from configs.preprocessing.scaling import Scaling
from configs.preprocessing.sketches import Moments, Quantiles
from configs.preprocessing.times import as_times, dates_hint, likely_format
from configs.preprocessing.values import BadValue, text_codes
from configs.spec import Spec

CYCLES: dict[str, tuple[int, int]] = {
    "month": (1, 12),
    "day": (1, 31),
    "weekday": (0, 7),
    "hour": (0, 24),
    "minute": (0, 60),
    "dayofyear": (1, 366),
}
"""First value of a part, and after how many it begins again; a year does not."""

PANDAS_NAMES = {"weekday": "day_of_week", "dayofyear": "day_of_year"}


class FittedDate(Spec):
    """A date column as its parts; times with an offset are taken in UTC."""

    kind: Literal["date"] = "date"
    parts: tuple[DatePart, ...]
    cyclic: bool = False
    formats: tuple[str, ...] = ()
    fill: str
    """ISO 8601, stands in for a missing date."""
    scalings: tuple[Scaling, ...]
    """One per part; not used for one that is given as sine and cosine."""
    width: int | None = None
    """Values per row where each row is a window."""

    @property
    def outputs(self) -> int:
        """Columns of the table."""
        return sum(2 if self._turns(part) else 1 for part in self.parts)

    def transform(self, column: str, values: np.ndarray) -> np.ndarray:
        """(rows[, width]) -> (rows[, width], outputs) float64. Raises DataError naming a row that holds no date."""
        dates = as_dates(column, values, self.formats)
        dates = np.where(np.isnat(dates), np.datetime64(self.fill, "s"), dates)
        done: list[np.ndarray] = []
        for part, scaling in zip(self.parts, self.scalings, strict=True):
            numbers = part_of(dates, part)
            if self._turns(part):
                first, cycle = CYCLES[part]
                angle = 2 * np.pi * (numbers - first) / cycle
                done += [np.sin(angle), np.cos(angle)]
            else:
                done.append(scaling(numbers))
        return np.stack(done, axis=-1)

    def write(self, column: str, values: np.ndarray, out: np.ndarray) -> None:
        """What `transform` gives into columns of the table, out (rows[, width], outputs)."""
        out[...] = self.transform(column, values)

    def _turns(self, part: str) -> bool:
        return self.cyclic and part in CYCLES


def part_of(dates: np.ndarray, part: DatePart) -> np.ndarray:
    """datetime64[s] without NaT, of any shape -> float64 of the same shape."""
    index = pd.DatetimeIndex(dates.reshape(-1))
    name = PANDAS_NAMES.get(part, part)
    return np.asarray(getattr(index, name), np.float64).reshape(dates.shape)


def as_dates(column: str, values: np.ndarray, formats: Sequence[str] = (), hint: str = "") -> np.ndarray:
    """What `as_times` gives, to the second: datetime64[s] of the same shape, missing as NaT. Raises DataError."""
    return as_times(column, values, formats, hint).astype("datetime64[s]")


class DateFitter:
    """Learns a FittedDate block by block."""

    def __init__(self, column: str, spec: DateFeature) -> None:
        self._column, self._spec = column, spec
        self._missing, self._width = 0, None
        self._seconds = Quantiles()
        self._parts = {part: Moments() for part in spec.parts}

    def expect(self, rows: int) -> None:
        """So many rows are learned from in all, here and in fitters to be merged with."""
        self._seconds.expect(rows)

    def update(self, values: np.ndarray) -> None:
        try:
            dates = as_dates(self._column, values, self._spec.formats)
        except BadValue as error:
            hint = dates_hint(self._column, values) if likely_format(text_codes(self._column, values)[1]) else ""
            raise BadValue(error.before, error.row, error.after + hint) from None
        self._width = values.shape[1] if values.ndim == 2 else None
        known = dates[~np.isnat(dates)]
        self._missing += dates.size - known.size
        if self._spec.fill == "median":
            self._seconds.add(known.astype(np.int64).astype(np.float64))
        for part, moments in self._parts.items():
            moments.add(part_of(known, part))

    def merge(self, other: "DateFitter") -> None:
        self._missing += other._missing
        self._width = self._width or other._width
        self._seconds.merge(other._seconds)
        for part, moments in self._parts.items():
            moments.merge(other._parts[part])

    def finish(self) -> FittedDate:
        """Raises DataError when the median of no dates is asked for, or the fill is no date."""
        fill = self._fill()
        scalings = []
        for part, moments in self._parts.items():
            moments.add_equal(float(part_of(np.array([fill]), part)[0]), self._missing)
            scalings.append(Scaling.from_moments(moments, self._spec.scale))
        return FittedDate(
            parts=tuple(self._parts),
            cyclic=self._spec.cyclic,
            formats=self._spec.formats,
            fill=str(fill),
            scalings=tuple(scalings),
            width=self._width,
        )

    def _fill(self) -> np.datetime64:
        if self._spec.fill != "median":
            dates = as_dates(f"{self._column} (its fill)", np.array([self._spec.fill], object), self._spec.formats)
            return np.datetime64(dates[0], "s")
        if not self._seconds.count:
            raise DataError(
                f"column {self._column!r} has no date in the training part, so its median is not defined. "
                "Give a date as fill or remove the feature"
            )
        return np.datetime64(int(self._seconds.at([0.5])[0]), "s")
