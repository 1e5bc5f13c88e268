"""`Preprocessing`, the fitted document, and `Fitter`, which learns it from blocks of training rows."""

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from configs.data import DataSpec, WindowSpec
from configs.errors import DataError
from configs.features import TABLE
from configs.preprocessing.categories import CategoryFitter, FittedCategory
from configs.preprocessing.dates import DateFitter, FittedDate
from configs.preprocessing.numbers import FittedNumber, NumberFitter
from configs.preprocessing.rows import json_column, plain_columns, plain_features, plain_order
from configs.preprocessing.targets import FittedTarget, TargetFitter
from configs.preprocessing.tensors import FittedTensor, TensorFitter
from configs.preprocessing.texts import FittedText, TextFitter
from configs.preprocessing.values import Columns, text_array
from configs.preprocessing.windows import window_starts
from configs.source import Format, ReadSpec
from configs.spec import Spec

Fitted = Annotated[
    FittedNumber | FittedCategory | FittedDate | FittedText | FittedTensor,
    Field(discriminator="kind"),
]


class Preprocessing(Spec):
    """What the training part taught: everything needed to turn raw rows into model inputs anywhere."""

    features: dict[str, Fitted]
    target: FittedTarget
    id: str | None = None
    window: WindowSpec | None = None
    """How raw rows of a series become the rows that `transform` takes."""
    format: Format | None = None
    """Of the files that it was trained on; files to predict are of the same kind."""
    read: ReadSpec = ReadSpec()
    dates: dict[str, tuple[str, ...]] = {}
    """How dates are written in the column that a series is sorted by, beside ISO 8601."""

    @classmethod
    def fit(cls, columns: Columns, spec: DataSpec, labels: np.ndarray | None = None) -> "Preprocessing":
        """Fit on raw training rows only. labels: of the target, where they are not its column (a series' windows)."""
        fitter = Fitter(spec)
        fitter.update(plain_columns(columns, spec), labels)
        return fitter.finish()

    def transform(self, columns: Columns) -> dict[str, np.ndarray]:
        """Raw columns -> {input name: array}.

        `table` holds the scalar features side by side, (rows[, width], columns) float32. A text is an input of its
        own, (rows, length) int32, as are a category with as_input, (rows, width or 1) int32, and an image or tensor,
        (rows, *shape) float32. Raises DataError naming the column that is missing or the row that is wrong.
        """
        absent = [name for name in self.features if name not in columns]
        if absent:
            raise DataError(f"column {absent[0]!r} is missing; got {', '.join(columns) or 'no columns'}")
        return self._inputs(plain_features(columns, self.features, self.read))

    def _inputs(self, columns: Columns) -> dict[str, np.ndarray]:
        """What `transform` gives of plain columns."""
        inputs = {
            name: fitted.transform(name, columns[name])
            for name, fitted in self.features.items()
            if table_columns(fitted) is None
        }
        scalars = {name: fitted for name, fitted in self.features.items() if table_columns(fitted) is not None}
        if scalars:
            inputs[TABLE] = _side_by_side(scalars, columns)
        return inputs

    def transform_most(self, columns: Columns) -> tuple[dict[str, np.ndarray], dict[str, FittedTensor]]:
        """What `transform` gives of plain columns, but images and tensors of bytes as they are, and what each of these
        is still to go through: float32 takes four times the memory."""
        later = {
            name: fitted
            for name, fitted in self.features.items()
            if isinstance(fitted, FittedTensor) and columns[name].dtype == np.uint8
        }
        for name, fitted in later.items():
            fitted.require_shape(name, columns[name])
        now = {name: fitted for name, fitted in self.features.items() if name not in later}
        inputs = {name: columns[name] for name in later}
        return inputs | self.model_copy(update={"features": now})._inputs(columns), later

    @property
    def columns(self) -> list[str]:
        """All raw columns that a file to predict needs, each once."""
        window = [self.window.order, self.window.group] if self.window else []
        return list(dict.fromkeys([*self.features, *(name for name in [self.id, *window] if name)]))

    def examples_of(self, columns: Columns) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Raw rows of a file -> (what `transform` takes, the number of each one's last row).

        Those of a series become windows, each up to the row after which the prediction comes. Raises DataError.
        """
        if self.window is None:
            return {name: columns[name] for name in self.features}, np.arange(len(next(iter(columns.values()))))
        window, plain = self.window, plain_features(columns, self.features, self.read)
        if window.order is not None and window.order not in self.features:
            plain[window.order] = plain_order(window.order, columns[window.order], self.read)
        if window.group is not None:
            plain[window.group] = text_array(window.group, columns[window.group], self.read)
        rows = window_starts(plain, window, ahead=0, formats=self.dates.get(window.order or "", ()))
        return {name: columns[name][rows] for name in self.features}, rows[:, -1]

    def unseen(self, columns: Columns) -> dict[str, int]:
        """How many values of each category column training never showed; columns without one are left out."""
        counts = {
            name: fitted.unseen(name, plain_features(columns, {name: fitted}, self.read)[name])
            for name, fitted in self.features.items()
            if fitted.kind == "category" and fitted.encode != "hash"
        }
        return {name: count for name, count in counts.items() if count}

    def columns_of(self, rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
        """JSON rows -> raw columns. Raises DataError naming the row that lacks a feature."""
        for number, row in enumerate(rows, 1):
            absent = [name for name in self.features if name not in row]
            if absent:
                raise DataError(f"row {number} lacks {absent[0]!r}; give null where the value is not known")
        return {name: json_column(name, [row[name] for row in rows], fitted) for name, fitted in self.features.items()}


def table_columns(fitted: Any) -> int | None:
    """How many columns of the table a fitted feature gives; None where it is an input of its own."""
    if fitted.kind in {"text", "tensor", "image"} or getattr(fitted, "as_input", False):
        return None
    return int(fitted.outputs)


def _side_by_side(scalars: dict[str, Any], columns: Columns) -> np.ndarray:
    first = next(iter(scalars))
    shape = columns[first].shape
    table = np.empty((*shape, sum(fitted.outputs for fitted in scalars.values())), np.float32)
    start = 0
    for name, fitted in scalars.items():
        if columns[name].shape != shape:
            raise DataError(
                f"column {name!r} has shape {columns[name].shape[1:]} per row, {first!r} {shape[1:]}; columns of the "
                "table must be alike: make arrays a tensor feature"
            )
        # Into the table itself: one_hot may give thousands of columns.
        fitted.write(name, columns[name], table[..., start : start + fitted.outputs])
        start += fitted.outputs
    return table


FITTERS: dict[str, Any] = {
    "number": NumberFitter,
    "category": CategoryFitter,
    "date": DateFitter,
    "text": TextFitter,
    "image": TensorFitter,
    "tensor": TensorFitter,
}


def _dated(spec: DataSpec) -> dict[str, Any]:
    """The features, dates with the formats of their columns."""
    return {
        name: feature.model_copy(update={"formats": spec.formats_of(name)}) if feature.kind == "date" else feature
        for name, feature in spec.features.items()
    }


class Fitter:
    """Learns a Preprocessing from blocks of training rows, in one pass and bounded memory. Can be pickled."""

    def __init__(self, spec: DataSpec, *, rows: int = 0) -> None:
        """spec: without features of kind auto, which `infer` replaces. Raises DataError where there is one.

        rows: where it is one of several to be merged, of all of them: then it keeps no more than it must.
        """
        unknown = next((name for name, feature in spec.features.items() if feature.kind == "auto"), None)
        if unknown is not None:
            raise DataError(f"feature {unknown!r} is of kind auto; its kind must be inferred before it is fitted")
        self._target_column = spec.target.column
        # What else a file to predict needs; a format given by its short form stays the short form.
        order = spec.window.order if spec.window else None
        dates = {order: spec.formats_of(order)} if order and spec.formats_of(order) else {}
        self._fixed = {"id": spec.id, "window": spec.window, "format": spec.format, "read": spec.read, "dates": dates}
        self._features = {name: FITTERS[feature.kind](name, feature) for name, feature in _dated(spec).items()}
        self._target = TargetFitter(spec.target)
        for fitter in self._features.values():
            if isinstance(fitter, NumberFitter | DateFitter):
                fitter.expect(rows)

    def update(self, columns: Columns, labels: np.ndarray | None = None) -> None:
        """Learn from the next rows, as `plain_columns` gives them; labels as for `Preprocessing.fit`.

        Raises DataError naming the column, and the row of this block that is wrong.
        """
        for name, fitter in self._features.items():
            fitter.update(columns[name])
        self._target.update(columns[self._target_column] if labels is None else labels)

    def merge(self, other: "Fitter") -> None:
        """Add what another fitter of the same spec has learned."""
        for name, fitter in self._features.items():
            fitter.merge(other._features[name])
        self._target.merge(other._target)

    def finish(self) -> Preprocessing:
        """Raises DataError where a column has no value to learn from. Do not update the fitter afterwards."""
        features = {name: fitter.finish() for name, fitter in self._features.items()}
        return Preprocessing(features=features, target=self._target.finish(), **self._fixed)
