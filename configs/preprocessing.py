"""Fitted preprocessing: raw columns -> model inputs, and model outputs -> labels.

One document of plain JSON, fitted on the training part, that travels with the registered model: training, `predict`
and the endpoint all call `Preprocessing.transform`. Knows nothing about files, Keras or HTTP.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from configs.data import TABLE, CategoryFeature, DataSpec, NumberFeature, TensorFeature
from configs.errors import DataError
from configs.spec import Spec

Columns = Mapping[str, np.ndarray]
"""Raw rows by column: each array has the rows as its first axis; text is object dtype with None where missing."""

UNSEEN, MISSING, FIRST_SEEN = 0, 1, 2
MISSING_TEXTS = frozenset(
    [
        *("", "null", "NULL", "NA", "N/A", "n/a", "nan", "NaN", "-nan", "-NaN"),
        *("#N/A", "#N/A N/A", "#NA", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
    ]
)
"""Texts that mean a missing value, in a CSV file as in the text of a pandas column or a JSON row."""
TRUTH = {"true": "True", "TRUE": "True", "false": "False", "FALSE": "False"}
"""One spelling for what is true in JSON, True in pandas and TRUE in a spreadsheet."""
WHOLE_FLOAT = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0")
"""How pandas writes a whole number in a column that lacks some values; not 007.0, not 3.10."""
LARGEST = float(np.finfo(np.float32).max)
"""What a model input can hold."""


class Scaling(Spec):
    """(value - shift) / unit, in float64."""

    shift: float = 0.0
    unit: float = 1.0

    @classmethod
    def fit(cls, values: np.ndarray, scale: str) -> "Scaling":
        if scale == "none":
            return cls()
        shift, unit = (values.mean(), values.std()) if scale == "standard" else (values.min(), np.ptp(values))
        # The mean of equal values is off by rounding: what is left is no spread, and dividing by it would blow it up.
        constant = unit <= 1e-14 * np.abs(values).max()
        return cls(shift=float(shift), unit=1.0 if constant else float(unit))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        return (values - self.shift) / self.unit


class FittedNumber(Spec):
    """A number column: what fills a missing value, then scaling."""

    kind: Literal["number"] = "number"
    fill: float
    scaling: Scaling

    @classmethod
    def fit(cls, column: str, values: np.ndarray, spec: NumberFeature) -> "FittedNumber":
        numbers = as_numbers(column, values)
        known = numbers[~np.isnan(numbers)]
        if isinstance(spec.fill, float):
            fill = spec.fill
        elif known.size == 0:
            raise DataError(
                f"column {column!r} has no value in the training part, so its {spec.fill} is not defined. "
                "Give a constant fill or remove the feature"
            )
        else:
            fill = float(np.mean(known) if spec.fill == "mean" else np.median(known))
        filled = np.where(np.isnan(numbers), fill, numbers)
        return cls(fill=fill, scaling=Scaling.fit(filled, spec.scale))

    def transform(self, column: str, values: np.ndarray) -> np.ndarray:
        """(rows,) -> (rows,) float64. Raises DataError on a number that float32 cannot hold once it is scaled."""
        numbers = as_numbers(column, values)
        with np.errstate(over="ignore"):
            scaled = self.scaling(np.where(np.isnan(numbers), self.fill, numbers))
        _require_small(column, numbers, np.abs(scaled))
        return scaled


class FittedCategory(Spec):
    """A text column: 0 for unseen, 1 for missing, 2 + its place among the sorted training values, then scaling."""

    kind: Literal["category"] = "category"
    values: tuple[str, ...]
    scaling: Scaling

    @classmethod
    def fit(cls, column: str, values: np.ndarray, spec: CategoryFeature) -> "FittedCategory":
        seen = sorted({text for text in as_texts(column, values) if text is not None})
        plain = cls(values=tuple(seen), scaling=Scaling())
        return plain.model_copy(update={"scaling": Scaling.fit(plain.transform(column, values), spec.scale)})

    def transform(self, column: str, values: np.ndarray) -> np.ndarray:
        """(rows,) -> (rows,) float64."""
        codes: dict[str | None, int] = {text: code for code, text in enumerate(self.values, FIRST_SEEN)}
        codes[None] = MISSING
        return self.scaling(np.array([codes.get(text, UNSEEN) for text in as_texts(column, values)], np.float64))


class FittedTensor(Spec):
    """An array per row of a fixed shape."""

    kind: Literal["tensor"] = "tensor"
    shape: tuple[int, ...]
    """Without the rows axis."""
    divide_by: float

    @classmethod
    def fit(cls, column: str, values: np.ndarray, spec: TensorFeature) -> "FittedTensor":
        if values.dtype == object or values.ndim < 2:
            raise DataError(f"column {column!r}: a tensor feature needs one array of equal shape per row")
        return cls(shape=values.shape[1:], divide_by=spec.divide_by)

    def transform(self, column: str, values: np.ndarray) -> np.ndarray:
        """(rows, *shape) -> (rows, *shape) float32."""
        try:
            tensor = np.asarray(values, np.float32)
        except (TypeError, ValueError) as error:
            raise DataError(f"column {column!r}: expected numbers of shape {self.shape} in each row") from error
        if tensor.shape[1:] != self.shape:
            raise DataError(f"column {column!r}: got shape {tensor.shape[1:]} per row, expected {self.shape}")
        if not np.isfinite(tensor).all():
            row = int(np.argwhere(~np.isfinite(tensor))[0][0])
            raise DataError(
                f"column {column!r}, row {row + 1}: holds a value that is not finite; mend or remove the row"
            )
        return tensor / np.float32(self.divide_by)


Fitted = Annotated[FittedNumber | FittedCategory | FittedTensor, Field(discriminator="kind")]


class FittedTarget(Spec):
    """Labels to integers 0..K-1 and back, or numbers as they are."""

    column: str
    classes: tuple[int | str, ...] | None = None
    """Labels in sorted order; None for regression."""

    @classmethod
    def fit(cls, values: np.ndarray, column: str, kind: str) -> "FittedTarget":
        if kind == "number":
            return cls(column=column)
        labels: set[Any] = {text for text in as_texts(column, values) if text is not None}
        if all(re.fullmatch("0|-?[1-9][0-9]*", label) for label in labels):
            labels = {int(label) for label in labels}
        return cls(column=column, classes=tuple(sorted(labels)))

    def encode(self, values: np.ndarray) -> np.ndarray:
        """(rows,) labels -> (rows,) int64 classes or float32 numbers. Raises DataError naming the first bad row."""
        if self.classes is None:
            numbers = as_numbers(self.column, values)
            bad = np.flatnonzero(~np.isfinite(numbers))
            if bad.size:
                raise DataError(
                    f"target {self.column!r} has no finite number in row {bad[0] + 1}; mend or remove the row"
                )
            return numbers.astype(np.float32)
        codes = {str(label): code for code, label in enumerate(self.classes)}
        texts = as_texts(self.column, values)
        for row, text in enumerate(texts, 1):
            if text not in codes:
                what = "no value" if text is None else f"{text!r}, which the training part never shows,"
                raise DataError(f"target {self.column!r} has {what} in row {row}; mend or remove the row")
        return np.array([codes[text] for text in texts if text is not None], np.int64)

    def decode(self, outputs: np.ndarray) -> list[int | str | float]:
        """Model outputs (rows, units) -> a label per row; one unit is the probability of the second class."""
        if self.classes is None:
            return [float(value) for value in outputs.reshape(len(outputs), -1)[:, 0]]
        if outputs.shape[-1] == 1:
            best = (outputs.reshape(-1) > 0.5).astype(int)
        else:
            best = outputs.argmax(axis=-1)
        return [self.classes[index] for index in best]


class Preprocessing(Spec):
    """What the training part taught: everything needed to turn raw rows into model inputs anywhere."""

    features: dict[str, Fitted]
    target: FittedTarget
    id: str | None = None

    @classmethod
    def fit(cls, columns: Columns, spec: DataSpec) -> "Preprocessing":
        """Fit on the training rows only."""
        fitters: dict[str, Any] = {"number": FittedNumber, "category": FittedCategory, "tensor": FittedTensor}
        features = {
            name: fitters[feature.kind].fit(name, columns[name], feature) for name, feature in spec.features.items()
        }
        target = FittedTarget.fit(columns[spec.target.column], spec.target.column, spec.target.kind)
        return cls(features=features, target=target, id=spec.id)

    def transform(self, columns: Columns) -> dict[str, np.ndarray]:
        """Raw columns -> {input name: float32 array}; scalars side by side in `table` (rows, features).

        Raises DataError naming the column that is missing or the row that is wrong.
        """
        absent = [name for name in self.features if name not in columns]
        if absent:
            raise DataError(f"column {absent[0]!r} is missing; got {', '.join(columns) or 'no columns'}")
        done = {name: fitted.transform(name, columns[name]) for name, fitted in self.features.items()}
        scalars = [done[name] for name, fitted in self.features.items() if fitted.kind != "tensor"]
        inputs = {name: done[name] for name, fitted in self.features.items() if fitted.kind == "tensor"}
        if scalars:
            inputs[TABLE] = np.stack(scalars, axis=1).astype(np.float32)
        return inputs

    def columns_of(self, rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
        """JSON rows -> raw columns. Raises DataError naming the row that lacks a feature."""
        for number, row in enumerate(rows, 1):
            absent = [name for name in self.features if name not in row]
            if absent:
                raise DataError(f"row {number} lacks {absent[0]!r}; give null where the value is not known")
        return {name: self._column([row[name] for row in rows], name) for name in self.features}

    def _column(self, values: list[Any], name: str) -> np.ndarray:
        if self.features[name].kind != "tensor":
            return np.fromiter(values, dtype=object, count=len(values))
        try:
            return np.array(values, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise DataError(f"column {name!r}: expected an array of numbers of one shape in every row") from error


def _require_small(column: str, numbers: np.ndarray, sizes: np.ndarray) -> None:
    """Raise DataError naming the first row whose size (NaN for a missing one) is more than float32 can hold."""
    bad = np.flatnonzero(sizes > LARGEST)
    if bad.size:
        raise DataError(
            f"column {column!r}, row {bad[0] + 1}: {numbers[bad[0]]:g} is too large; mend or remove the row"
        )


def as_numbers(column: str, values: np.ndarray) -> np.ndarray:
    """(rows,) of numbers, numeric text or None -> float64, missing as NaN. Raises DataError naming the row."""
    _require_scalars(column, values)
    if values.dtype.kind in "mM":
        raise DataError(f"column {column!r} holds dates or durations; make it a category, or a number before training")
    if values.dtype.kind in "iuf":
        numbers = values.astype(np.float64)
    else:
        listed = enumerate(values.tolist(), 1)
        numbers = np.array([_as_number(column, row, value) for row, value in listed], np.float64)
    bad = np.flatnonzero(np.isinf(numbers))
    if bad.size:
        raise DataError(f"column {column!r}, row {bad[0] + 1}: got an infinite value; mend or remove the row")
    _require_small(column, numbers, np.abs(numbers))
    return numbers


def _as_number(column: str, row: int, value: Any) -> float:
    if value is None:
        return np.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"column {column!r}, row {row}: got {value!r:.60}, expected a number") from error


def as_texts(column: str, values: np.ndarray) -> list[str | None]:
    """(rows,) -> texts, one for the same value in CSV, JSON and pandas: 3, 3.0 and '3.0' give '3', true and 'true'
    give 'True', None, NaN and MISSING_TEXTS give None. Every other text stays as it is.

    Raises DataError naming the row that holds a list or an object.
    """
    _require_scalars(column, values)
    if values.dtype.kind == "M":
        texts = np.datetime_as_string(values, unit="auto").tolist()
        return [None if text == "NaT" else text for text in texts]
    return [_as_text(column, row, value) for row, value in enumerate(values.tolist(), 1)]


def _as_text(column: str, row: int, value: Any) -> str | None:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, list | tuple | dict | np.ndarray):
        raise DataError(f"column {column!r}, row {row}: got {value!r:.60}, expected text or a number")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value)
    if text in MISSING_TEXTS:
        return None
    whole = WHOLE_FLOAT.fullmatch(text)
    return str(int(whole[1])) if whole else TRUTH.get(text, text)


def _require_scalars(column: str, values: np.ndarray) -> None:
    if values.ndim != 1:
        raise DataError(
            f"column {column!r} has shape {values.shape[1:]} per row, expected one value; "
            "only a tensor feature takes arrays"
        )
