"""The target: labels to integers or to an output each and back, or numbers, one or several per row."""

import re
from functools import cached_property
from typing import Any, Literal

import numpy as np
from pydantic import model_validator

from configs.errors import DataError
from configs.features import TargetSpec
from configs.preprocessing.cells import Lookup
from configs.preprocessing.hot import hot
from configs.preprocessing.sketches import Counts
from configs.preprocessing.target_values import SEPARATOR
from configs.preprocessing.values import FIX, BadValue, as_numbers, row_of, text_codes
from configs.spec import Spec

Label = int | str | float | list[int | str] | list[float]
"""What a row's prediction is: a class, a number, the labels of a row, or several numbers."""
MAX_CLASSES = 100_000
SUM_TOLERANCE = 1e-3
"""How far the probabilities of a row may be from adding up to 1."""
EXPECTED = {
    "number": "finite numbers",
    "one_hot": "one 1 and 0 elsewhere (or probabilities that add up to 1). For several labels a row use "
    "data.target.kind=multi_label with train.loss=binary_crossentropy",
    "multi_label": "0 or 1 for every label. For numbers use data.target.kind=number and train.loss=mean_squared_error",
}


def misfits(kind: str, numbers: np.ndarray) -> np.ndarray:
    """(rows, k) numbers of a target -> (rows,) whether a row is not what the kind expects."""
    if kind == "multi_label":
        return np.asarray(~((numbers == 0) | (numbers == 1)).all(axis=1))
    finite = np.isfinite(numbers).all(axis=1)
    if kind == "number":
        return np.asarray(~finite)
    with np.errstate(invalid="ignore"):
        return np.asarray(~finite | (numbers < 0).any(axis=1) | ~(np.abs(numbers.sum(axis=1) - 1) <= SUM_TOLERANCE))


