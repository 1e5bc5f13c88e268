"""Dates that cut a table: read as the column is, or refused with the range of the column and a fix that works."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.data import SplitSpec
from configs.errors import DataError
from orchestrator.splits import split_columns, split_rows

DAYS = np.arange(np.datetime64("2023-10-01"), np.datetime64("2024-02-01"))
CARRIERS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "dates": (DAYS, ()),
    "text": (DAYS.astype(str).astype(object), ()),
    "days as numbers": (np.array([int(str(day).replace("-", "")) for day in DAYS]), ("%Y%m%d",)),
    "milliseconds": (DAYS.astype("datetime64[ms]").astype(np.int64), ("epoch_ms",)),
}


def parts(values: Any, formats: tuple[str, ...] = (), **split: Any) -> dict[str, int]:
    spec = SplitSpec.model_validate({"by": "time", "column": "t"} | split)
    found = split_columns({"t": values}, np.zeros(len(values)), spec, formats=formats)
    return {name: len(rows) for name, rows in found.items()}


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("cut", ["2024-01-01", "2024", 2024, "20240101", "2024-01-01T00:00:00Z"])
def test_a_cut_means_the_same_in_every_carrier(carrier: str, cut: Any) -> None:
    values, formats = CARRIERS[carrier]
    if formats == ("epoch_ms",) and "-" not in str(cut):
        with pytest.raises(DataError, match=r"goes from 2023-10-01 to 2024-01-31\. Give a date after the first"):
            parts(values, formats, valid_from=cut)
        return
    assert parts(values, formats, valid_from=cut) == {"train": 92, "valid": 31}


@pytest.mark.parametrize(
    ("carrier", "split", "expected"),
    [
        (
            "days as numbers",
            {"valid_from": "2024-01-01"},
            "data.split.valid_from='2024-01-01' does not fit: column 't' holds numbers from 20231001 to 20240131. "
            'Give such a number, or say what the numbers are with data.dates: {t: "%Y%m%d"}',
        ),
        (
            "milliseconds",
            {"test_from": 2024},
            "data.split.test_from='2024' leaves no rows for the train part: column 't' goes from 1696118400000 to "
            "1706659200000. Give a number after the first and not after the last, or say what the numbers are with "
            'data.dates: {t: "epoch_ms"}',
        ),
        (
            "dates",
            {"valid_from": "2025"},
            "data.split.valid_from='2025' (read as 2025-01-01) leaves no rows for the valid part: column 't' goes "
            "from 2023-10-01 to 2024-01-31. Give a date after the first and not after the last",
        ),
        (
            "text",
            {"valid_from": "soon"},
            "data.split.valid_from='soon' does not fit: column 't' holds dates from 2023-10-01 to 2024-01-31. "
            "Give such a date",
        ),
        (
            "text",
            {"valid_from": "2024-01-15", "test_from": "2024-01-01"},
            "data.split.valid_from='2024-01-15' is not before data.split.test_from='2024-01-01' and leaves no rows "
            "for the valid part; make it earlier",
        ),
    ],
)
def test_a_cut_that_does_not_fit(carrier: str, split: dict[str, Any], expected: str) -> None:
    with pytest.raises(DataError) as caught:
        parts(CARRIERS[carrier][0], **split)
    assert str(caught.value) == expected


def test_a_cut_of_a_column_that_says_nothing() -> None:
    with pytest.raises(DataError, match="holds 2024-01-01 in every row. Split by another column, or give fractions"):
        parts(DAYS[[92] * 5], valid_from="2024-01-01")
    assert parts(DAYS[[92] * 5], valid=0.2) == {"train": 4, "valid": 1}


def test_a_column_that_is_written_otherwise_names_the_key_that_says_how() -> None:
    values = np.array(["31/12/2023", "01/01/2024"], object)
    with pytest.raises(DataError) as caught:
        parts(values, valid=0.5)
    assert str(caught.value) == (
        "column 't', row 1: got '31/12/2023', expected a date such as 2024-01-31, as data.split.column sorts by it. "
        'Say how they are written with data.dates: {t: "%d/%m/%Y"}'
    )
    assert parts(values, ("%d/%m/%Y",), valid=0.5) == {"train": 1, "valid": 1}


@pytest.mark.parametrize(
    ("fraction", "rows", "expected"), [(0.004, 10**6, 4000), (0.015, 10**6, 15_000), (1 / 3, 900, 300)]
)
def test_fractions_that_are_no_whole_number_of_a_block(fraction: float, rows: int, expected: int) -> None:
    assert len(split_rows(rows, SplitSpec(valid=fraction))["valid"]) == expected


@settings(deadline=None)
@given(st.floats(0.001, 0.4), st.floats(0.001, 0.4), st.integers(10, 60), st.integers(0, 9))
def test_the_blocks_up_to_any_one_have_the_fraction(valid: float, test: float, blocks: int, seed: int) -> None:
    rows, split = 100 * blocks, SplitSpec(valid=valid, test=test, seed=seed)
    try:
        found = split_rows(rows, split)
    except DataError as error:
        assert "leaves none for the" in str(error) and min(valid, test) * rows <= 0.5
        return
    assert abs(len(found["valid"]) - rows * valid) <= 1 and abs(len(found["test"]) - rows * test) <= 1
    longer = split_rows(rows + 77, split)
    assert [row for row in longer["valid"] if row < rows] == found["valid"].tolist()


def test_a_fraction_of_less_than_a_row_is_named() -> None:
    with pytest.raises(DataError) as caught:
        split_rows(500, SplitSpec(valid=0.001))
    assert str(caught.value) == (
        "data.split.valid=0.001 of 500 row(s) is about 0.5 row(s) and leaves none for the valid part; "
        "give a larger fraction, or more rows"
    )
