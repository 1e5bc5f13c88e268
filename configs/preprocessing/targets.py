"""The target: labels to integers and back, or numbers, one or a sequence per row."""

import re
from typing import Any

import numpy as np

from configs.errors import DataError
from configs.features import TargetSpec
from configs.preprocessing.sketches import Counts
from configs.preprocessing.values import FIX, BadValue, as_numbers, row_of, text_codes
from configs.spec import Spec

Label = int | str | float | list[float]
"""What a row's prediction is: a class, a number, or the numbers of a sequence."""
MAX_CLASSES = 100_000


class FittedTarget(Spec):
    """Labels to integers 0..K-1 and back, or numbers as they are."""

    column: str
    classes: tuple[int | str, ...] | None = None
    """Labels in sorted order; None for regression."""
    strip: str = ""
    """Removed from both ends of a label, with spaces."""
    labels: dict[str, str] = {}
    """Label to the one used instead, after `strip`."""
    width: int | None = None
    """Numbers per row where the target is a sequence."""

    @classmethod
    def fit(cls, values: np.ndarray, column: str, kind: str) -> "FittedTarget":
        fitter = TargetFitter(TargetSpec.model_validate({"column": column, "kind": kind}))
        fitter.update(values)
        return fitter.finish()

    def knows(self, values: np.ndarray) -> np.ndarray:
        """(rows,) labels -> (rows,) whether each is one that training showed; a number always is."""
        if self.classes is None:
            return np.ones(len(values), bool)
        classes = {str(label) for label in self.classes}
        places, texts = text_codes(self.column, values)
        return np.asarray(np.array([self.clean(text) in classes for text in texts])[places])

    def encode(self, values: np.ndarray) -> np.ndarray:
        """(rows,) labels -> (rows,) int64 classes or float32 numbers; sequences (rows, width) float32.

        Raises DataError naming the first bad row.
        """
        return self._numbers(values) if self.classes is None else self._classes(values)

    def decode(self, outputs: np.ndarray) -> list[Label]:
        """Model outputs (rows, units) -> a label per row; one unit is the probability of the second class."""
        if self.classes is None:
            rows = outputs.reshape(len(outputs), -1)
            return [float(value) for value in rows[:, 0]] if self.width is None else list(rows.astype(float).tolist())
        if outputs.shape[-1] == 1:
            best = (outputs.reshape(-1) > 0.5).astype(int)
        else:
            best = outputs.argmax(axis=-1)
        return [self.classes[index] for index in best]

    def clean(self, text: str | None) -> str | None:
        """A label of `as_texts` as the classes have it."""
        if text is None:
            return None
        text = text.strip(self.strip + " \t") if self.strip else text
        return self.labels.get(text, text) or None

    def _numbers(self, values: np.ndarray) -> np.ndarray:
        numbers = as_numbers(self.column, values)
        if numbers.shape[1:] != (() if self.width is None else (self.width,)):
            expected = "one number" if self.width is None else f"{self.width} numbers"
            raise DataError(f"target {self.column!r} has shape {numbers.shape[1:]} per row, expected {expected}")
        bad = np.flatnonzero(~np.isfinite(numbers.reshape(-1)))
        if bad.size:
            raise BadValue(f"target {self.column!r} has no finite number in row ", row_of(values, bad[0]), FIX)
        return numbers.astype(np.float32)

    def _classes(self, values: np.ndarray) -> np.ndarray:
        if values.ndim != 1:
            raise DataError(f"target {self.column!r} has shape {values.shape[1:]} per row, expected one label")
        known = {str(label): code for code, label in enumerate(self.classes or ())}
        places, texts = text_codes(self.column, values)
        cleaned = [self.clean(text) for text in texts]
        codes = np.array([-1 if text is None else known.get(text, -1) for text in cleaned], np.int64)[places]
        bad = np.flatnonzero(codes < 0)
        if bad.size:
            text = cleaned[places[bad[0]]]
            what = "no value" if text is None else f"{text!r}, which the training part never shows,"
            raise BadValue(f"target {self.column!r} has {what} in row ", int(bad[0]) + 1, FIX)
        return np.asarray(codes)


class TargetFitter:
    """Learns the classes, or how many numbers a row has, block by block."""

    def __init__(self, spec: TargetSpec) -> None:
        self._spec = spec
        self._blank = FittedTarget(column=spec.column, strip=spec.strip, labels=spec.labels)
        self._width: int | None = None
        self._labels = Counts(spec.column, "that is no class; set data.target.kind=number", limit=MAX_CLASSES)

    def update(self, values: np.ndarray) -> None:
        if self._spec.kind == "number":
            self._width = values.shape[1] if values.ndim == 2 else None
            return
        if values.ndim != 1:
            raise DataError(f"target {self._spec.column!r} has shape {values.shape[1:]} per row, expected one label")
        places, texts = text_codes(self._spec.column, values)
        counts = np.bincount(places, minlength=len(texts)).tolist()
        cleaned = [(self._blank.clean(text), count) for text, count in zip(texts, counts, strict=True)]
        known = [(text, count) for text, count in cleaned if text is not None]
        self._labels.add([text for text, _ in known], [count for _, count in known])

    def merge(self, other: "TargetFitter") -> None:
        self._width = self._width or other._width
        self._labels.merge(other._labels)

    def finish(self) -> FittedTarget:
        """Whole numbers become ints in numeric order; everything else stays text, in text order."""
        if self._spec.kind == "number":
            return self._blank.model_copy(update={"width": self._width})
        labels: set[Any] = set(self._labels.counts)
        if all(re.fullmatch("0|-?[1-9][0-9]*", label) for label in labels):
            labels = {int(label) for label in labels}
        return self._blank.model_copy(update={"classes": tuple(sorted(labels))})
