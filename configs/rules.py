"""`ValueRules`: what a raw value means, wherever it comes from. Part of `read:` in a job, and of the registered model.

Knows nothing about files or arrays; `configs.preprocessing` applies the rules.
"""

from functools import cached_property
from typing import Any

from pydantic import field_validator, model_validator

from configs.spec import Spec

MISSING_TEXTS = frozenset(
    [
        *("", "null", "NULL", "NA", "N/A", "n/a", "nan", "NaN", "-nan", "-NaN"),
        *("#N/A", "#N/A N/A", "#NA", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
    ]
)
"""Texts that usually mean a missing value, in a CSV file as in the text of a pandas column or a JSON row."""


class ValueRules(Spec):
    """How a raw value is understood: the same in files of every format, functions, `predict` and the endpoint."""

    missing: tuple[str, ...] = ()
    """Texts that mean a missing value, such as "?" or "-999", beside the usual ones (empty, NA, null, NaN, ...)."""
    default_missing: bool = True
    """Whether the usual texts (NA, null, NaN, N/A, ...) mean a missing value. With false, a label, a category or a
    text may be NA; an empty cell is still missing, and so are these texts in columns of numbers and dates."""
    trim: bool = False
    """Ignore spaces around values."""
    decimal: str = "."
    """The mark before the decimals of a number that is written as text: "," for 3,14."""
    thousands: str | None = None
    """The mark between groups of digits in a number that is written as text: "," for 1,234,567; a space stands for
    every kind of space."""
    units: tuple[str, ...] = ()
    """Signs beside a number that is written as text, which are left out, such as ["$", "EUR", "%"]: "$5" is 5, "12 %"
    is 12."""

    @field_validator("missing", mode="before")
    @classmethod
    def _numbers_as_texts(cls, value: Any) -> Any:
        """`missing: [-999]` means the text; one text stands for a list of one."""
        values = [value] if isinstance(value, str | int | float) and not isinstance(value, bool) else value
        if not isinstance(values, list | tuple):
            return values
        return [str(one) if isinstance(one, int | float) and not isinstance(one, bool) else one for one in values]

    @field_validator("units", mode="before")
    @classmethod
    def _one_unit(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("units")
    @classmethod
    def _real_units(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for unit in value:
            if not unit.strip() or any(character.isdigit() or character in "+-" for character in unit):
                raise ValueError(f'got {unit!r}, expected a sign without digits, such as "$" or "%"')
        return value

    @field_validator("decimal", "thousands")
    @classmethod
    def _a_mark(cls, value: str | None) -> str | None:
        if value is not None and (len(value) != 1 or value.isalnum() or value in "+-\r\n"):
            raise ValueError(f'got {value!r}, expected one mark, such as "." or ","')
        return value

    @model_validator(mode="after")
    def _two_marks(self) -> "ValueRules":
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}; give two marks")
        return self

    @cached_property
    def missing_numbers(self) -> tuple[float, ...]:
        """The numbers among `missing`: -999 is missing as a number too."""
        found = []
        for text in self.missing:
            try:
                found.append(float(text))
            except ValueError:
                continue
        return tuple(found)

    @cached_property
    def missing_texts(self) -> frozenset[str]:
        """Texts that mean a missing label, category or text."""
        return frozenset([*(MISSING_TEXTS if self.default_missing else [""]), *self.missing])

    @cached_property
    def missing_in_numbers(self) -> frozenset[str]:
        """Texts that mean a missing number or date."""
        return MISSING_TEXTS | {*self.missing}

    @property
    def of_dates(self) -> "ValueRules":
        """The same for dates: NA is none."""
        return self if self.default_missing else self.model_copy(update={"default_missing": True})

    @property
    def plain_numbers(self) -> bool:
        """Whether numbers are written as usual."""
        return self.decimal == "." and self.thousands is None and not self.units


USUAL = ValueRules()
"""The rules where a job gives none."""
