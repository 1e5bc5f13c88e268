"""Raw columns <-> JSON rows, for every kind of feature."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from configs.errors import DataError
from configs.preprocessing.categories import joined
from configs.preprocessing.values import BadValue, Columns, as_numbers, objects, text_array


def plain_columns(columns: Columns, features: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The columns as they come out of JSON: numbers as float64; categories, dates and texts as text.

    features: specs or fitted features by column. Raises DataError naming the row.
    """
    plain = dict(columns)
    for name, feature in features.items():
        if feature.kind == "number":
            plain[name] = as_numbers(name, columns[name])
        elif feature.kind in {"category", "date", "text"}:
            several = getattr(feature, "encode", "") == "multi_hot"
            plain[name] = text_array(name, joined(columns[name], feature.separator) if several else columns[name])
    return plain


def json_column(name: str, values: list[Any], fitted: Any) -> np.ndarray:
    """The values of one feature in JSON rows -> its raw column. Raises DataError."""
    if fitted.kind in {"tensor", "image"}:
        try:
            return np.array(values, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise DataError(f"column {name!r}: expected an array of numbers of one shape in every row") from error
    width = getattr(fitted, "width", None)
    if width is None:
        return objects(values)
    for row, value in enumerate(values, 1):
        if not isinstance(value, list) or len(value) != width:
            raise BadValue(f"column {name!r}, row ", row, f": got {value!r:.60}, expected a list of {width} values")
    window = np.empty((len(values), width), object)
    window[:] = values
    return window


def describe(fitted: Any) -> dict[str, Any]:
    """What a JSON row holds for a fitted feature: its kind, in words, and the shape of an array."""
    shape = list(fitted.shape) if fitted.kind in {"tensor", "image"} else []
    width = getattr(fitted, "width", None)
    one = _one_value(fitted)
    holds = f"numbers in nested lists of shape {tuple(shape)}" if shape else f"{one}, or null"
    if width is not None:
        shape, holds = [width], f"a list of {width}, oldest first, each {one} or null"
    return {"kind": fitted.kind, "holds": holds, **({"shape": shape} if shape else {})}


def _one_value(fitted: Any) -> str:
    if fitted.kind == "date":
        return f"a date as text, {' or '.join([*fitted.formats, 'ISO 8601 such as 2024-01-31T12:00:00'])}"
    if fitted.kind == "category" and fitted.encode == "multi_hot":
        return f"a list of texts, or one text with {fitted.separator!r} between them"
    return {"number": "a number", "category": "text", "text": "text"}.get(fitted.kind, "numbers")
