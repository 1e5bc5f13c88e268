"""Raw columns of any type -> numbers, texts and dates; one value reads the same from CSV, Parquet, pandas and JSON.

A column is (rows,) or, where each row is a window of a series, (rows, width). Whole columns go through Arrow; what
it cannot read goes value by value, which also finds the row that an error names.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.errors import DataError

Columns = Mapping[str, np.ndarray]
"""Raw rows by column: each array has the rows as its first axis; text is object dtype with None where missing."""

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
FIX = "; mend or remove the row"


class BadValue(DataError):
    """A value that cannot be used. `row` counts from 1 in the block it came in; `at` turns that into a place."""

    def __init__(self, before: str, row: int, after: str) -> None:
        super().__init__(before, row, after)
        self.before, self.row, self.after = before, row, after

    def __str__(self) -> str:
        return f"{self.before}{self.row}{self.after}"

    def at(self, first_row: int, file: str = "") -> "BadValue":
        """The same error for a block whose first row is row `first_row` of `file`."""
        place = f"{file}: " if file else ""
        return BadValue(f"{place}{self.before}", self.row + first_row - 1, self.after)


def bad_value(column: str, values: np.ndarray, index: int, what: str) -> BadValue:
    """The error for the value at `index` of the flattened column."""
    return BadValue(f"column {column!r}, row ", row_of(values, index), f": {what}")


def row_of(values: np.ndarray, index: int) -> int:
    """The row, from 1, of a place in the flattened column."""
    width = values.shape[1] if values.ndim == 2 else 1
    return int(index) // max(width, 1) + 1


def flat(column: str, values: np.ndarray) -> np.ndarray:
    """(rows,) or (rows, width) -> one axis. Raises DataError for what has more."""
    if values.ndim not in (1, 2):
        raise DataError(
            f"column {column!r} has shape {values.shape[1:]} per row, expected one value, or a window of values; "
            "only a tensor feature takes arrays"
        )
    return values.reshape(-1)


def require_small(column: str, numbers: np.ndarray, scaled: np.ndarray) -> None:
    """Raise DataError naming the first row whose scaled value (NaN for a missing one) float32 cannot hold."""
    if not _largest(scaled) > LARGEST:
        return
    index = np.flatnonzero(np.abs(scaled.reshape(-1)) > LARGEST)[0]
    raise bad_value(column, numbers, index, f"{numbers.reshape(-1)[index]:g} is too large{FIX}")


def _largest(numbers: np.ndarray) -> float:
    """The largest absolute value, 0 where there is none; without a temporary array, as the usual answer is that all is
    well."""
    flat_numbers = numbers.reshape(-1)
    return float(max(np.fmax.reduce(flat_numbers, initial=0.0), -np.fmin.reduce(flat_numbers, initial=0.0)))


def as_numbers(column: str, values: np.ndarray) -> np.ndarray:
    """Numbers, numeric text or None -> float64 of the same shape, missing as NaN. Raises DataError naming the row."""
    plain = flat(column, values)
    if plain.dtype.kind in "mM":
        raise DataError(f"column {column!r} holds dates or durations; make it a date, or a number before training")
    if plain.dtype.kind in "iufb":
        numbers = plain.astype(np.float64, copy=False)
    else:
        quick = _quick_numbers(plain)
        numbers = _slow_numbers(column, values, plain) if quick is None else quick
    _require_finite(column, values, numbers)
    return numbers.reshape(values.shape)


def _require_finite(column: str, values: np.ndarray, numbers: np.ndarray) -> None:
    largest = _largest(numbers)
    if largest <= LARGEST:
        return
    if np.isinf(largest):
        index = np.flatnonzero(np.isinf(numbers))[0]
        raise bad_value(column, values, index, f"got an infinite value{FIX}")
    require_small(column, numbers.reshape(values.shape), numbers)


def _quick_numbers(plain: np.ndarray) -> np.ndarray | None:
    """Numbers by Arrow, or None where it does not read all of them as Python would."""
    try:
        array = pa.array(plain, from_pandas=True)
        if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
            array = pc.if_else(pc.is_in(array, _MISSING), None, array)
        elif not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type) or _is_null(array.type)):
            return None
        numbers = array.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except (pa.ArrowException, OverflowError, UnicodeError):
        return None
    return np.asarray(numbers, np.float64)


def _is_null(kind: pa.DataType) -> bool:
    return bool(pa.types.is_null(kind) or pa.types.is_boolean(kind))


_MISSING = pa.array(sorted(MISSING_TEXTS))


def _slow_numbers(column: str, values: np.ndarray, plain: np.ndarray) -> np.ndarray:
    return np.array([_as_number(column, values, index, value) for index, value in enumerate(plain.tolist())], float)


def _as_number(column: str, values: np.ndarray, index: int, value: Any) -> float:
    if value is None or (isinstance(value, str) and value in MISSING_TEXTS):
        return np.nan
    if isinstance(value, str) and (value in TRUTH or value in TRUTH.values()):
        return float(TRUTH.get(value, value) == "True")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise bad_value(column, values, index, f"got {value!r:.60}, expected a number") from error


def as_texts(column: str, values: np.ndarray) -> list[str | None]:
    """(rows,) -> texts, one for the same value in CSV, JSON and pandas: 3, 3.0 and '3.0' give '3', true and 'true'
    give 'True', None, NaN and MISSING_TEXTS give None. Every other text stays as it is.

    Raises DataError naming the row that holds a list or an object.
    """
    return list(text_array(column, values).tolist())


def text_array(column: str, values: np.ndarray) -> np.ndarray:
    """What `as_texts` gives, as an object array of the same shape."""
    codes, texts = text_codes(column, values)
    return np.asarray(objects(texts)[codes])


def objects(values: list[Any]) -> np.ndarray:
    """(len(values),) object array, whatever the values are."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def text_codes(column: str, values: np.ndarray) -> tuple[np.ndarray, list[str | None]]:
    """Return (codes, texts): the text of `as_texts` at each place is texts[code].

    codes: integers of the column's shape. A text may have several codes, and the last one is None.
    """
    plain = flat(column, values)
    if plain.dtype.kind == "M":
        found, codes = np.unique(plain, return_inverse=True)
        dates = np.datetime_as_string(found, unit="auto").tolist()
        return codes.reshape(values.shape), [None if text == "NaT" else text for text in dates] + [None]
    encoded = _encoded(plain)
    if encoded is None:
        return _slow_codes(column, values, plain)
    codes = encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False)
    return codes.reshape(values.shape), [*_texts_of(encoded.dictionary), None]


