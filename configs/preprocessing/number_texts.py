"""Texts of numbers -> numbers, by the rules of the job, and which rules would read what these do not."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.rules import ValueRules

PLAIN = r"\A[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\z|\A[-+]?(?i:inf|infinity|nan)\z"
"""A number as nearly every program writes it."""
SPACES = "\u0020\u00a0\u2009\u202f"
"""Between groups of digits: the plain space, one that does not break, a thin one, a narrow one that does not break."""
APOSTROPHES = "'\u2019"
SIGNS = ("$", "€", "£", "¥", "₹", "%", "EUR", "USD", "GBP", "CHF", "US$", "kr", "zł", "R$", "₽", "₩", "₺", "‰")
"""What usually stands beside a number."""


def read_texts(texts: pa.Array | pa.ChunkedArray, rules: ValueRules) -> tuple[np.ndarray, np.ndarray]:
    """Texts (null where missing) -> (float64, NaN where missing or wrong; whether each is wrong)."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    texts = texts.cast(pa.large_string())
    texts = pc.if_else(pc.is_in(texts, _missing(rules)), None, texts)
    if rules.plain_numbers:
        try:
            return _numpy(texts.cast(pa.float64())), np.zeros(len(texts), bool)
        except pa.ArrowInvalid:
            pass
    plain = _plain(texts, rules)
    right = pc.match_substring_regex(plain, PLAIN)
    wrong = pc.fill_null(pc.invert(right), fill_value=False)
    numbers = pc.if_else(right, plain, None).cast(pa.float64())
    return _numpy(numbers), np.asarray(wrong.to_numpy(zero_copy_only=False))


def _numpy(numbers: pa.Array) -> np.ndarray:
    return np.asarray(numbers.to_numpy(zero_copy_only=False), np.float64)


@lru_cache(maxsize=64)
def _missing(rules: ValueRules) -> pa.Array:
    return pa.array(sorted(rules.missing_in_numbers), pa.large_string())


def _plain(texts: pa.Array, rules: ValueRules) -> pa.Array:
    """The same numbers as nearly every program writes them; what is none stays none; missing ones null."""
    texts = pc.utf8_trim_whitespace(texts)
    texts = pc.if_else(pc.is_in(texts, _missing(rules)), None, texts)
    texts = pc.replace_substring(texts, "\u2212", "-")
    for spellings, number in ((("True", "true", "TRUE"), "1"), (("False", "false", "FALSE"), "0")):
        texts = pc.if_else(pc.is_in(texts, pa.array(spellings, pa.large_string())), number, texts)
    if rules.plain_numbers:
        return texts
    return _usual_marks(_without_units(texts, rules.units), rules)


def _without_units(texts: pa.Array, units: Sequence[str]) -> pa.Array:
    """A sign may stand before or after the number, before or after its minus."""
    if not units:
        return texts
    either = "|".join(re.escape(unit.strip()) for unit in sorted(units, key=len, reverse=True))
    space = f"[{SPACES}]*"
    texts = pc.replace_substring_regex(texts, rf"\A([-+]?){space}(?:{either}){space}([-+]?[^-+]*)\z", r"\1\2")
    return pc.replace_substring_regex(texts, rf"\A([^ ].*?){space}(?:{either})\z", r"\1")


def _usual_marks(texts: pa.Array, rules: ValueRules) -> pa.Array:
    """Without marks between groups of three digits, and with a point before the decimals."""
    decimal = re.escape(rules.decimal)
    if rules.thousands is not None:
        mark = f"[{_class(rules.thousands)}]"
        grouped = pc.match_substring_regex(
            texts, rf"\A[-+]?[0-9]{{1,3}}({mark}[0-9]{{2,3}})*{mark}[0-9]{{3}}({decimal}[0-9]*)?\z"
        )
        texts = pc.if_else(grouped, pc.replace_substring_regex(texts, mark, ""), texts)
    if rules.decimal != ".":
        # A point that is left is no mark of this job's numbers: 1.5 is refused, not read as one and a half.
        texts = pc.if_else(pc.match_substring(texts, "."), "?", texts)
        texts = pc.replace_substring(texts, rules.decimal, ".")
    return texts


def _class(mark: str) -> str:
    """What stands for the mark: one space for another, one apostrophe for another."""
    alike = next((group for group in (SPACES, APOSTROPHES) if mark in group), mark)
    return "".join(re.escape(character) for character in alike)


def rules_that_read(texts: Sequence[str], rules: ValueRules) -> ValueRules | None:
    """Rules like these with other marks or units that read every one of the texts, or else MOST of them, where these
    read fewer."""
    rules = ValueRules(**{name: getattr(rules, name) for name in ValueRules.model_fields})
    array = pa.array(texts, pa.large_string())
    units = tuple(sign for sign in SIGNS if sign not in rules.units and any(sign in text for text in texts))
    others = [
        ValueRules(**(rules.model_dump() | marks | {"units": (*rules.units, *more)}))
        for marks in MARKS
        for more in dict.fromkeys([(), units])
    ]
    shares = {found: 1 - read_texts(array, found)[1].mean() for found in others if found != rules}
    best = max(shares, key=shares.__getitem__)  # the most likely of equal ones
    return best if shares[best] >= MOST > 1 - read_texts(array, rules)[1].mean() or shares[best] == 1 else None


MOST = 0.8
"""Share of the texts that rules must read to be worth a word; one cell of prices may hold 'on request'."""


MARKS: tuple[dict[str, Any], ...] = (
    {},
    {"decimal": ".", "thousands": None},
    {"decimal": ".", "thousands": ","},
    {"decimal": ",", "thousands": None},
    {"decimal": ",", "thousands": "."},
    {"decimal": ".", "thousands": " "},
    {"decimal": ",", "thousands": " "},
    {"decimal": ".", "thousands": "'"},
    {"decimal": ",", "thousands": "'"},
)
"""How numbers are written in the world, the most likely first."""


def share_read(texts: Sequence[str], rules: ValueRules) -> float:
    """The share of the texts that `rules_that_read` reads; 0 where there are no such rules."""
    found = rules_that_read(list(dict.fromkeys(texts)), rules)
    return 0.0 if found is None else float(1 - read_texts(pa.array(texts, pa.large_string()), found)[1].mean())


def advice(texts: Sequence[str], rules: ValueRules) -> str | None:
    """The options that would read these texts, as the job's YAML has them; None where none would."""
    found = rules_that_read(texts, rules)
    if found is None:
        return None
    options = [
        f"data.read.{name}: {_yaml(getattr(found, name))}"
        for name in ("decimal", "thousands", "units")
        if getattr(found, name) != getattr(rules, name)
    ]
    other = {"thousands": None, "decimal": str(found.thousands)}
    unsure = found.thousands in (",", ".") and found.decimal != rules.thousands and rules.thousands is None
    if unsure and not read_texts(pa.array(texts, pa.large_string()), found.model_copy(update=other))[1].any():
        options.append(f'(or data.read.decimal: "{found.thousands}" instead of thousands, if decimals follow it)')
    return " and ".join(options).replace(" and (", " (")


def _yaml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    return "null" if value is None else f'"{value}"'
