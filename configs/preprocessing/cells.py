"""The text of one raw value, whatever type carried it, and when two texts stand for the same value."""

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Context, Decimal, InvalidOperation
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

TRUTH = {"true": "True", "TRUE": "True", "false": "False", "FALSE": "False"}
"""One spelling for what is true in JSON, True in pandas and TRUE in a spreadsheet."""
WHOLE_FLOAT = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+")
"""A whole number as pandas writes it in a column that lacks some values, or a database with its scale; not 007.0."""
NUMBER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,4})?")
CLOCK = re.compile(r"(\d\d:\d\d(?::\d\d)?)(\.\d+)?")
DURATION = re.compile(r"-?\d+ days? [-+]?\d\d:\d\d:\d\d(?:\.\d+)?")
TIMES = (datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64)
TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[-+]\d\d:?\d\d)?)?")


def is_missing(value: Any) -> bool:
    """Whether a value is one of the marks for a missing one: None, NaN, pd.NA, NaT."""
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    if isinstance(value, float | np.floating | np.datetime64 | np.timedelta64):
        return bool(value != value)
    return isinstance(value, Decimal) and value.is_nan()


def text_of(value: Any) -> str | None:
    """A raw value -> the text that a CSV file has for it, folded by `folded`; None where it is missing.

    Raises TypeError for a list or an object, UnicodeDecodeError for bytes that are no UTF-8.
    """
    text = exact_text_of(value)
    return None if text is None else folded(text)


def folded(text: str) -> str:
    """One spelling for the same whole number or truth: 3.0 and 3.00 become 3, true and TRUE become True."""
    whole = WHOLE_FLOAT.fullmatch(text)
    if whole:
        return str(int(whole[1]))
    return "0" if text == "-0" else TRUTH.get(text, text)


def exact_text_of(value: Any) -> str | None:
    """A raw value -> its text: text as it is, numbers with all digits, times in UTC; None where it is missing."""
    if isinstance(value, str):
        return str(value)
    if is_missing(value):
        return None
    if isinstance(value, TIMES):  # first: a timedelta64 is an integer to NumPy
        return _time_text(value)
    if isinstance(value, float | np.floating | Decimal):
        return _fraction_text(value)
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, list | tuple | dict | np.ndarray):
        raise TypeError("expected one value")
    return str(value)


def _fraction_text(value: Any) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    # As short as the type allows: 0.1 of 32 bits is 0.1.
    return str(int(value)) if np.isfinite(value) and value == np.floor(value) else str(value)


def _time_text(value: Any) -> str:
    if isinstance(value, datetime.datetime | np.datetime64):
        return _moment(pd.Timestamp(value))
    if isinstance(value, datetime.timedelta | np.timedelta64):
        return str(pd.Timedelta(value))
    if isinstance(value, datetime.time):
        return _without_zeros(value.isoformat(timespec="microseconds"))
    return _moment(pd.Timestamp(value))


def _moment(time: pd.Timestamp) -> str:
    """2024-01-31 at midnight, else 2024-01-31 12:00:00 with the decimals there are; in UTC, without an offset."""
    time = time if time.tzinfo is None else time.tz_convert("UTC").tz_localize(None)
    text = time.isoformat(sep=" ", timespec="nanoseconds")
    return _without_zeros(text).removesuffix(" 00:00:00")


def _without_zeros(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def key_of(text: str) -> str | None:
    """What all texts of the same number, truth or time have in common; None for a text that is none of them."""
    if text in TRUTH or text in TRUTH.values():
        return TRUTH.get(text, text)
    if NUMBER.fullmatch(text):
        try:
            number = Decimal(text).normalize(Context(prec=len(text)))
        except InvalidOperation:
            return None
        return f"number {number if number else 0}"
    return _key_of_time(text)


def _key_of_time(text: str) -> str | None:
    """Of a date, a time of day or a duration."""
    clock = CLOCK.fullmatch(text)
    if clock:
        seconds = "" if clock[1].count(":") == 2 else ":00"
        return f"clock {clock[1]}{seconds}{(clock[2] or '').rstrip('0').rstrip('.')}"
    try:
        if TIME.fullmatch(text):
            return f"time {_moment(pd.Timestamp(text))}"
        if DURATION.fullmatch(text):
            return f"duration {pd.Timedelta(text)}"
    except ValueError:
        pass
    return None


class Lookup:
    """The place of a text among known ones: its own, else that of the only one that stands for the same value.

    So 3.1 of JSON finds the 3.10 that training read from a file, and 3.10 and 3.1 are two where training had both.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._places: Mapping[str, int] = {text: place for place, text in enumerate(texts)}

    def __call__(self, text: str) -> int | None:
        place = self._places.get(text)
        for read, places in ((key_of, "_by_key"), (_at_32_bits, "_by_float")):
            if place is None and (key := read(text)) is not None:
                place = getattr(self, places).get(key)
        return place

    @cached_property
    def _by_key(self) -> dict[str, int | None]:
        return self._by(key_of)

    @cached_property
    def _by_float(self) -> dict[str, int | None]:
        return self._by(_at_32_bits)

    def _by(self, read: Callable[[str], str | None]) -> dict[str, int | None]:
        found: dict[str, int | None] = {}
        for text, place in self._places.items():
            key = read(text)
            if key is not None:
                found[key] = None if key in found else place
        return found


def _at_32_bits(text: str) -> str | None:
    """A fraction as 32 bits have it: 0.1, and 0.10000000149011612 that JSON makes of it."""
    fraction = not text.lstrip("+-").isdigit() and NUMBER.fullmatch(text)
    with np.errstate(over="ignore"):
        return str(np.float32(text)) if fraction else None