def _encoded(plain: np.ndarray) -> pa.DictionaryArray | None:
    """Distinct values and a code for each row, or None where Arrow would not keep every value as it is."""
    kind = plain.dtype.kind
    try:
        if kind == "f" and plain.dtype.itemsize <= 8:
            array = pa.array(plain.astype(np.float64, copy=False), from_pandas=True)
        elif kind in "iu":
            array = pa.array(plain)
        elif kind in "OUT":
            array = pa.array(plain, type=pa.large_string(), from_pandas=True)
        else:
            return None
    except (pa.ArrowException, UnicodeError, TypeError):
        return None
    return array.dictionary_encode()


def _texts_of(dictionary: pa.Array) -> list[str | None]:
    texts = dictionary.to_pylist()
    if not pa.types.is_large_string(dictionary.type):
        return [_as_text(value) for value in texts]
    # Few texts change: Arrow finds them.
    changes = pc.or_(
        pc.is_in(dictionary, pa.array([*sorted(MISSING_TEXTS), *TRUTH], pa.large_string())),
        pc.match_substring_regex(dictionary, r"\A-?(0|[1-9][0-9]*)\.0\z"),
    )
    for index in np.flatnonzero(changes.to_numpy(zero_copy_only=False)):
        texts[index] = _as_text(texts[index])
    return list(texts)


def _slow_codes(column: str, values: np.ndarray, plain: np.ndarray) -> tuple[np.ndarray, list[str | None]]:
    places: dict[str | None, int] = {}
    codes = np.empty(len(plain), np.int64)
    for index, value in enumerate(plain.tolist()):
        if isinstance(value, list | tuple | dict | np.ndarray):
            raise bad_value(column, values, index, f"got {value!r:.60}, expected text or a number")
        codes[index] = places.setdefault(_as_text(value), len(places))
    return codes.reshape(values.shape), [*places, None]


def _as_text(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    if text in MISSING_TEXTS:
        return None
    whole = WHOLE_FLOAT.fullmatch(text)
    return str(int(whole[1])) if whole else TRUTH.get(text, text)
