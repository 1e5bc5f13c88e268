"""Raw columns of any type -> numbers, texts and dates; one value reads the same from CSV, Parquet, pandas and JSON.

A column is (rows,) or, where each row is a window of a series, (rows, width). Whole columns go through Arrow; what
it cannot read goes value by value, which also finds the row that an error names.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.errors import DataError
from configs.preprocessing.cells import exact_text_of, folded, is_missing, text_of
from configs.preprocessing.number_texts import advice, read_texts
from configs.preprocessing.raw import objects
from configs.rules import USUAL, ValueRules

Columns = Mapping[str, np.ndarray]
"""Raw rows by column: each array has the rows as its first axis; text is object dtype with None where missing."""

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


def as_numbers(column: str, values: np.ndarray, rules: ValueRules = USUAL) -> np.ndarray:
    """Numbers, numeric text or None -> float64 of the same shape, missing as NaN. Raises DataError naming the row."""
    numbers, wrong = read_numbers(column, values, rules)
    bad = np.flatnonzero(wrong)
    if bad.size:
        raise bad_value(column, values, bad[0], f"{_shown(values, bad[0])}, expected a number{_fix(values, rules)}")
    _require_finite(column, values, numbers)
    return numbers.reshape(values.shape)


def _shown(values: np.ndarray, index: int) -> str:
    return f"got {values.reshape(-1).tolist()[index]!r:.60}"


def _fix(values: np.ndarray, rules: ValueRules) -> str:
    """Which option would read the texts that are no numbers, and those that are; nothing where there is none."""
    texts = [text for text in values.reshape(-1).tolist() if isinstance(text, str)]
    known = [text for text in dict.fromkeys(texts) if text.strip() not in rules.missing_in_numbers]
    found = advice(known, rules) if known else None
    return f"; set {found}" if found else ""


def read_numbers(column: str, values: np.ndarray, rules: ValueRules) -> tuple[np.ndarray, np.ndarray]:
    """Return (flat float64, NaN where missing or wrong; flat mask of the values that are no numbers)."""
    plain = flat(column, values)
    if plain.dtype.kind in "mM":
        raise DataError(f"column {column!r} holds dates or durations; make it a date, or a number before training")
    if plain.dtype.kind in "iufb":
        numbers, wrong = plain.astype(np.float64, copy=False), np.zeros(len(plain), bool)
    else:
        numbers, wrong = _quick_numbers(plain, rules) or _slow_numbers(plain, rules)
    if rules.missing_numbers:
        numbers = np.where(np.isin(numbers, rules.missing_numbers), np.nan, numbers)
    return numbers, wrong


def _require_finite(column: str, values: np.ndarray, numbers: np.ndarray) -> None:
    largest = _largest(numbers)
    if largest <= LARGEST:
        return
    if np.isinf(largest):
        index = np.flatnonzero(np.isinf(numbers))[0]
        raise bad_value(column, values, index, f"got an infinite value{FIX}")
    require_small(column, numbers.reshape(values.shape), numbers)


def _quick_numbers(plain: np.ndarray, rules: ValueRules) -> tuple[np.ndarray, np.ndarray] | None:
    """All texts, or all numbers, by Arrow; None where they are mixed."""
    try:
        array = pa.array(plain, from_pandas=True)
    except (pa.ArrowException, OverflowError, UnicodeError):
        return None
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return read_texts(array.cast(pa.large_string()), rules)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind) or pa.types.is_boolean(kind):
        numbers = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return np.asarray(numbers, np.float64), np.zeros(len(plain), bool)
    return None


def _slow_numbers(plain: np.ndarray, rules: ValueRules) -> tuple[np.ndarray, np.ndarray]:
    values = [_decoded(value) for value in plain.tolist()]
    is_text = np.array([isinstance(value, str) for value in values], bool)
    numbers, wrong = np.full(len(values), np.nan), np.zeros(len(values), bool)
    for index in np.flatnonzero(~is_text):
        try:
            numbers[index] = _number_of(values[index])
        except (TypeError, ValueError, OverflowError):
            wrong[index] = True
    texts = [str(values[index]).encode("utf-8", "replace").decode() for index in np.flatnonzero(is_text)]
    numbers[is_text], wrong[is_text] = read_texts(pa.array(texts, pa.large_string()), rules)
    return numbers, wrong


def _decoded(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _number_of(value: Any) -> float:
    if is_missing(value):
        return np.nan
    if isinstance(value, int | float | Decimal | np.number | np.bool_) and not isinstance(value, np.timedelta64):
        return float(value)
    raise TypeError("no number")


def as_texts(column: str, values: np.ndarray, rules: ValueRules | None = None) -> list[str | None]:
    """What `text_codes` gives, as a list."""
    return list(text_array(column, values, rules).tolist())


def text_array(column: str, values: np.ndarray, rules: ValueRules | None = None, *, exact: bool = False) -> np.ndarray:
    """What `text_codes` gives, as an object array of the same shape."""
    codes, texts = text_codes(column, values, rules, exact=exact)
    return np.asarray(objects(texts)[codes])


def text_codes(
    column: str, values: np.ndarray, rules: ValueRules | None = None, *, exact: bool = False
) -> tuple[np.ndarray, list[str | None]]:
    """Return (codes, texts): the text of each value is texts[code], the same whatever carried the value.

    3, 3.0 and '3.00' give '3', true and 'true' give 'True', None, NaN and NaT give None; every other text stays as it
    is. exact: texts stay altogether as they are. rules: of raw values, which say what texts are missing and trim them;
    None where that was done already.
    codes: integers of the column's shape. A text may have several codes, and the last one is None.
    Raises DataError naming the row that holds a list or an object.
    """
    plain = flat(column, values)
    encoded = _encoded(plain)
    if encoded is None:
        codes, texts = _slow_codes(column, values, plain, exact=exact)
    else:
        codes = encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False)
        texts = [*_texts_of(encoded.dictionary, exact=exact), None]
    if rules is not None:
        texts = [ruled(text, rules, exact=exact) for text in texts]
    return codes.reshape(values.shape), texts


def exact_texts(column: str, values: np.ndarray, rules: ValueRules) -> np.ndarray:
    """The texts of an id: 007 is 007, NA is NA."""
    codes, texts = text_codes(column, values, exact=True)
    return np.asarray(objects([text.strip() if text and rules.trim else text or None for text in texts])[codes])


def ruled(text: str | None, rules: ValueRules, *, exact: bool = False) -> str | None:
    """A text as the rules of the job have it: trimmed, or None where it means a missing value."""
    if text is None:
        return None
    missing = rules.missing_texts
    if rules.trim and text != (trimmed := text.strip()):
        text = trimmed if exact else folded(trimmed)
    return None if text in missing or (rules.missing and folded(text) in missing) else text


def _encoded(plain: np.ndarray) -> pa.DictionaryArray | None:
    """Distinct values and a code for each row, or None where Arrow would not keep every value as it is."""
    kind = plain.dtype.kind
    try:
        if kind == "f" and plain.dtype.itemsize <= 8:
            array = pa.array(plain.astype(np.float32) if plain.dtype.itemsize < 4 else plain, from_pandas=True)
        elif kind in "iub":
            array = pa.array(plain)
        elif kind in "OUT":
            array = _texts_or_whole_numbers(plain)
        elif kind in "mM":
            array = pa.array(plain)
        else:
            return None
    except (pa.ArrowException, UnicodeError, TypeError, OverflowError):
        return None
    return None if array is None else array.dictionary_encode()


def _texts_or_whole_numbers(plain: np.ndarray) -> pa.Array | None:
    try:
        return pa.array(plain, type=pa.large_string(), from_pandas=True)
    except (pa.ArrowException, UnicodeError, TypeError):
        array = pa.array(plain, from_pandas=True)
    return array if pa.types.is_integer(array.type) or pa.types.is_boolean(array.type) else None


def _texts_of(dictionary: pa.Array, *, exact: bool) -> list[str | None]:
    if not pa.types.is_large_string(dictionary.type):
        return _values_of(dictionary)
    texts = list(dictionary.to_pylist())
    if exact:
        return texts
    # Few texts change: Arrow finds them.
    changes = pc.match_substring_regex(dictionary, r"\A(-?(0|[1-9][0-9]*)\.0+|-0|true|TRUE|false|FALSE)\z")
    for index in np.flatnonzero(changes.to_numpy(zero_copy_only=False)):
        texts[index] = folded(texts[index])
    return texts


def _values_of(dictionary: pa.Array) -> list[str | None]:
    """Numbers keep their type: 0.1 of 32 bits is 0.1, and nanoseconds stay."""
    values = dictionary.to_numpy(zero_copy_only=False)
    return [text_of(value) for value in values]


def _slow_codes(
    column: str, values: np.ndarray, plain: np.ndarray, *, exact: bool
) -> tuple[np.ndarray, list[str | None]]:
    places: dict[str | None, int] = {}
    codes = np.empty(len(plain), np.int64)
    read: Callable[[Any], str | None] = exact_text_of if exact else text_of
    for index, value in enumerate(plain):
        try:
            codes[index] = places.setdefault(read(value), len(places))
        except TypeError as error:
            raise bad_value(column, values, index, f"got {value!r:.60}, expected text or a number") from error
        except UnicodeDecodeError as error:
            raise bad_value(column, values, index, f"got {value!r:.60}, which is not UTF-8 text") from error
    return codes.reshape(values.shape), [*places, None]
