"""Text columns: words as ids of a vocabulary, all rows at once in Arrow."""

import unicodedata
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.errors import DataError
from configs.features import TextFeature
from configs.preprocessing.sketches import Counts
from configs.preprocessing.values import text_codes
from configs.spec import Spec

PADDING, UNKNOWN, FIRST_WORD = 0, 1, 2
_MORE = r"[\x{FE0F}\x{1F3FB}-\x{1F3FF}]*"  # how an emoji is drawn, and its skin
_PART = rf"[\p{{So}}]{_MORE}"
EMOJI = rf"([\x{{1F1E6}}-\x{{1F1FF}}]{{2}}|{_PART}(?:\x{{200D}}{_PART})*)"
"""An emoji, flag or sign that is a word of its own, of however many characters."""
PUNCTUATION = r"[\pP\p{Sm}\p{Sc}\^`\x{A8}\x{AF}\x{B4}\x{B8}\x{2C2}-\x{2DF}]+"
"""Punctuation and the signs of mathematics and money; what makes an emoji stays."""


class FittedText(Spec):
    """A text column: (rows, length) ids; 0 pads at the end, 1 is a word outside the vocabulary."""

    kind: Literal["text"] = "text"
    vocabulary: tuple[str, ...]
    """The most frequent first; the first has id 2."""
    length: int
    lower: bool = True
    strip_punctuation: bool = True

    @property
    def tokens(self) -> int:
        """How many ids there are: input_dim of an Embedding."""
        return FIRST_WORD + len(self.vocabulary)

    def transform(self, column: str, values: np.ndarray) -> np.ndarray:
        """(rows,) -> (rows, length) int32. A missing text is all padding."""
        words, rows = split_words(column, values, lower=self.lower, strip_punctuation=self.strip_punctuation)
        first = np.searchsorted(rows, np.arange(len(values)))
        place = np.arange(len(rows)) - first[rows]
        kept = place < self.length
        ids = np.zeros((len(values), self.length), np.int32)
        found = pc.index_in(words.filter(pa.array(kept)), value_set=self._words).fill_null(UNKNOWN - FIRST_WORD)
        ids[rows[kept], place[kept]] = found.to_numpy(zero_copy_only=False) + FIRST_WORD
        return ids

    @cached_property
    def _words(self) -> pa.Array:
        return pa.array(self.vocabulary, pa.large_string())


def split_words(
    column: str, values: np.ndarray, *, lower: bool, strip_punctuation: bool
) -> tuple[pa.Array, np.ndarray]:
    """Return (words, rows): all words in order, and the number of the row (from 0) that each stands in."""
    if values.ndim != 1:
        raise DataError(f"column {column!r} has shape {values.shape[1:]} per row, expected one text")
    places, texts = text_codes(column, values, exact=True)
    # A letter with its accent is one word's, whether it came as one character or as two.
    array = pa.array([text and unicodedata.normalize("NFC", text) for text in texts], pa.large_string())
    if lower:
        array = pc.utf8_lower(array)
    if strip_punctuation:
        array = pc.replace_substring_regex(array, "['\u2019]", "")
        array = pc.replace_substring_regex(array, PUNCTUATION, " ")
        array = pc.replace_substring_regex(array, EMOJI, r" \0 ")
    lists = pc.utf8_split_whitespace(pc.fill_null(array, "")).take(pa.array(places))
    words, rows = pc.list_flatten(lists), pc.list_parent_indices(lists).to_numpy()
    real = pc.not_equal(words, "")
    return words.filter(real), rows[real.to_numpy(zero_copy_only=False)]


class TextFitter:
    """Learns a FittedText block by block."""

    def __init__(self, column: str, spec: TextFeature) -> None:
        self._column, self._spec = column, spec
        self._counts = Counts(column, "give the text in fewer rows, or make it a category with encode: hash")

    def update(self, values: np.ndarray) -> None:
        spec = self._spec
        words, _ = split_words(self._column, values, lower=spec.lower, strip_punctuation=spec.strip_punctuation)
        counted = words.value_counts()
        self._counts.add(counted.field("values").to_pylist(), counted.field("counts").to_pylist())

    def merge(self, other: "TextFitter") -> None:
        self._counts.merge(other._counts)

    def finish(self) -> FittedText:
        """The most frequent words."""
        spec = self._spec
        return FittedText(
            vocabulary=tuple(self._counts.most(spec.max_tokens - FIRST_WORD, spec.min_count)),
            length=spec.length,
            lower=spec.lower,
            strip_punctuation=spec.strip_punctuation,
        )
