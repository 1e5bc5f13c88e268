"""`features: auto`: what kind a column is, by its values."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from configs.data import DataSpec
from configs.errors import DataError
from configs.features import (
    EVERY_OTHER,
    TABLE_KINDS,
    CategoryFeature,
    DateFeature,
    ImageFeature,
    NumberFeature,
    TensorFeature,
    TextFeature,
)
from configs.preprocessing.dates import as_dates
from configs.preprocessing.number_texts import advice, share_read
from configs.preprocessing.values import Columns, as_numbers, text_array, text_codes
from configs.rules import USUAL, ValueRules

SAMPLE_ROWS = 10_000
"""Values are looked at from the start of the column."""
MAX_CATEGORIES = 100
"""A text column with more distinct values is a text, or left out."""
MIN_COUNTED = 20
"""From so many rows on, whole numbers that rise by one are taken for a row number."""
WORDS = 3
"""A column of texts has at least so many words a row on average."""


def infer(columns: Columns, data: DataSpec) -> DataSpec:
    """Replace every feature of kind auto, and `*` by the columns that have no other part.

    Left out where `*` found it: a column that says nothing (one value only, or the number of the row), a different
    short text in every row, as a name is, and free text beside columns of a table, since it would be a model input of
    its own. Raises DataError when no feature is left, or a column named as auto fits no kind.
    """
    features: dict[str, Any] = {}
    others = [name for name in columns if name not in {*data.features, *_taken(data)}]
    for name, feature in data.features.items():
        if name == EVERY_OTHER:
            found = {other: kind_of(other, columns[other], data.read, data.dates.get(other, ())) for other in others}
            table = any(kind is not None and kind.kind in TABLE_KINDS for kind in found.values())
            features |= {
                other: kind
                for other, kind in found.items()
                if kind is not None and not (table and kind.kind == "text")
            }
        elif feature.kind == "auto":
            kind = kind_of(name, columns[name], data.read, data.dates.get(name, ()))
            if kind is None:
                raise DataError(f"feature {name!r}: its values fit no kind; give the kind, or remove the feature")
            features[name] = kind
        else:
            features[name] = feature
    if not features:
        raise DataError("features: auto found no column that could be a feature; name the features")
    return data.model_copy(update={"features": features})


def _taken(data: DataSpec) -> set[str]:
    return {*data.model_copy(update={"features": {}}).columns, data.target.column}


def kind_of(column: str, values: np.ndarray, rules: ValueRules = USUAL, formats: tuple[str, ...] = ()) -> Any:
    """The feature a column would be, or None where it says nothing. formats: of dates, where the job says so."""
    return DateFeature(formats=formats) if formats else _by_values(column, values, rules)


def _by_values(column: str, values: np.ndarray, rules: ValueRules) -> Any:
    if values.dtype != object and values.ndim in (3, 4):
        return ImageFeature() if values.dtype == np.uint8 else TensorFeature()
    if values.dtype != object and values.ndim == 2:
        return TensorFeature()
    sample = values[:SAMPLE_ROWS]
    if sample.dtype.kind == "M":
        return DateFeature()
    places, texts = text_codes(column, sample, rules.of_dates)
    distinct = len({texts[place] for place in np.unique(places)} - {None})
    if distinct < 2:
        return None
    if _reads(as_numbers, column, sample, rules):
        return None if _counts_rows(as_numbers(column, sample, rules)) else NumberFeature()
    if _reads(as_dates, column, text_array(column, sample, rules.of_dates)):
        return DateFeature()
    words = np.mean([len(text.split()) for text in texts if text is not None])
    if distinct <= MAX_CATEGORIES and (words < WORDS or distinct <= len(sample) / 10):
        return CategoryFeature()
    return TextFeature() if words >= WORDS else None


def _counts_rows(numbers: np.ndarray) -> bool:
    """Whether it is the number of the row: 1, 2, 3, ..."""
    return numbers.ndim == 1 and len(numbers) >= MIN_COUNTED and bool((np.diff(numbers) == 1).all())


def _reads(read: Any, column: str, values: np.ndarray, *rules: ValueRules) -> bool:
    try:
        read(column, values, *rules)
    except DataError:
        return False
    return True


def number_warnings(features: Mapping[str, Any], columns: Columns, rules: ValueRules) -> list[str]:
    """One line for each column that would be numbers but for a mark or a sign: what it was taken for, and which option
    reads it. features: those that were inferred, by column; a column that has none was left out."""
    found = []
    for name, values in columns.items():
        feature = features.get(name)
        if (
            values.dtype != object
            or values.ndim != 1
            or (feature is not None and feature.kind not in {"category", "text"})
        ):
            continue
        texts = [text for text in text_array(name, values[:SAMPLE_ROWS], rules.of_dates).tolist() if text is not None]
        options = advice(list(dict.fromkeys(texts)), rules) if texts else None
        if options is not None:
            share = share_read(texts, rules)
            count = f"all {len(texts)}" if share == 1 else f"{share:.0%} of the {len(texts)}"
            taken = "left out" if feature is None else f"taken for a {feature.kind}"
            found.append(
                f"column {name!r} is {taken}, but {count} values looked at seem to be numbers, such as "
                f"{texts[0]!r}; to read them set {options}"
            )
    return found


def kinds_shown(features: Mapping[str, Any], columns: Iterable[str]) -> str:
    """What was found, and which columns have no part in the job, in one line."""
    found = ", ".join(f"{name}: {feature.kind}" for name, feature in features.items())
    unused = [name for name in columns if name not in features]
    return found + (f"; not used: {', '.join(unused)}" if unused else "")
