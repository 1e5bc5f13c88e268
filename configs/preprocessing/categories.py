"""Category columns: texts as codes, as one column per value, or as places of a stable hash."""

import zlib
from collections.abc import Iterable
from functools import cached_property
from typing import Any, Literal

import numpy as np

from configs.features import CategoryFeature
from configs.preprocessing.cells import Lookup, key_of, text_of
from configs.preprocessing.hot import write_hot
from configs.preprocessing.raw import objects
from configs.preprocessing.scaling import Scaling
from configs.preprocessing.sketches import Counts, Moments
from configs.preprocessing.values import text_codes
from configs.spec import Spec

UNSEEN, MISSING, FIRST_SEEN = 0, 1, 2


class FittedCategory(Spec):
    """A text column: 0 for unseen, 1 for missing, 2 + its place among the sorted training values, then scaling."""

    kind: Literal["category"] = "category"
    values: tuple[str, ...]
    scaling: Scaling
    encode: Literal["ordinal", "one_hot", "hash", "multi_hot"] = "ordinal"
    buckets: int = 0
    """Places of the hash."""
    separator: str = "|"
    fill: str | None = None
    """The value that a missing one counts as."""
    as_input: bool = False
    hash_values: bool = False
    """Whether the hash is of the value that a text stands for: 3.1 and 3.10 are one. Not so in models of old."""
    width: int | None = None
    """Values per row where each row is a window."""

    @property
    def codes(self) -> int:
        """How many codes there are, with those of unseen and missing: input_dim of an Embedding."""
        return FIRST_SEEN + (self.buckets or len(self.values))

    @property
    def outputs(self) -> int:
        """Columns of the table. One per value has the missing one first; an unseen value has none."""
        return 1 if self.encode == "ordinal" else self.codes - 1

    def transform(self, column: str, values: np.ndarray) -> np.ndarray:
        """(rows[, width]) -> (rows[, width], outputs) float32; as an input (rows, width or 1) int32 codes."""
        if self.as_input:
            codes = self._codes(column, values)
            return np.asarray(codes.reshape(len(codes), -1), np.int32)
        out = np.empty((*values.shape, self.outputs), np.float32)
        self.write(column, values, out)
        return out

    def write(self, column: str, values: np.ndarray, out: np.ndarray) -> None:
        """(rows[, width]) into columns of the table, out (rows[, width], outputs)."""
        if self.encode == "ordinal":
            out[..., 0] = self.scaling(self._codes(column, values).astype(np.float64))
        elif self.encode == "multi_hot":
            self._write_several(*text_codes(column, joined(values, self.separator)), out)
        else:
            write_hot(self._codes(column, values) - 1, out)

    def _codes(self, column: str, values: np.ndarray) -> np.ndarray:
        places, texts = text_codes(column, values)
        return np.asarray(np.array([self.code(text) for text in texts], np.int64)[places])

    def code(self, text: str | None) -> int:
        """The code of one text of `as_texts`."""
        text = self.fill if text is None else text
        if text is None:
            return MISSING
        if self.encode == "hash":
            text = (key_of(text) if self.hash_values else None) or text
            # CRC-32: the same on every machine and in every version, unlike Python's own hash.
            return FIRST_SEEN + zlib.crc32(text.encode("utf-8", "surrogatepass")) % self.buckets
        place = self._lookup(text)
        return UNSEEN if place is None else FIRST_SEEN + place

    def unseen(self, column: str, values: np.ndarray) -> int:
        """How many values training never showed."""
        places, texts = text_codes(column, joined(values, self.separator) if self.encode == "multi_hot" else values)
        unseen = [sum(self.code(part) == UNSEEN for part in self._parts(text)) for text in texts]
        return int(np.array(unseen, np.int64)[places].sum())

    @cached_property
    def _lookup(self) -> Lookup:
        return Lookup(self.values)

    def _parts(self, text: str | None) -> list[str | None]:
        return split(text, self.separator) if self.encode == "multi_hot" else [text]

    def _write_several(self, places: np.ndarray, texts: list[str | None], out: np.ndarray) -> None:
        codes = [np.unique([self.code(part) for part in self._parts(text)]) for text in texts]
        columns = [known[known != UNSEEN] - 1 for known in codes]
        each = [columns[place] for place in places.reshape(-1)]
        rows = np.unravel_index(np.repeat(np.arange(len(each)), [len(some) for some in each]), places.shape)
        out[...] = 0
        out[(*rows, np.concatenate([np.empty(0, int), *each]))] = 1


