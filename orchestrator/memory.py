"""What rows take in memory: as they were read, and as the model sees them."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from configs.errors import DataError
from configs.preprocessing import Columns, Preprocessing
from orchestrator.limits import free_memory

WIDE = 1000
"""Columns of one feature from which on it is said that there are smaller forms."""
MEASURED_VALUES = 1000
UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def size_shown(count: int) -> str:
    """Bytes for a person."""
    unit, name = next(((unit, name) for unit, name in UNITS if count >= unit), UNITS[-1])
    return f"{count / unit:,.1f} {name}"


def held_bytes(columns: Columns) -> int:
    """Bytes of raw columns; of Python objects about."""
    return sum(array.nbytes + _objects_bytes(array) for array in columns.values())


def _objects_bytes(array: np.ndarray) -> int:
    if array.dtype != object or not array.size:
        return 0
    flat = array.reshape(-1)
    some = flat[:: max(1, flat.size // MEASURED_VALUES)].tolist()
    return int(sum(map(sys.getsizeof, some)) / len(some) * flat.size)


def row_bytes(preprocessing: Preprocessing, columns: Columns) -> int:
    """Bytes of a row as the model sees it: its columns in the table, its words, its pixels. columns: a row."""
    inputs, _ = preprocessing.transform_most(columns)
    return sum(array.nbytes for array in inputs.values())


def wide_columns(preprocessing: Preprocessing) -> Iterator[str]:
    """One sentence for every feature of very many columns."""
    for name, fitted in preprocessing.features.items():
        if _columns(fitted) > WIDE:
            yield (
                f"{name} becomes {_columns(fitted):,} columns, {size_shown(4 * _columns(fitted))} a row; "
                f"{_smaller(fitted)} takes less"
            )


def require_room(preprocessing: Preprocessing, rows: int, bytes_per_row: int) -> None:
    """Raise DataError where rows as the model sees them would not fit: it would be a kill otherwise."""
    needed, free = rows * bytes_per_row, free_memory()
    if needed <= free:
        return
    name, fitted = max(preprocessing.features.items(), key=lambda item: _columns(item[1]))
    advice = "use data.loading=streaming with files, or fewer rows"
    if _columns(fitted) > WIDE:
        advice = f"{name!r} becomes {_columns(fitted):,} columns: use {_smaller(fitted)}"
    raise DataError(
        f"{rows:,} rows take {size_shown(needed)} as the model sees them, and {size_shown(free)} of memory is free; "
        f"{advice}"
    )


def _columns(fitted: Any) -> int:
    own_input = fitted.kind in {"text", "tensor", "image"} or getattr(fitted, "as_input", False)
    return 0 if own_input else int(fitted.outputs)


def _smaller(fitted: Any) -> str:
    if fitted.kind == "number":
        return "fewer buckets, or encode: ordinal,"
    if fitted.encode == "one_hot":
        return "as_input: true without encode (codes for an Embedding), max_values, or encode: hash with few buckets"
    return "fewer buckets" if fitted.encode == "hash" else "max_values"
