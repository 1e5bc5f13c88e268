"""What is learned about a column block by block, in bounded memory: moments, quantiles, counts.

`merge` is associative, so any split of the rows into blocks and any order of merging gives the same result (moments
up to rounding; quantiles of more than EXACT_VALUES values up to the sketch's error). Nothing is left to chance: the
same blocks in the same order give the same document, byte by byte.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from configs.errors import DataError
from configs.preprocessing.rank_sketch import RankSketch

EXACT_VALUES = 1_000_000
"""Up to so many values of a column quantiles are exact; beyond it a sketch answers."""
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
    """All values while there are few of them, then a sketch of their ranks."""

    def __init__(self) -> None:
        self.count = 0
        self._values: list[np.ndarray] = []
        self._sketch: RankSketch | None = None

    def expect(self, count: int) -> None:
        """Keep no values at all where so many will not be kept in the end."""
        if count > EXACT_VALUES:
            self._started()

    def add(self, values: np.ndarray) -> None:
        """values: (any,) float64 without NaN."""
        self.count += values.size
        if self._sketch is not None:
            self._sketch.add(values)
            return
        self._values.append(np.array(values, np.float64))
        if self.count > EXACT_VALUES:
            self._started()

    def merge(self, other: "Quantiles") -> None:
        self.count += other.count
        sketched = self._sketch is not None or other._sketch is not None or self.count > EXACT_VALUES
        if not sketched:
            self._values += other._values
            return
        sketch = self._started()
        for values in other._values:
            sketch.add(values)
        if other._sketch is not None:
            sketch.merge(other._sketch)

    def _started(self) -> RankSketch:
        """The sketch, with all values in it."""
        if self._sketch is None:
            self._sketch = RankSketch()
            for values in self._values:
                self._sketch.add(values)
            self._values = []
        return self._sketch

    def sample(self) -> np.ndarray:
        """(n,) sorted: all values, or SKETCH_POINTS that stand for them, each for an equal part."""
        if self._sketch is None:
            return np.sort(np.concatenate([np.empty(0), *self._values]))
        return self._sketch.at((np.arange(SKETCH_POINTS) + 0.5) / SKETCH_POINTS)

    def at(self, ranks: Iterable[float]) -> list[float]:
        """Values at ranks between 0 and 1."""
        if self._sketch is None:
            return [float(value) for value in np.quantile(self.sample(), list(ranks))]
        return [float(value) for value in self._sketch.at(ranks)]


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
