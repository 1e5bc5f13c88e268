"""Number columns: fill, clip, log, buckets or scaling."""

from typing import Literal

import numpy as np

from configs.errors import DataError
from configs.features import NumberFeature
from configs.preprocessing.hot import write_hot
from configs.preprocessing.scaling import Scaling
from configs.preprocessing.sketches import Counts, Moments, Quantiles
from configs.preprocessing.values import FIX, as_numbers, bad_value, require_small
from configs.spec import Spec

LEARNS_NOTHING = {"clip": "Remove clip", "buckets": "Give the edges, such as buckets: [0, 10],"}
"""What else can be done where a statistic of no values is asked for."""


class FittedNumber(Spec):
    """A number column: what fills a missing value, then clip, log, and buckets or scaling."""

    kind: Literal["number"] = "number"
    fill: float
    scaling: Scaling
    clip: tuple[float, float] | None = None
    """Smallest and largest value that is kept."""
    log: bool = False
    edges: tuple[float, ...] | None = None
    """Where one bucket ends and the next begins, on the clipped value or its log."""
    one_hot: bool = False
    width: int | None = None
    """Values per row where each row is a window."""

    @property
    def outputs(self) -> int:
        """Columns of the table."""
        return len(self.edges or ()) + 1 if self.one_hot else 1

    def transform(self, column: str, values: np.ndarray) -> np.ndarray:
        """(rows[, width]) -> (rows[, width], outputs) float32.

        Raises DataError on a number that float32 cannot hold once it is scaled.
        """
        out = np.empty((*values.shape, self.outputs), np.float32)
        self.write(column, values, out)
        return out

    def write(self, column: str, values: np.ndarray, out: np.ndarray) -> None:
        """What `transform` gives into columns of the table, out (rows[, width], outputs)."""
        numbers = as_numbers(column, values)
        missing = np.isnan(numbers)
        shaped = self.shaped(column, np.where(missing, self.fill, numbers) if missing.any() else numbers)
        if self.one_hot:
            write_hot(shaped.astype(np.int64), out)
            return
        with np.errstate(over="ignore"):
            scaled = self.scaling(shaped)
        require_small(column, numbers, scaled)
        out[..., 0] = scaled

    def shaped(self, column: str, numbers: np.ndarray) -> np.ndarray:
        """Clip, log, buckets: everything before scaling. numbers: float64 without NaN, of any shape."""
        if self.clip is not None:
            numbers = np.clip(numbers, *self.clip)
        if self.log:
            numbers = _log(column, numbers)
        if self.edges is not None:
            numbers = np.searchsorted(np.array(self.edges), numbers, side="right").astype(np.float64)
        return numbers


def _log(column: str, numbers: np.ndarray) -> np.ndarray:
    if numbers.size and numbers.min() <= -1:
        index = np.flatnonzero(numbers.reshape(-1) <= -1)[0]
        number = numbers.reshape(-1)[index]
        raise bad_value(column, numbers, index, f"log(1 + {number:g}) is not defined{FIX}, or remove log")
    return np.asarray(np.log1p(numbers))


