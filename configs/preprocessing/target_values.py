"""The target as one array, whatever carries it: a column, several columns, an array or a list per row."""

from typing import Any

import numpy as np

from configs.errors import DataError
from configs.features import TargetSpec
from configs.preprocessing.raw import objects
from configs.preprocessing.values import Columns

SEPARATOR = "|"
LISTS = (list, tuple, np.ndarray)


def with_target(columns: Columns, spec: TargetSpec) -> dict[str, np.ndarray]:
    """The columns, and under `spec.column` the target: (rows,) labels or numbers, or (rows, k) numbers.

    Raises DataError where a row's target is not one value or one list.
    """
    found = _side_by_side(columns, spec) if spec.columns else _of_one(columns[spec.column], spec)
    if found.ndim > 2:
        raise DataError(
            f"target {spec.column!r} has shape {found.shape[1:]} per row; expected one value, or one list of values"
        )
    return {**columns, spec.column: found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found}


def _side_by_side(columns: Columns, spec: TargetSpec) -> np.ndarray:
    arrays = [columns[name] for name in spec.columns or ()]
    deep = next((name for name, array in zip(spec.columns or (), arrays, strict=True) if array.ndim > 1), None)
    if deep is not None:
        raise DataError(f"column {deep!r} of data.target.columns holds arrays; name it alone in data.target.column")
    plain = all(array.dtype.kind in "iufb" for array in arrays)
    return np.stack([array.astype(np.float64 if plain else object) for array in arrays], axis=1)


def _of_one(values: np.ndarray, spec: TargetSpec) -> np.ndarray:
    if values.dtype != object or values.ndim != 1 or not any(isinstance(value, LISTS) for value in values):
        return values
    if spec.kind == "multi_label" or spec.separator:
        numbers = _numbers(values)
        return _joined(values, spec) if numbers is None else numbers
    numbers = _numbers(values)
    if numbers is None:
        raise DataError(
            f"target {spec.column!r} holds lists of labels, or of different lengths; for labels set "
            "data.target.kind=multi_label, else make the lists equally long lists of numbers"
        )
    return numbers


def _numbers(values: np.ndarray) -> np.ndarray | None:
    """(rows, k) float64 where every list holds k numbers, a row without a list NaN; else None."""
    width = len(next(value for value in values if isinstance(value, LISTS)))
    if any(isinstance(value, LISTS) and len(value) != width for value in values) or not width:
        return None
    cells = [list(value) if isinstance(value, LISTS) else [np.nan] * width for value in values]
    if any(isinstance(cell, str | bytes | None) for row in cells for cell in row):
        return None
    try:
        return np.array(cells, np.float64)
    except (TypeError, ValueError):
        return None


def _joined(values: np.ndarray, spec: TargetSpec) -> np.ndarray:
    separator = spec.separator or SEPARATOR
    texts: list[Any] = []
    for value in values:
        labels = [str(one) for one in value] if isinstance(value, LISTS) else None
        odd = next((label for label in labels or () if separator in label), None)
        if odd is not None:
            raise DataError(
                f"target {spec.column!r}: the label {odd!r} holds {separator!r}, which stands between labels; give "
                "another data.target.separator"
            )
        texts.append(value if labels is None else separator.join(labels))
    return objects(texts)
