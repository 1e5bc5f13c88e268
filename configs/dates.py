"""Formats of dates, and durations such as 1h, as the YAML file gives them. Knows nothing about values."""

import re
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

EPOCHS = {"epoch_s": "s", "epoch_ms": "ms", "epoch_us": "us", "epoch_ns": "ns"}
"""Formats of numbers: seconds, ... since 1970-01-01 in UTC."""
ISO = "ISO8601"
UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "min": 60 * 1_000_000_000,
    "h": 3600 * 1_000_000_000,
    "d": 86400 * 1_000_000_000,
}
"""Nanoseconds of each unit of a duration."""
DURATION = re.compile(rf"(\d+(?:\.\d+)?)\s*({'|'.join(UNITS_NS)})")


def _one_or_several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _readable(value: str) -> str:
    """Raise ValueError where it is not a format that a date can be read by."""
    if value in EPOCHS or value == ISO:
        return value
    if "%" not in value:
        known = f"{', '.join(EPOCHS)} or {ISO}"
        raise ValueError(f"{value!r} is not a date format; write it like %d/%m/%Y %H:%M, or one of {known}")
    try:
        datetime.strptime("", value)
    except ValueError as error:
        if "does not match" not in str(error) and "unconverted" not in str(error):
            raise ValueError(f"{value!r} is not a date format: {error}; write it like %d/%m/%Y %H:%M") from None
    return value


DateFormats = Annotated[tuple[Annotated[str, AfterValidator(_readable)], ...], BeforeValidator(_one_or_several)]
"""How dates are written: one format or several, of which the first that fits counts."""


def _as_written(value: Any) -> Any:
    """YAML makes a date of 2024-01-01 and a number of 2024; what it stands for, the column decides."""
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value


Cut = Annotated[str, BeforeValidator(_as_written)]
"""A date or a number, as the column has them."""


def nanoseconds(duration: str) -> int:
    """Of a duration such as 90s, 1h30min or 2d. Raises ValueError where it is not one."""
    text = duration.strip()
    if not text or DURATION.sub("", text).strip():
        raise ValueError(f"{duration!r} is not a duration; write it like 90s, 15min, 1h or 2d")
    return round(sum(float(count) * UNITS_NS[unit] for count, unit in DURATION.findall(text)))


def duration_of(count_ns: int) -> str:
    """The duration in the largest unit that gives a whole number: 3600 seconds are 1h."""
    unit = next(unit for unit in reversed(UNITS_NS) if count_ns % UNITS_NS[unit] == 0)
    return f"{count_ns // UNITS_NS[unit]}{unit}"