class NumberFitter:
    """Learns a FittedNumber block by block."""

    def __init__(self, column: str, spec: NumberFeature) -> None:
        self._column, self._spec = column, spec
        self._missing, self._width = 0, None
        self._raw, self._shaped = Moments(), Moments()
        self._counts = Counts(column, "fill: most_frequent would have to count them all; use fill: median")
        learns_shape = spec.clip is not None or isinstance(spec.buckets, int)
        self._samples = learns_shape or spec.fill == "median" or spec.scale == "robust"
        self._sample = Quantiles()
        edges = tuple(map(float, spec.buckets)) if isinstance(spec.buckets, tuple) else None
        self._given = None if learns_shape else FittedNumber(fill=0, scaling=Scaling(), log=spec.log, edges=edges)
        """The shape of values, where nothing of it has to be learned."""

    def expect(self, rows: int) -> None:
        """So many rows are learned from in all, here and in fitters to be merged with."""
        self._sample.expect(rows)

    def update(self, values: np.ndarray) -> None:
        numbers = as_numbers(self._column, values)
        self._width = values.shape[1] if values.ndim == 2 else None
        holes = np.isnan(numbers)
        missing = int(np.count_nonzero(holes))
        known = numbers[~holes] if missing else numbers.reshape(-1)
        self._missing += missing
        self._raw.add(known)
        if self._given is not None and (self._spec.log or self._given.edges is not None):
            shaped = self._given.shaped(self._column, np.where(holes, 0.0, numbers))
            self._shaped.add(shaped[~holes])
        if self._samples:
            self._sample.add(known)
        if self._spec.fill == "most_frequent":
            found, counts = np.unique(known, return_counts=True)
            self._counts.add(found.tolist(), counts.tolist())

    def merge(self, other: "NumberFitter") -> None:
        self._missing += other._missing
        self._width = self._width or other._width
        self._raw.merge(other._raw)
        self._shaped.merge(other._shaped)
        self._sample.merge(other._sample)
        self._counts.merge(other._counts)

    def finish(self) -> FittedNumber:
        """Raises DataError when a statistic is asked of a column without a value."""
        plain = self._unscaled()
        spec = self._spec
        if plain.one_hot or spec.scale == "none":
            return plain
        if spec.scale == "robust":
            # Where all values are missing, the fill is all there is.
            sample = self._sample.sample() if self._raw.count else np.array([plain.fill])
            scaling = Scaling.fit(plain.shaped(self._column, sample), "robust")
        else:
            scaling = Scaling.from_moments(self._moments(plain), spec.scale)
        return plain.model_copy(update={"scaling": scaling})

    def _unscaled(self) -> FittedNumber:
        spec, fill = self._spec, self._fill()
        clip = self._learned_quantiles("clip", spec.clip) if spec.clip is not None else None
        if spec.log and (fill if clip is None else max(fill, clip[0])) <= -1:
            raise DataError(f"column {self._column!r}: log(1 + {fill:g}) of its fill is not defined; change fill")
        plain = FittedNumber(fill=fill, scaling=Scaling(), clip=clip, log=spec.log, width=self._width)
        edges: list[float] = []
        if isinstance(spec.buckets, int):
            self._require_values("buckets")
            sample = plain.shaped(self._column, self._sample.sample())
            edges = [float(edge) for edge in np.unique(np.quantile(sample, np.arange(1, spec.buckets) / spec.buckets))]
        elif spec.buckets is not None:
            edges = [float(edge) for edge in spec.buckets]
        changes = {"edges": tuple(edges) if spec.buckets is not None else None, "one_hot": spec.encode == "one_hot"}
        return plain.model_copy(update=changes)

    def _fill(self) -> float:
        fill = self._spec.fill
        if isinstance(fill, float):
            return fill
        self._require_values(fill)
        if fill == "mean":
            return self._raw.mean
        return float(self._counts.most(1)[0]) if fill == "most_frequent" else self._sample.at([0.5])[0]

    def _require_values(self, what: str) -> None:
        if not self._raw.count:
            raise DataError(
                f"column {self._column!r} has no value in the training part, so its {what} is not defined. "
                f"{LEARNS_NOTHING.get(what, 'Give a constant fill')} or remove the feature"
            )

    def _learned_quantiles(self, what: str, ranks: tuple[float, float]) -> tuple[float, float]:
        self._require_values(what)
        low, high = self._sample.at(ranks)
        return low, high

    def _moments(self, plain: FittedNumber) -> Moments:
        """Of the shaped values with the missing ones filled, as scaling will meet them."""
        moments = Moments()
        if self._given is None:
            sample = plain.shaped(self._column, self._sample.sample())
            moments.add(sample)
            # Every point of the sample stands for as many values.
            moments.m2 *= self._raw.count / max(moments.count, 1)
            moments.count = self._raw.count
        else:
            moments.merge(self._shaped if self._shaped.count else self._raw)
        if self._missing:
            filled = plain.shaped(self._column, np.array([plain.fill]))
            moments.add_equal(float(filled[0]), self._missing)
        return moments