def split(text: str | None, separator: str) -> list[str | None]:
    """The values of one cell, without spaces around them; [None] where there are none."""
    parts: list[str | None] = [part.strip() for part in (text or "").split(separator) if part.strip()]
    return parts or [None]


def joined(values: np.ndarray, separator: str) -> np.ndarray:
    """A column of lists as texts; texts stay."""
    if values.dtype != object or values.ndim != 1:
        return values
    kinds = (list, tuple, np.ndarray)
    if not any(isinstance(value, kinds) for value in values):
        return values
    return objects([_joined(value, separator) if isinstance(value, kinds) else value for value in values])


def _joined(values: Iterable[Any], separator: str) -> str:
    return separator.join(text for text in map(text_of, values) if text is not None)


class CategoryFitter:
    """Learns a FittedCategory block by block."""

    def __init__(self, column: str, spec: CategoryFeature) -> None:
        self._column, self._spec = column, spec
        self._missing, self._width = 0, None
        self._counts = Counts(column, "use encode: hash")

    def update(self, values: np.ndarray) -> None:
        several = self._spec.encode == "multi_hot"
        self._width = values.shape[1] if values.ndim == 2 else None
        places, texts = text_codes(self._column, joined(values, self._spec.separator) if several else values)
        if self._spec.encode == "hash" and self._spec.fill != "most_frequent":
            return
        counts = np.bincount(places.reshape(-1), minlength=len(texts)).tolist()
        for text, count in zip(texts, counts, strict=True):
            parts = split(text, self._spec.separator) if several else [text]
            self._missing += count * (parts == [None])
            if parts != [None]:
                self._counts.add(dict.fromkeys(parts), [count] * len(set(parts)))

    def merge(self, other: "CategoryFitter") -> None:
        self._missing += other._missing
        self._width = self._width or other._width
        self._counts.merge(other._counts)

    def finish(self) -> FittedCategory:
        """The values that are frequent enough, in text order."""
        spec = self._spec
        fill = spec.fill
        if fill == "most_frequent":
            fill = next(iter(self._counts.most(1)), None)
        if fill is not None and spec.encode != "hash":
            self._counts.add([fill], [self._missing])
            self._missing = 0
        hashes = spec.encode == "hash"
        values = [] if hashes else sorted(self._counts.most(spec.max_values, spec.min_count))
        plain = FittedCategory(
            values=tuple(values),
            scaling=Scaling(),
            encode=spec.encode,
            buckets=spec.buckets or 0,
            separator=spec.separator,
            fill=fill,
            as_input=spec.as_input,
            hash_values=hashes,
            width=self._width,
        )
        if spec.encode != "ordinal" or spec.as_input:
            return plain
        return plain.model_copy(update={"scaling": Scaling.from_moments(self._moments(plain), spec.scale)})

    def _moments(self, plain: FittedCategory) -> Moments:
        """Of the codes of the training rows."""
        counts = np.bincount(
            [MISSING, *(plain.code(text) for text in self._counts.counts)],
            [self._missing, *self._counts.counts.values()],
        )
        moments = Moments()
        codes, total = np.arange(len(counts)), counts.sum()
        used = codes[counts > 0]
        if total:
            moments.count = int(total)
            moments.mean = float(np.dot(counts, codes) / total)
            moments.m2 = float(np.dot(counts, (codes - moments.mean) ** 2))
            moments.low, moments.high = float(used[0]), float(used[-1])
        return moments
