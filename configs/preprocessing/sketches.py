"""What is learned about a column block by block, in bounded memory: moments, quantiles, counts.

`merge` is associative, so any split of the rows into blocks and any order of merging gives the same result (moments
up to rounding; quantiles of more than EXACT_VALUES values up to the sketch's error).
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from datasketches import kll_doubles_sketch

from configs.errors import DataError

EXACT_VALUES = 1_000_000
"""Up to so many values of a column quantiles are exact; beyond it a sketch answers."""
SKETCH_SIZE = 4096
"""Rank error of the sketch: 0.07 %."""
SKETCH_POINTS = 1 << 14
MAX_DISTINCT = 5_000_000
"""Most distinct values that are counted in one column."""


class Moments:
    """Count, mean, sum of squared distances from it, smallest and largest value."""

    def __init__(self) -> None:
        self.count, self.mean, self.m2 = 0, 0.0, 0.0
        self.low, self.high = np.inf, -np.inf

    def add(self, values: np.ndarray) -> None:
        """values: (any,) float64 without NaN."""
        if not values.size:
            return
        mean = float(values.mean())
        apart = values - mean
        self._join(values.size, mean, float(np.dot(apart, apart)))
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))

    def add_equal(self, value: float, count: int) -> None:
        """The same value `count` times."""
        if count:
            self._join(count, value, 0.0)
            self.low, self.high = min(self.low, value), max(self.high, value)

    def merge(self, other: "Moments") -> None:
        self._join(other.count, other.mean, other.m2)
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    def _join(self, count: int, mean: float, m2: float) -> None:
        # Chan, Golub, LeVeque: Updating Formulae and a Pairwise Algorithm for Computing Sample Variances (1979).
        if not count:
            return
        total = self.count + count
        apart = mean - self.mean
        self.mean += apart * (count / total)
        self.m2 += m2 + apart * apart * (self.count * (count / total))
        self.count = total

    @property
    def deviation(self) -> float:
        """Standard deviation (of the population)."""
        return float(np.sqrt(self.m2 / self.count)) if self.count else 0.0

    @property
    def largest(self) -> float:
        """Largest absolute value."""
        return max(abs(self.low), abs(self.high)) if self.count else 0.0


class Quantiles:
    """All values while there are few of them, then a KLL sketch (Karnin, Lang, Liberty 2016; Apache DataSketches)."""

    def __init__(self) -> None:
        self.count = 0
        self._values: list[np.ndarray] = []
        self._sketch: Any = None

    def expect(self, count: int) -> None:
        """Keep no values at all where so many will not be kept in the end."""
        if count > EXACT_VALUES:
            self._start_sketch()

    def add(self, values: np.ndarray) -> None:
        """values: (any,) float64 without NaN."""
        self.count += values.size
        if self._sketch is not None:
            self._feed(values)
            return
        self._values.append(np.array(values, np.float64))
        if self.count > EXACT_VALUES:
            self._start_sketch()

    def merge(self, other: "Quantiles") -> None:
        self.count += other.count
        self._values += other._values
        if other._sketch is not None or self._sketch is not None or self.count > EXACT_VALUES:
            self._start_sketch()
        if other._sketch is not None:
            self._sketch.merge(other._sketch)

    def _start_sketch(self) -> None:
        self._sketch = self._sketch or kll_doubles_sketch(SKETCH_SIZE)
        for values in self._values:
            self._feed(values)
        self._values = []

    def _feed(self, values: np.ndarray) -> None:
        self._sketch.update(np.require(values, np.float64, ["C", "W"]))  # it takes no array that is read-only

    def sample(self) -> np.ndarray:
        """(n,) sorted: all values, or SKETCH_POINTS that stand for them, each for an equal part."""
        if self._sketch is None:
            return np.sort(np.concatenate([np.empty(0), *self._values]))
        ranks = (np.arange(SKETCH_POINTS) + 0.5) / SKETCH_POINTS
        return np.asarray(self._sketch.get_quantiles(ranks), np.float64)

    def at(self, ranks: Iterable[float]) -> list[float]:
        """Values at ranks between 0 and 1."""
        if self._sketch is None:
            return [float(value) for value in np.quantile(self.sample(), list(ranks))]
        return [float(value) for value in self._sketch.get_quantiles(list(ranks))]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_sketch": None if self._sketch is None else self._sketch.serialize()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        if self._sketch is not None:
            self._sketch = kll_doubles_sketch.deserialize(self._sketch)


class Counts:
    """How often each distinct value occurs."""

    def __init__(self, column: str, advice: str, limit: int | None = None) -> None:
        self._column, self._advice, self._limit = column, advice, limit
        self.counts: dict[Any, int] = {}

    def add(self, values: Iterable[Any], counts: Iterable[int]) -> None:
        """Raises DataError when there are more distinct values than can be counted."""
        known = self.counts
        for value, count in zip(values, counts, strict=True):
            if count:
                known[value] = known.get(value, 0) + int(count)
        limit = MAX_DISTINCT if self._limit is None else self._limit
        if len(known) > limit:
            raise DataError(f"column {self._column!r} has more than {limit:,} distinct values; {self._advice}")

    def merge(self, other: "Counts") -> None:
        self.add(other.counts.keys(), other.counts.values())

    def most(self, at_most: int | None = None, at_least: int = 1) -> list[Any]:
        """The most frequent first; of equally frequent ones the smaller first."""
        kept = [value for value, count in self.counts.items() if count >= at_least]
        return sorted(kept, key=lambda value: (-self.counts[value], value))[:at_most]
