"""Which rows train, which choose the best epoch, and which only test.

A row keeps its part when rows are appended: its part depends on its own place, class or group, never on how many rows
there are (fractions of a split by time aside: its dates do that).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from configs.data import SplitSpec
from configs.errors import DataError
from configs.preprocessing import Columns, as_texts, text_codes
from orchestrator.time_splits import require_cuts_fit, row_times, shares_of_times
from trainers.job import TEST, TRAIN, VALID

BLOCKS = (5, 10, 20, 25, 50, 100)
"""Rows per block of a random split: the first in which both fractions are whole numbers of rows, else the last; then
some blocks have one row more than others, so that the blocks up to any one have the fraction."""


def split_rows(rows: int, split: SplitSpec) -> dict[str, np.ndarray]:
    """Row numbers of each part, by chance alone; see `split_columns`."""
    return _named(_by_fraction(np.arange(rows), split), split)


def split_columns(
    columns: Columns,
    labels: np.ndarray,
    split: SplitSpec,
    given: Mapping[str, int] | None = None,
    formats: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """Row numbers of each part, in the order of the source; a part that is not asked for is left out.

    labels: (rows,) of the target, for a stratified split.
    given: rows at the end of the source that are a part already (files of their own), by part in that order.
    formats: of dates in the column that it is split by.
    Raises DataError when a part would be empty, or holds no date that it is split by.
    """
    rows = len(labels)
    given = given or {}
    free = rows - sum(given.values())
    asked = asked_of(split, given)
    here = {name: column[:free] for name, column in columns.items()}
    shares = None
    if asked.by == "time":
        times = row_times(here, asked, free, formats)
        require_cuts_fit(times, asked, formats)
        shares = shares_of_times(times, asked, formats)
    parts = _named(Dealer(asked, shares=shares).deal(here, labels[:free]), asked)
    start = free
    for name, count in given.items():
        parts[name] = np.arange(start, start + count)
        start += count
    return parts


def asked_of(split: SplitSpec, given: Iterable[str]) -> SplitSpec:
    """The split without the parts that have files of their own."""
    return split.model_copy(update={name: 0.0 for name in given} | {f"{name}_from": None for name in given})


class Dealer:
    """Gives each row its part, block by block; however the rows are divided into blocks, each gets the same part."""

    def __init__(
        self,
        split: SplitSpec,
        *,
        rows: int = 0,
        classes: Mapping[str, int] | None = None,
        shares: np.ndarray | None = None,
        formats: Sequence[str] = (),
    ) -> None:
        """rows, classes: how many rows, and of each class, come before the first block.

        shares: of the rows to come, where `needs_all_times`. formats: of dates in the column that it is split by.
        """
        self._split, self._rows, self._shares, self._formats = split, rows, shares, formats
        self._classes = dict(classes or {})

    def deal(self, columns: Columns, labels: np.ndarray) -> np.ndarray:
        """(rows,) int8 of the next block: 0 train, 1 valid, 2 test."""
        start, self._rows = self._rows, self._rows + len(labels)
        split = self._split
        if split.by == "group":
            return _by_group(as_texts(str(split.column), columns[str(split.column)]), split)
        if self._shares is not None:
            found, self._shares = self._shares[: len(labels)], self._shares[len(labels) :]
            return found
        if split.by == "time":
            times = row_times(columns, split, len(labels), self._formats)
            return shares_of_times(times, split, self._formats)
        if split.by == "stratified":
            return self._by_class(labels)
        return _by_fraction(np.arange(start, start + len(labels)), split)

    def _by_class(self, labels: np.ndarray) -> np.ndarray:
        codes, texts = text_codes("target", strata(labels))
        shares = np.zeros(len(labels), np.int8)
        names = np.array([texts[code] or "" for code in range(len(texts))], object)[codes]
        for name in np.unique(names):
            mine = np.flatnonzero(names == name)
            before = self._classes.get(name, 0)
            shares[mine] = _by_fraction(np.arange(before, before + len(mine)), self._split)
            self._classes[name] = before + len(mine)
        return shares


def strata(labels: np.ndarray) -> np.ndarray:
    """(rows,) what a split by class holds alike: the label; of a row with several numbers all of them."""
    if labels.ndim == 1:
        return labels
    names = np.empty(len(labels), object)
    names[:] = [" ".join(map(str, row)) for row in labels.tolist()]
    return names


def _by_fraction(places: np.ndarray, split: SplitSpec) -> np.ndarray:
    """places: of each row among those it is drawn with. Every block of rows has its fractions, at random places."""
    size = next((size for size in BLOCKS if _whole(size * split.valid) and _whole(size * split.test)), BLOCKS[-1])
    shares = np.zeros(len(places), np.int8)
    if not len(places):
        return shares
    first, blocks = int(places.min()) // size, int(places.max()) // size + 1
    ends = np.arange(first, blocks + 1) * size
    test, valid = (np.diff(np.rint(ends * fraction)).astype(np.int64) for fraction in (split.test, split.valid))
    test, valid = test[places // size - first], valid[places // size - first]
    # One stream for all blocks: a block's numbers do not depend on the blocks after it, and those of the blocks
    # before it can be skipped, since a number takes one step of the generator.
    draws = np.random.PCG64(split.seed).advance(first * size)
    ranks = np.argsort(np.random.Generator(draws).random((blocks - first, size)), axis=1)
    rank = ranks[places // size - first, places % size]
    shares[rank < test + valid] = 1
    shares[rank < test] = 2
    return shares


def _whole(number: float) -> bool:
    return abs(number - round(number)) < 1e-9


def _by_group(groups: list[str | None], split: SplitSpec) -> np.ndarray:
    """A hash of the group's name and the seed is the draw: the same group is in the same part for ever."""
    draws = {group: _draw(f"{split.seed}:{group}") for group in set(groups)}
    draw = np.array([draws[group] for group in groups])
    return np.where(draw < split.test, 2, np.where(draw < split.test + split.valid, 1, 0)).astype(np.int8)


def _draw(text: str) -> float:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _named(shares: np.ndarray, split: SplitSpec) -> dict[str, np.ndarray]:
    """The parts by name. Raises DataError when one that was asked for is empty."""
    parts = {name: np.flatnonzero(shares == share) for share, name in enumerate(SHARES) if name in parts_of(split)}
    require_rows({name: len(part) for name, part in parts.items()}, split)
    return parts


SHARES = (TRAIN, VALID, TEST)


def parts_of(split: SplitSpec) -> list[str]:
    """The parts that are asked for."""
    asked = {VALID: split.valid or split.valid_from, TEST: split.test or split.test_from}
    return [TRAIN, *(name for name, given in asked.items() if given)]


def require_rows(rows: Mapping[str, int], split: SplitSpec) -> None:
    """Raise DataError when a part has none."""
    empty = next((name for name, count in rows.items() if not count), None)
    if not empty:
        return
    total, fraction = sum(rows.values()), getattr(split, empty, 0.0)
    if empty != TRAIN and getattr(split, f"{empty}_from") is None and fraction:
        apart = {"stratified": " (of each class apart)", "group": " (by whole groups)"}.get(split.by, "")
        raise DataError(
            f"data.split.{empty}={fraction:g} of {total:,} row(s){apart} is about {total * fraction:.3g} row(s) and "
            f"leaves none for the {empty} part; give a larger fraction, or more rows"
        )
    raise DataError(
        f"{total} row(s) leave none for the {empty} part (data.split.valid={split.valid_from or split.valid}, "
        f"data.split.test={split.test_from or split.test}); give more rows, or change data.split"
    )
