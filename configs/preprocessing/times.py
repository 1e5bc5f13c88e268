"""Texts, numbers and dates of any carrier -> points in time, in UTC and to the nanosecond.

The same for a feature, the order of a series and a split. A time without an offset is taken in UTC.
"""

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation

import numpy as np
import pandas as pd

from configs.dates import EPOCHS, ISO, UNITS_NS
from configs.preprocessing.values import as_numbers, bad_value, flat, text_codes
from configs.rules import USUAL

REACH = (np.datetime64("1678-01-01", "us"), np.datetime64("2262-01-01", "us"))
"""What nanoseconds reach; dates outside of it are kept in microseconds."""
DASHED = re.compile(r"[+-]?\d{4,}-\d\d")
"""How a date in ISO 8601 begins that is not taken for digits of another format."""
OFFSET = re.compile(r":\d\d(?:[.,]\d+)?\s*(?:Z|[+-]\d\d(?::?\d\d)?)$|T\d\d(?:Z|[+-]\d\d(?::?\d\d)?)$", re.IGNORECASE)
LIKELY = (
    *("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%Y/%m/%d", "%d/%m/%y", "%m/%d/%y", "%d.%m.%y"),
    *("%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d-%b-%Y", "%d-%b-%y", "%a, %d %b %Y"),
)
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S", ", %H:%M", " %H.%M")


def as_times(column: str, values: np.ndarray, formats: Sequence[str] = (), hint: str = "") -> np.ndarray:
    """Dates, texts or numbers -> datetime64 of the same shape, missing as NaT: [ns], or [us] where one lies outside
    of what nanoseconds reach.

    formats: of texts and numbers, beside ISO 8601. hint: what to do about a value that does not fit.
    Raises DataError naming the row that holds no date.
    """
    if values.dtype.kind == "M":
        return finest(flat(column, values)).reshape(values.shape)
    places, texts = text_codes(column, values, USUAL)
    found = times_of(texts, (*formats, DASHED if formats else ISO))
    wrong = np.isnat(found) & np.array([text is not None for text in texts])
    bad = np.flatnonzero(wrong[places].reshape(-1))
    if bad.size:
        expected = " or ".join(formats) or "2024-01-31"
        text = texts[places.reshape(-1)[bad[0]]]
        raise bad_value(column, values, bad[0], f"got {text!r:.60}, expected a date such as {expected}{hint}")
    return np.asarray(found[places])


def holds_times(column: str, values: np.ndarray, formats: Sequence[str] = ()) -> np.ndarray:
    """(rows,) whether a value is a date in one of the formats; a missing one is none."""
    if values.dtype.kind == "M":
        return np.asarray(~np.isnat(values))
    places, texts = text_codes(column, values, USUAL)
    return np.asarray(~np.isnat(times_of(texts, (*formats, DASHED if formats else ISO))[places]))


def sort_keys(column: str, values: np.ndarray, formats: Sequence[str] = (), hint: str = "") -> np.ndarray:
    """(rows,) what rows are sorted by: datetime64 as `as_times` gives them, or numbers where the column holds such and
    no formats say that they are dates; missing as NaT or NaN. Integers stay integers, whatever their size."""
    if not formats:
        plain = _integers(values)
        if plain is not None:
            return plain
        if values.dtype.kind in "fb" or _only_numbers(values):
            return as_numbers(column, values)
    return as_times(column, values, formats, hint)


def _integers(values: np.ndarray) -> np.ndarray | None:
    if values.dtype.kind in "iu":
        return values
    if values.dtype != object or not all(type(value) is int for value in values.tolist()):
        return None
    try:
        return np.array(values.tolist(), np.int64)
    except OverflowError:
        return None


def _only_numbers(values: np.ndarray) -> bool:
    if values.dtype != object:
        return False
    kinds = {type(value) for value in values.tolist()} - {type(None)}
    return bool(kinds) and kinds <= {int, float, Decimal, np.float64, np.float32, np.int64, np.int32}


def is_missing(keys: np.ndarray) -> np.ndarray:
    """(rows,) whether `sort_keys` found nothing."""
    return np.asarray(np.isnat(keys) if keys.dtype.kind == "M" else keys != keys)


def times_of(texts: Sequence[str | None], patterns: Iterable[str | re.Pattern[str]]) -> np.ndarray:
    """(texts,) datetime64, each by the first pattern that fits; NaT where none does."""
    series = pd.Series(list(texts), dtype=object)
    places: list[np.ndarray] = []
    parts: list[np.ndarray] = []
    left = np.flatnonzero(series.notna().to_numpy())
    for pattern in patterns:
        while left.size:  # once more, as pandas reads either nanoseconds or dates outside of what they reach
            read = _by_pattern(series.iloc[left], pattern)
            known = ~np.isnat(read)
            if not known.any():
                break
            places.append(left[known])
            parts.append(read[known])
            left = left[~known]
    read = joined(parts)
    found = np.full(len(series), np.datetime64("NaT"), read.dtype)
    if places:
        found[np.concatenate(places)] = read
    return found