class FittedTarget(Spec):
    """Labels to integers 0..K-1, or to K outputs, and back; or numbers as they are."""

    column: str
    kind: Literal["class", "number", "one_hot", "multi_label"] = "class"
    classes: tuple[int | str, ...] | None = None
    """Labels in sorted order, or in that of the raw numbers; None for regression."""
    strip: str = ""
    """Removed from both ends of a label, with spaces."""
    labels: dict[str, str] = {}
    """Label to the one used instead, after `strip`."""
    width: int | None = None
    """Numbers per row in the raw rows, where there are several; None where a row holds a label, or one number."""
    columns: tuple[str, ...] | None = None
    """The raw columns, where there are several."""
    separator: str = SEPARATOR
    """Stands between the labels of one cell."""

    @model_validator(mode="before")
    @classmethod
    def _kind_of_older_documents(cls, value: Any) -> Any:
        if isinstance(value, dict) and "kind" not in value:
            return value | {"kind": "number" if value.get("classes") is None else "class"}
        return value

    @classmethod
    def fit(cls, values: np.ndarray, column: str, kind: str) -> "FittedTarget":
        fitter = TargetFitter(TargetSpec.model_validate({"column": column, "kind": kind}))
        fitter.update(values)
        return fitter.finish()

    def knows(self, values: np.ndarray) -> np.ndarray:
        """(rows,) labels -> (rows,) whether all of a row's labels were shown in training; a number always is."""
        if self.classes is None or values.ndim == 2:
            return np.ones(len(values), bool)
        places, texts = text_codes(self.column, values)
        nothing = [] if self.kind == "multi_label" else [""]
        known = [all(self._lookup(part) is not None for part in self._parts(text) or nothing) for text in texts]
        return np.asarray(np.array(known)[places])

    def encode(self, values: np.ndarray) -> np.ndarray:
        """(rows,) labels -> (rows,) int64 classes or float32 numbers; (rows, outputs) float32 where a row has several.

        Raises DataError naming the first bad row.
        """
        if self.kind == "number" or self.width is not None:
            return self._numbers(values)
        if self.kind == "multi_label":
            return self._several(values)
        codes = self._classes(values)
        return hot(codes, len(self.classes or ())) if self.kind == "one_hot" else codes

    def counts(self, values: np.ndarray) -> np.ndarray:
        """(classes,) how many rows of labels are of each class, or have each label."""
        codes = self.encode(values)
        if codes.ndim == 2:
            return np.asarray(codes.sum(axis=0).round().astype(np.int64))
        return np.bincount(codes, minlength=len(self.classes or ()))

    def decode(self, outputs: np.ndarray) -> list[Label]:
        """Model outputs (rows, units) -> a label per row, or a list of those above one half (multi_label); one unit is
        the probability of the second class."""
        if self.classes is None:
            rows = outputs.reshape(len(outputs), -1)
            return [float(value) for value in rows[:, 0]] if self.width is None else list(rows.astype(float).tolist())
        if self.kind == "multi_label":
            return [[self.classes[place] for place in np.flatnonzero(row > 0.5)] for row in outputs]
        if outputs.shape[-1] == 1:
            best = (outputs.reshape(-1) > 0.5).astype(int)
        else:
            best = outputs.argmax(axis=-1)
        return [self.classes[index] for index in best]

    def answers(self, labels: list[Label], scores: np.ndarray) -> dict[str, Any]:
        """The columns of a table of predictions: the label, and where a row has several outputs each of them."""
        if self.kind == "class" or (self.kind == "number" and self.width is None):
            return {self.column: labels}
        names = self.columns or tuple(f"{self.column}_{one}" for one in self.classes or range(scores.shape[1]))
        each = {name: scores[:, place] for place, name in enumerate(names)}
        if self.kind == "number":
            return each
        if self.kind == "multi_label":
            return {
                self.column: [self.separator.join(map(str, row)) for row in labels if isinstance(row, list)],
                **each,
            }
        return {self.column: labels, **each}

    def clean(self, text: str | None) -> str | None:
        """A label of `as_texts` as the classes have it."""
        if text is None:
            return None
        text = text.strip(self.strip + " \t") if self.strip else text
        return self.labels.get(text, text) or None

    def _parts(self, text: str | None) -> list[str]:
        """The labels of a cell."""
        several = (text or "").split(self.separator) if self.kind == "multi_label" else [text]
        cleaned = [self.clean(part.strip() if part and self.kind == "multi_label" else part) for part in several]
        return [part for part in cleaned if part is not None]

    def _code(self, label: str | None) -> int | None:
        return None if label is None else self._lookup(label)

    @cached_property
    def _lookup(self) -> Lookup:
        return Lookup([str(label) for label in self.classes or ()])

    def _numbers(self, values: np.ndarray) -> np.ndarray:
        if values.shape[1:] != (() if self.width is None else (self.width,)):
            expected = "one number" if self.width is None else f"{self.width} numbers"
            raise DataError(f"target {self.column!r} has shape {values.shape[1:]} per row, expected {expected}")
        if values.ndim == 1:
            numbers = as_numbers(self.column, values)
            bad = np.flatnonzero(~np.isfinite(numbers))
            if bad.size:
                raise BadValue(f"target {self.column!r} has no finite number in row ", row_of(values, bad[0]), FIX)
            return numbers.astype(np.float32)
        names = self.columns or (self.column,) * values.shape[1]
        numbers = np.stack([as_numbers(name, values[:, place]) for place, name in enumerate(names)], axis=1)
        bad = np.flatnonzero(misfits(self.kind, numbers))
        if bad.size:
            shown = ", ".join(f"{number:g}" for number in numbers[bad[0]][:10])
            missing = np.isnan(numbers[bad[0]]).any()
            expected = f"a value for each{FIX}" if missing else EXPECTED[self.kind]
            what = f": got [{shown}{', ...' if numbers.shape[1] > 10 else ''}], expected {expected}"
            raise BadValue(f"target {self.column!r}, row ", int(bad[0]) + 1, what)
        return numbers.astype(np.float32)

    def _several(self, values: np.ndarray) -> np.ndarray:
        places, texts = text_codes(self.column, values)
        table = np.zeros((len(texts), len(self.classes or ())), np.float32)
        unknown: dict[int, str] = {}
        for row, text in enumerate(texts):
            for part in self._parts(text):
                place = self._lookup(part)
                if place is None:
                    unknown[row] = part
                else:
                    table[row, place] = 1
        bad = np.flatnonzero(np.isin(places, list(unknown)))
        if bad.size:
            what = f"{unknown[int(places[bad[0]])]!r}, which the training part never shows,"
            raise BadValue(f"target {self.column!r} has {what} in row ", int(bad[0]) + 1, FIX)
        return np.asarray(table[places])

    def _classes(self, values: np.ndarray) -> np.ndarray:
        if values.ndim != 1:
            raise DataError(f"target {self.column!r} has shape {values.shape[1:]} per row, expected one label")
        places, texts = text_codes(self.column, values)
        cleaned = [self.clean(text) for text in texts]
        known = [self._code(text) for text in cleaned]
        codes = np.array([-1 if code is None else code for code in known], np.int64)[places]
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
        self._blank = FittedTarget(
            column=spec.column,
            kind=spec.kind,
            strip=spec.strip,
            labels=spec.labels,
            columns=spec.columns,
            separator=spec.separator or SEPARATOR,
        )
        self._width: int | None = None
        self._seen = np.zeros(0)
        """Of each place of a row's numbers, what they add up to."""
        self._labels = Counts(spec.column, "that is no class; set data.target.kind=number", limit=MAX_CLASSES)

    def update(self, values: np.ndarray) -> None:
        kind = self._spec.kind
        if values.ndim == 2 and kind != "class":
            self._update_numbers(values)
        elif kind != "number":
            self._update_labels(values)

    def _update_numbers(self, values: np.ndarray) -> None:
        self._require_width(values.shape[1])
        if self._spec.kind != "number":
            numbers = self._blank.model_copy(update={"width": values.shape[1]}).encode(values)
            self._seen = self._seen + numbers.sum(axis=0, dtype=np.float64)

    def _require_width(self, width: int) -> None:
        name = self._spec.column
        if self._width not in (None, width):
            raise DataError(f"target {name!r} has {width} numbers in some rows and {self._width} in others")
        if self._spec.classes is not None and len(self._spec.classes) != width:
            raise DataError(
                f"target {name!r} has {width} numbers per row, but data.target.classes has {len(self._spec.classes)} "
                f"names; give {width}"
            )
        if self._width is None:
            self._width, self._seen = width, np.zeros(width)

    def _update_labels(self, values: np.ndarray) -> None:
        if values.ndim != 1:
            raise DataError(
                f"target {self._spec.column!r} has shape {values.shape[1:]} per row, expected one label; set "
                "data.target.kind to one_hot, multi_label or number"
            )
        places, texts = text_codes(self._spec.column, values)
        counts = np.bincount(places, minlength=len(texts)).tolist()
        for text, count in zip(texts, counts, strict=True):
            parts = self._blank._parts(text)
            self._labels.add(parts, [count] * len(parts))

    def merge(self, other: "TargetFitter") -> None:
        if other._width is not None:
            self._require_width(other._width)
            self._seen = self._seen + other._seen
        self._labels.merge(other._labels)

    def finish(self) -> FittedTarget:
        """Whole numbers become ints in numeric order; everything else stays text, in text order.

        Raises DataError where there is nothing to learn.
        """
        if self._spec.kind == "number":
            return self._blank.model_copy(update={"width": self._width})
        if self._width is not None:
            return self._blank.model_copy(update={"width": self._width, "classes": self._named_places(self._width)})
        labels: set[Any] = set(self._labels.counts)
        if all(re.fullmatch("0|-?[1-9][0-9]*", label) for label in labels):
            labels = {int(label) for label in labels}
        return self._blank.model_copy(update={"classes": tuple(sorted(labels))})

    def _named_places(self, width: int) -> tuple[int | str, ...]:
        names: tuple[int | str, ...] = self._spec.columns or self._spec.classes or tuple(range(width))
        shown = [name for name, seen in zip(names, self._seen, strict=True) if seen]
        if len(shown) < (2 if self._spec.kind == "one_hot" else 1):
            what = f"one class, {shown[0]!r}," if shown else "no label"
            raise DataError(f"target {self._spec.column!r} has {what} in the training part; there is nothing to learn")
        return names
