"""Which part a row belongs to: by chance, class, group or time; and that it stays there when rows are added."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from configs.data import SplitSpec
from configs.errors import DataError
from orchestrator.splits import split_columns, split_rows

FRACTIONS = st.sampled_from([0.1, 0.2, 0.25, 0.3])


def objects(values: list[Any]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def parts_of(columns: dict[str, Any], **given: Any) -> dict[str, list[int]]:
    parts = split_columns(columns, columns["label"], SplitSpec(**given))
    return {name: rows.tolist() for name, rows in parts.items()}


@given(st.integers(100, 500), FRACTIONS, FRACTIONS, st.integers(0, 100))
def test_parts_have_their_fractions(rows: int, valid: float, test: float, seed: int) -> None:
    parts = split_rows(rows, SplitSpec(valid=valid, test=test, seed=seed))
    assert abs(len(parts["valid"]) - rows * valid) < 10
    assert abs(len(parts["test"]) - rows * test) < 10


@given(st.integers(100, 300), st.integers(1, 300), FRACTIONS, st.sampled_from(["random", "stratified", "group"]))
def test_a_row_keeps_its_part_when_rows_are_appended(rows: int, more: int, valid: float, by: str) -> None:
    draws = np.random.default_rng(rows).integers(0, 50, rows + more)
    columns = {"label": draws % 3, "house": draws}
    split = {"by": by, "valid": valid, "test": 0.2, **({"column": "house"} if by == "group" else {})}
    before = parts_of({name: column[:rows] for name, column in columns.items()}, **split)
    after = parts_of(columns, **split)
    for name, part in before.items():
        assert set(part) == {row for row in after[name] if row < rows}


def test_every_class_has_its_share() -> None:
    labels = np.array(["rare"] * 20 + ["often"] * 400)
    parts = parts_of({"label": labels}, by="stratified", valid=0.2, test=0.1)
    assert [sum(labels[part] == "rare") for part in parts.values()] == [14, 4, 2]
    assert [sum(labels[part] == "often") for part in parts.values()] == [280, 80, 40]


@given(st.integers(0, 1000))
def test_a_group_is_never_cut(seed: int) -> None:
    houses = objects([f"house {number % 40}" for number in range(400)])
    parts = parts_of({"label": np.zeros(400), "house": houses}, by="group", column="house", valid=0.3, seed=seed)
    assert not set(houses[parts["train"]]) & set(houses[parts["valid"]])


def test_the_latest_rows_test_and_those_before_choose() -> None:
    days = objects([f"2024-01-{day:02}" for day in (5, 1, 4, 2, 3)])
    parts = parts_of({"label": np.zeros(5), "day": days}, by="time", column="day", valid=0.2, test=0.2)
    assert parts == {"train": [1, 3, 4], "valid": [2], "test": [0]}
    assert parts_of({"label": np.zeros(5)}, by="time", valid=0.4) == {"train": [0, 1, 2], "valid": [3, 4]}


def test_dates_cut_where_the_job_says() -> None:
    days = objects(["2024-03-01", "2024-01-31", "2024-02-01", "2024-02-29"])
    split = {"by": "time", "column": "day", "valid_from": "2024-02-01", "test_from": "2024-03-01"}
    parts = parts_of({"label": np.zeros(4), "day": days}, **split)
    assert parts == {"train": [1], "valid": [2, 3], "test": [0]}


def test_a_row_without_a_date_is_named() -> None:
    with pytest.raises(DataError) as caught:
        parts_of({"label": np.zeros(2), "day": objects(["2024-01-01", None])}, by="time", column="day")
    assert str(caught.value) == (
        "column 'day', row 2: has no date, and the split is by time; fix or remove the row, "
        "or leave such rows out with data.bad_rows: skip"
    )


def test_rows_of_files_of_their_own_are_that_part() -> None:
    split = SplitSpec(valid=0.5, test=0.5 - 1e-9)
    parts = split_columns({}, np.zeros(10), split, given={"test": 4})
    assert parts["test"].tolist() == [6, 7, 8, 9]
    assert sorted([*parts["train"], *parts["valid"]]) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ({"by": "group"}, "by=group needs the column that names the group; add column"),
        ({"column": "x"}, "column='x' goes with by=group or by=time, not with by=random"),
        ({"by": "time", "test_from": "2024-01-01"}, "valid_from and test_from go with by=time and a column of dates"),
        ({"valid": 0.5, "test": 0.5}, "valid=0.5 and test=0.5 leave no rows to train on; make their sum less than 1"),
    ],
)
def test_options_that_contradict_each_other(split: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SplitSpec.model_validate(split)
    assert expected in str(caught.value)
