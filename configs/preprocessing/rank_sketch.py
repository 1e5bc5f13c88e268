"""Quantiles of any number of values in bounded memory, without chance: equal values give equal answers everywhere."""

from collections.abc import Iterable, Iterator

import numpy as np

BUFFER_VALUES = 1 << 15
"""A level that holds more is halved. 256 KiB a level, and a level for every doubling of the number of values."""
RANK_ERROR = 5e-4
"""No answer is farther than this from the rank asked for, whatever the values and their order: each level adds at most
0.5 / BUFFER_VALUES, and a billion values have 15 levels; merging a level more at most."""


class RankSketch:
    """Sorted buffers, of which every second value goes on to the next level and stands for two there.

    Which of the two is kept alternates, so that errors cancel (Manku, Rajagopalan, Lindsay: Approximate Medians and
    other Quantiles in One Pass and with Limited Memory, 1998). A buffer is halved when it is full, and not where a
    block ends: blocks of any size leave the same state.
    """

    def __init__(self) -> None:
        self._levels: list[np.ndarray] = [np.empty(0)]
        """Of each level the values that wait, each for 2**level values."""
        self._odd: list[bool] = [False]
        self._low, self._high = np.inf, -np.inf

    def add(self, values: np.ndarray) -> None:
        """values: (any,) float64 without NaN."""
        if not values.size:
            return
        self._low, self._high = min(self._low, float(values.min())), max(self._high, float(values.max()))
        self._push(0, np.array(values, np.float64))

    def merge(self, other: "RankSketch") -> None:
        """Add what another one has seen; merge in a fixed order for the same answers."""
        self._low, self._high = min(self._low, other._low), max(self._high, other._high)
        for level, values in enumerate(other._levels):
            self._push(level, values)

    def at(self, ranks: Iterable[float]) -> np.ndarray:
        """Values at ranks between 0 and 1; 0 is the smallest, 1 the largest of all. Nothing was added: NaN."""
        asked = np.array(list(ranks), np.float64)
        values = np.concatenate(self._levels)
        if not values.size:
            return np.full(len(asked), np.nan)
        weights = np.repeat(2.0 ** np.arange(len(self._levels)), [len(level) for level in self._levels])
        order = np.argsort(values, kind="stable")
        upto = np.cumsum(weights[order])
        places = np.searchsorted(upto, asked * upto[-1], side="left").clip(0, len(values) - 1)
        found = values[order][places]
        return np.asarray(np.where(asked <= 0, self._low, np.where(asked >= 1, self._high, found)))

    def _push(self, level: int, values: np.ndarray) -> None:
        while values.size:
            while level >= len(self._levels):
                self._levels.append(np.empty(0))
                self._odd.append(False)
            waiting = np.concatenate([self._levels[level], values])
            full = len(waiting) // BUFFER_VALUES * BUFFER_VALUES
            self._levels[level] = waiting[full:].copy()
            values = np.concatenate([np.empty(0), *self._halved(level, waiting[:full])])
            level += 1

    def _halved(self, level: int, values: np.ndarray) -> Iterator[np.ndarray]:
        for start in range(0, len(values), BUFFER_VALUES):
            yield np.sort(values[start : start + BUFFER_VALUES])[int(self._odd[level]) :: 2]
            self._odd[level] = not self._odd[level]
