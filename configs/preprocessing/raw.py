"""Whatever carries a column -> a raw array that keeps every value as it is.

A raw array is of a NumPy type where that holds all values (int64, float32, bool, datetime64, ...), else of objects:
texts, numbers, bytes, lists, with None where a value is missing. Integers with missing values stay integers, and
decimals stay decimals. Only `configs.preprocessing.values` and the rules of the job say what a value means.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from configs.preprocessing.cells import is_missing

EXACT = 2**53
"""Whole numbers up to this size are exact in float64."""


def objects(values: Sequence[Any]) -> np.ndarray:
    """(len(values),) object array, whatever the values are."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def of_arrow(column: Any, *, as_number: bool = False) -> np.ndarray:
    """An Arrow array or chunked array -> a raw array. Raises pa.ArrowException for a type that has no values.

    as_number: the job uses it as a number, so whole numbers with missing values may become float64.
    """
    kind = column.type
    types = pa.types
    if types.is_null(kind):
        return np.full(len(column), None, object)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return of_arrow(_decoded(column), as_number=as_number)
    if as_number and types.is_integer(kind) and column.null_count:
        column = column.cast(pa.float64(), safe=False)
    if (types.is_integer(kind) or types.is_boolean(kind)) and column.null_count:
        return objects(column.to_pylist())
    if types.is_integer(kind) or types.is_boolean(kind) or types.is_floating(kind):
        return np.asarray(column.to_numpy() if isinstance(column, pa.ChunkedArray) else _numpy(column))
    if types.is_timestamp(kind) or types.is_date32(kind) or types.is_duration(kind):
        return np.asarray(_numpy(column))
    return _others(column)


def _numpy(column: Any) -> np.ndarray:
    chunked = isinstance(column, pa.ChunkedArray)
    return np.asarray(column.to_numpy() if chunked else column.to_numpy(zero_copy_only=False))


def _decoded(column: Any) -> Any:
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return pa.compute.run_end_decode(column)


def _others(column: Any) -> np.ndarray:
    """Dates of 64 bits, decimals, texts, bytes, times of day, lists, tensors."""
    kind, types = column.type, pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _extension(column)
    if types.is_date64(kind):
        return of_arrow(column.cast(pa.date32()))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _lists(column)
    if types.is_string_view(kind):
        column = column.cast(pa.large_string())
    elif types.is_binary_view(kind):
        column = column.cast(pa.large_binary())
    elif types.is_time(kind) or types.is_decimal(kind):
        return objects(column.to_pylist())
    elif not any(is_kind(kind) for is_kind in TEXTS_AND_BYTES):
        column = column.cast(pa.string())
    return _numpy(column)


TEXTS_AND_BYTES = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_fixed_size_binary,
)


def _extension(column: Any) -> np.ndarray:
    kind = column.type
    if isinstance(kind, pa.UuidType):
        return objects([None if value is None else str(value) for value in column.to_pylist()])
    stored = of_arrow(column.cast(kind.storage_type))
    shape = getattr(kind, "shape", None)
    return stored if shape is None else stored.reshape(len(column), *shape)


def _lists(column: Any) -> np.ndarray:
    kind = column.type
    if pa.types.is_fixed_size_list(kind) and pa.types.is_primitive(kind.value_type) and not column.null_count:
        values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        flat = values.flatten()
        if not flat.null_count:
            return np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(len(column), kind.list_size)
    return of_lists(column.to_pylist())


def of_pandas(series: pd.Series) -> np.ndarray:
    """A column of a pandas frame -> a raw array."""
    if isinstance(series.dtype, np.dtype):
        return of_numpy(series.to_numpy())
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        return np.asarray(series.dt.tz_convert(None).to_numpy())
    if isinstance(series.dtype, pd.PeriodDtype | pd.IntervalDtype | pd.SparseDtype):
        return of_numpy(series.to_numpy())
    return of_arrow(pa.Array.from_pandas(series))


def of_numpy(array: np.ndarray) -> np.ndarray:
    """A NumPy array -> a raw array: texts as objects, one mark for what is missing."""
    if array.dtype.kind in "UT":
        array = array.astype(object)
    elif array.dtype.kind == "S":
        return objects(array.tolist()) if array.ndim == 1 else array.astype(object)
    if array.dtype != object or array.ndim != 1:
        return array
    missing = np.fromiter(map(is_missing, array), bool, len(array))
    if missing.any():
        array = array.copy()
        array[missing] = None
    return array


def of_lists(values: Sequence[Any]) -> np.ndarray:
    """Lists of numbers of one shape -> an array of that shape; other lists as objects."""
    try:
        array = np.asarray(values)
        if array.dtype.kind in "iufb" and array.ndim > 1:
            return array
    except ValueError:
        pass  # the rows differ in shape
    return objects(values)


def of_values(values: Sequence[Any]) -> np.ndarray:
    """Python values -> a raw array: of a number type where all are numbers and none would change, else of objects."""
    known = [value for value in values if value is not None]
    kinds = {type(value) for value in known}
    if not known or not (kinds <= {int, float} or kinds == {bool}):
        return objects(values)
    whole = len(known) == len(values)
    if len(kinds) == 1 and float not in kinds:
        fits = kinds == {bool} or all(-(2**63) <= value < 2**63 for value in known)
        return np.array(values) if whole and fits else objects(values)
    if any(type(value) is int and abs(value) > EXACT for value in known):
        return objects(values)
    return np.array([np.nan if value is None else value for value in values], np.float64)


def concatenated(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Parts of a column, one after the other, without changing a value."""
    kinds = {array.dtype.kind for array in arrays}
    if len(kinds) == 1 or kinds == {"i", "f"} and all(map(_exact, arrays)):
        return np.concatenate(arrays)
    return np.concatenate([array if array.dtype == object else as_objects(array) for array in arrays])


def _exact(array: np.ndarray) -> bool:
    return array.dtype.kind == "f" or not array.size or bool(np.abs(array).max() <= EXACT)


def as_objects(array: np.ndarray) -> np.ndarray:
    """The same values as objects, None where one is missing; times keep all their digits."""
    if array.dtype.kind in "mM":  # as Python objects, nanoseconds would become integers
        return of_numpy(objects(list(array.reshape(-1)))).reshape(array.shape)
    found = array.astype(object)
    return of_numpy(found) if array.dtype.kind == "f" else found
