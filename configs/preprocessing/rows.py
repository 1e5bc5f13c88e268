"""Raw columns -> plain ones, by the rules of the job and what each is used for; and JSON rows -> raw columns.

The only place where the rules meet a value: what is fitted, transformed, split and encoded is plain.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from configs.data import DataSpec
from configs.errors import DataError
from configs.preprocessing.categories import joined
from configs.preprocessing.raw import objects
from configs.preprocessing.values import FIX, BadValue, Columns, as_numbers, exact_texts, text_array, text_codes
from configs.rules import ValueRules


def plain_features(columns: Columns, features: Mapping[str, Any], rules: ValueRules) -> dict[str, np.ndarray]:
    """The columns as they come out of JSON: numbers as float64; categories, dates and texts as text or None.

    features: specs or fitted features by column. Plain columns stay as they are. Raises DataError naming the row.
    """
    plain = dict(columns)
    for name, feature in features.items():
        values = columns[name]
        if feature.kind == "number":
            plain[name] = as_numbers(name, values, rules)
        elif feature.kind == "date":
            plain[name] = text_array(name, values, rules.of_dates)
        elif feature.kind in {"category", "text"}:
            several = getattr(feature, "encode", "") == "multi_hot"
            values = joined(values, feature.separator) if several else values
            plain[name] = text_array(name, values, rules, exact=feature.kind == "text")
    return plain


def plain_columns(columns: Columns, data: DataSpec) -> dict[str, np.ndarray]:
    """All columns of a job as `plain_features` gives its features; the id as text, without a change.

    Raises DataError naming the row, among them the first one without a label.
    """
    rules, target = data.read, data.target.column
    plain = plain_features(columns, data.features, rules)
    names = {*data.columns, target}
    left = {name for name in names if name in columns and name not in data.features}
    if data.sample_weight in left:
        plain[data.sample_weight] = as_numbers(data.sample_weight, columns[data.sample_weight], rules)
    if data.id in left:
        plain[data.id] = exact_texts(data.id, columns[data.id], rules)
    if target in left:
        plain[target] = _plain_target(columns[target], data)
    group = data.split.column if data.split.by == "group" else None
    for name in left - {data.sample_weight, data.id, target}:
        in_order = name not in {group, data.window.group if data.window else None}
        plain[name] = plain_order(name, columns[name], rules) if in_order else text_array(name, columns[name], rules)
    return plain


def plain_order(name: str, values: np.ndarray, rules: ValueRules) -> np.ndarray:
    """A column to sort or split by: numbers stay numbers, dates stay dates or become text or None."""
    if values.dtype.kind != "O":
        return values
    known = [value for value in values.reshape(-1).tolist() if value is not None]
    if not any(isinstance(value, int | float) for value in known):
        return text_array(name, values, rules.of_dates)
    return as_numbers(name, values, rules)


def _plain_target(values: np.ndarray, data: DataSpec) -> np.ndarray:
    name, rules = data.target.column, data.read
    if data.target.kind == "number":
        return as_numbers(name, values, rules)
    if values.ndim != 1:
        return values
    labels = text_array(name, values, rules)
    if data.target.kind == "multi_label":  # where a cell without a label is a row without labels
        return labels
    missing = np.flatnonzero(labels == None)  # noqa: E711 (of each value)
    if missing.size and data.bad_rows == "raise" and data.window is None:
        why = why_missing(values[missing[0]], rules)
        fix = f": {values[missing[0]]!r} {why}, or leave such rows out with data.bad_rows: skip" if why else FIX
        raise BadValue(f"target {name!r} has no value in row ", int(missing[0]) + 1, fix)
    return labels


def why_missing(value: Any, rules: ValueRules) -> str:
    """What to do about a text that counts as missing; nothing where there is no text."""
    if not isinstance(value, str) or not value.strip():
        return ""
    if value.strip() in rules.missing:
        return "counts as missing by data.read.missing; take it from there if it is a label"
    return "counts as missing; if it is a label, set data.read.default_missing: false"


def missing_labels(values: np.ndarray, data: DataSpec) -> list[tuple[str, np.ndarray]]:
    """Why each label is missing that is: a reason, and a mask of its rows; first those that have no text at all."""
    name, rules = data.target.column, data.read
    missing = text_array(name, values, rules) == None  # noqa: E711 (of each value)
    if not missing.any():
        return []
    places, texts = text_codes(name, values, exact=True)
    found: dict[str, np.ndarray] = {f"the target {name!r} is missing": np.zeros(len(values), bool)}
    for code in np.unique(places[missing]).tolist():
        why = why_missing(texts[code], rules)
        reason = (
            f"the target {name!r} of all of them reads {texts[code]!r}: a whole class may be gone. It {why}"
            if why
            else next(iter(found))
        )
        found[reason] = found.get(reason, False) | (missing & (places == code))
    return list(found.items())


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
        return f"a date, {' or '.join([*fitted.formats, 'a text in ISO 8601 such as 2024-01-31T12:00:00'])}"
    if fitted.kind == "category" and fitted.encode == "multi_hot":
        return f"a list of texts, or one text with {fitted.separator!r} between them"
    return {"number": "a number", "category": "text", "text": "text"}.get(fitted.kind, "numbers")