def _by_pattern(texts: pd.Series, pattern: str | re.Pattern[str]) -> np.ndarray:
    if isinstance(pattern, re.Pattern):
        found = np.full(len(texts), np.datetime64("NaT"), "datetime64[us]")
        fits = texts.str.match(pattern).to_numpy(bool)
        if not fits.any():
            return found
        read = _by_pattern(texts[fits], ISO)
        found = found.astype(read.dtype)
        found[fits] = read
        return found
    if pattern in EPOCHS:
        return _since_1970(texts.tolist(), EPOCHS[pattern])
    dates = pd.to_datetime(texts, format=pattern, errors="coerce", utc=True)
    return finest(dates.dt.tz_localize(None).to_numpy())


def _since_1970(texts: list[str], unit: str) -> np.ndarray:
    counts = [_nanoseconds(text, UNITS_NS[unit]) for text in texts]
    most = max((abs(count) for count in counts if count is not None), default=0)
    whole, divisor = ("ns", 1) if most < 2**63 else ("us", 1000)
    nothing = np.iinfo(np.int64).min
    fitting = [nothing if count is None or abs(count) // divisor >= 2**63 else count // divisor for count in counts]
    return finest(np.array(fitting, np.int64).view(f"datetime64[{whole}]"))


def _nanoseconds(text: str, unit_ns: int) -> int | None:
    try:
        return int(text) * unit_ns
    except ValueError:
        pass
    try:
        return int(Decimal(text) * unit_ns)
    except (InvalidOperation, ValueError, OverflowError):
        return None


def finest(times: np.ndarray) -> np.ndarray:
    """datetime64 of any unit -> [ns], or [us] where one lies outside of what nanoseconds reach."""
    if times.dtype == np.dtype("datetime64[ns]"):
        return times
    us = times.astype("datetime64[us]")
    inside = np.isnat(us) | ((us >= REACH[0]) & (us < REACH[1]))
    return times.astype("datetime64[ns]") if inside.all() else us


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Times as `finest` gives them, one after the other; NumPy's own conversion to nanoseconds would wrap around."""
    if all(part.dtype == np.dtype("datetime64[ns]") for part in parts):
        return np.concatenate(parts) if parts else np.empty(0, "datetime64[ns]")
    return np.concatenate([part.astype("datetime64[us]") for part in parts])


def with_offset(texts: Iterable[str | None]) -> tuple[int, int]:
    """How many texts have an offset (Z, +02:00), and how many have none."""
    known = [text for text in texts if text is not None]
    offsets = sum(OFFSET.search(text) is not None for text in known)
    return offsets, len(known) - offsets


def dates_hint(column: str, values: np.ndarray) -> str:
    """What to add to an error about dates in a column: the key that says how they are written, with a format that fits
    where one is found."""
    guess = likely_format(text_codes(column, values, USUAL)[1])
    if guess is None:
        return f'. Fix the row, or say how dates are written with data.dates, such as {{{column}: "%d/%m/%Y"}}'
    return f'. Say how they are written with data.dates: {{{column}: "{guess}"}}'


def likely_format(texts: Iterable[str | None]) -> str | None:
    """A format by which all of the texts can be read, as far as one is known."""
    some = list(dict.fromkeys(text for text in texts if text is not None))[:500]
    numbers = [_nanoseconds(text, 1) for text in some]
    if not some or any(number is not None for number in numbers):
        return likely_number_format([number for number in numbers if number is not None]) if all(numbers) else None
    return next((form for form in _candidates() if not np.isnat(times_of(some, [form])).any()), None)


def _candidates() -> Iterable[str]:
    return (f"{day}{clock}" for clock in CLOCKS for day in LIKELY)


def likely_number_format(numbers: Sequence[int]) -> str | None:
    """What numbers that are dates would be: years, 20240131, seconds, ... since 1970."""
    if not numbers:
        return None
    low, high = min(numbers), max(numbers)
    if low >= 19000101 and high <= 21001231 and not np.isnat(times_of([str(low), str(high)], ["%Y%m%d"])).any():
        return "%Y%m%d"
    bounds = {"%Y": (1000, 3000), "epoch_s": (10**8, 10**10), "epoch_ms": (10**11, 10**13)}
    bounds |= {"epoch_us": (10**14, 10**16), "epoch_ns": (10**17, 10**19)}
    return next((form for form, (least, most) in bounds.items() if least <= low and high < most), None)


def shown(key: object) -> str:
    """A sort key for an error: a date without the zeros of its clock, a number as it is."""
    if not isinstance(key, np.datetime64):
        return f"{key:.15g}" if isinstance(key, float | np.floating) else str(key)
    text = str(key)
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.removesuffix("T00:00:00")
