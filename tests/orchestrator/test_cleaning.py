"""Rows that are left out are the right ones, and are counted; windows hold the past and aim at what comes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.data import DataSpec
from configs.errors import DataError
from configs.job import JobSpec
from configs.preprocessing import infer, window_starts
from orchestrator.cleaning import Clean, clean, comparable, told, without_repeated
from orchestrator.datasets import prepare

Make = Callable[..., JobSpec]


def objects(values: list[Any]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def data_of(**sections: Any) -> DataSpec:
    return DataSpec.model_validate({"csv": "x.csv", "features": {"x": "number"}, "target": {"column": "y"}} | sections)


def clean_of(columns: dict[str, np.ndarray]) -> Clean:
    return Clean(columns, np.arange(len(columns["y"])), ())


def test_bad_rows_are_left_out_and_counted_by_reason() -> None:
    columns = {"x": objects([1, "two", None, 4, np.inf, 6]), "y": objects(["a", "b", "a", None, "b", "a"])}
    cleaned = clean(columns, data_of(bad_rows="skip"))
    assert cleaned.source_rows.tolist() == [0, 2, 5]
    assert cleaned.columns["y"].tolist() == ["a", "a", "a"]
    assert told(cleaned.dropped) == [
        "left out 2 row(s): 'x' is no number, or infinite (row 2, 5)",
        "left out 1 row(s): the target 'y' is missing (row 4)",
    ]


def test_without_skip_every_row_stays() -> None:
    columns = {"x": objects([1, "two"]), "y": objects(["a", None])}
    assert len(clean(columns, data_of()).columns["y"]) == 2


def test_nothing_left_is_an_error() -> None:
    with pytest.raises(DataError) as caught:
        clean({"x": objects(["two"]), "y": objects(["a"])}, data_of(bad_rows="skip"))
    assert str(caught.value) == (
        "all 1 rows were left out (1: 'x' is no number, or infinite); mend the data or loosen data.bad_rows"
    )


def test_only_the_first_of_equal_rows_stays_whatever_its_id() -> None:
    columns = {"x": np.array([1.0, 1.0, 2.0, 1.0]), "y": objects(["a", "a", "a", "b"]), "n": np.arange(4)}
    cleaned = without_repeated(clean_of(columns), data_of(drop_duplicates=True, id="n"))
    assert cleaned.source_rows.tolist() == [0, 2, 3]
    assert [(entry.rows, entry.examples) for entry in cleaned.dropped] == [(1, (2,))]
    images = {"x": np.zeros((3, 2, 2), np.uint8), "y": objects(["a", "a", "b"])}
    kept = without_repeated(clean_of(images), data_of(drop_duplicates=True, features={"x": "image"}))
    assert kept.source_rows.tolist() == [0, 2]


def test_a_label_reads_alike_from_every_type_of_column() -> None:
    data = data_of(features={"x": "number"})
    found = [
        comparable({"x": np.ones(2), "y": labels}, data)["y"].tolist()
        for labels in (np.array([1, 2]), np.array([1.0, 2.0]), objects(["1", "2.0"]))
    ]
    assert found == [["1", "2"]] * 3


def test_the_row_in_an_error_is_that_of_the_file(small_job: Make) -> None:
    text = "size,colour,label\n1,red,a\n1,red,a\n" + "".join(f"{n},red,{'ab'[n % 2]}\n" for n in range(2, 20))
    Path("small.csv").write_text(text + "20,red,\n")
    with pytest.raises(DataError) as caught:
        prepare(small_job("data.drop_duplicates=true", "data.split.test=0.0"))
    assert str(caught.value).endswith("small.csv: target 'label' has no value in row 21; mend or remove the row")


@pytest.mark.parametrize("seed", range(4))
def test_the_row_is_that_of_the_file_whichever_part_it_is_in(small_job: Make, seed: int) -> None:
    days = [f"2024-01-{n:02}" for n in range(1, 29)]
    days[20] = "tomorrow"
    Path("small.csv").write_text("day,label\n" + "".join(f"{day},{'ab'[n % 2]}\n" for n, day in enumerate(days)))
    with pytest.raises(DataError) as caught:
        prepare(small_job("data.features={day: date}", f"data.split={{valid: 0.2, test: 0.0, seed: {seed}}}"))
    assert str(caught.value).partition("small.csv: ")[2] == (
        "column 'day', row 21: got 'tomorrow', expected a date such as 2024-01-31"
    )


def test_windows_are_the_past_of_one_series_and_the_target_comes_after() -> None:
    data = data_of(window={"width": 2, "horizon": 2, "order": "t", "group": "s"}, split={"by": "time"})
    columns = {"t": np.array([3, 1, 2, 0, 9, 8]), "s": objects(["a", "a", "a", "a", "b", "b"])}
    assert data.window is not None
    assert window_starts(columns, data.window, ahead=2).tolist() == [[3, 1, 2, 0]]
    assert window_starts(columns, data.window, ahead=0).tolist() == [[3, 1], [1, 2], [2, 0], [5, 4]]
    with pytest.raises(DataError) as caught:
        window_starts({"t": np.arange(2), "s": objects(["a", "b"])}, data.window, ahead=2)
    assert str(caught.value) == (
        "no series has the 4 rows that one window needs (data.window.width=2, horizon=2); got 2 row(s)"
    )


def test_a_series_predicts_itself(small_job: Make) -> None:
    Path("small.csv").write_text("level\n" + "".join(f"{n if n != 30 else 'NA'}\n" for n in range(40)))
    job = small_job(
        "data.features={level: {kind: number, scale: none}}",
        "data.target={column: level, kind: number}",
        "data.window={width: 3}",
        "data.split={by: time, valid: 0.25, test: 0.0}",
        "train.loss=mean_absolute_error",
        "train.metrics=[]",
    )
    ready = prepare(job)
    train, valid = ready.splits["train"], ready.splits["valid"]
    assert train.inputs["table"][0].tolist() == [[0.0], [1.0], [2.0]]
    assert (train.target[0], len(train), len(valid), valid.target[-1]) == (3.0, 27, 9, 39.0)
    assert 30.0 not in [*train.target, *valid.target]
    assert [*ready.facts.left_out] == ["left out 1 row(s): window whose target is missing (row 31)"]
    assert ready.golden_rows[0]["level"] == [28.0, 29.0, None]


def test_kinds_are_inferred_from_the_values() -> None:
    columns = {
        "n": objects(["1", "2.5", None] * 10),
        "colour": objects(["red", "blue", None] * 10),
        "day": objects(["2024-01-01", "2024-02-01T12:00:00", None] * 10),
        "note": objects([f"some words that differ {n}" for n in range(30)]),
        "name": objects([f"n{n}" for n in range(30)] * 5),
        "same": np.ones(30),
        "row": np.arange(7, 37),
        "photo": np.zeros((30, 4, 4, 3), np.uint8),
        "y": objects(["a", "b", "a"] * 10),
    }
    found = infer(columns, data_of(features="auto")).features
    assert {name: feature.kind for name, feature in found.items()} == {
        "n": "number",
        "colour": "category",
        "day": "date",
        "name": "category",
        "photo": "image",
    }
    texts = infer({name: columns[name] for name in ("note", "y")}, data_of(features="auto")).features
    assert [feature.kind for feature in texts.values()] == ["text"]
    given = infer(columns, data_of(features={"n": "category", "*": "auto"})).features
    assert next(iter(given.items()))[1].kind == "category"


def test_a_column_that_says_nothing_cannot_be_asked_for() -> None:
    with pytest.raises(DataError) as caught:
        infer({"x": np.ones(3), "y": np.arange(3)}, data_of(features={"x": "auto"}))
    assert str(caught.value) == "feature 'x': its values fit no kind; give the kind, or remove the feature"


def test_a_target_that_is_not_there_is_named_also_where_all_columns_are_read(small_job: Make) -> None:
    with pytest.raises(DataError, match=r"small.csv has no column 'lable'; it has 'size', 'colour', 'label'$"):
        prepare(small_job("data.features=auto", "data.target.column=lable"))


def test_a_long_value_takes_no_more_than_itself(tmp_path: Path) -> None:
    """As texts of one width, 50,000 rows would take 20 GB."""
    (tmp_path / "a.csv").write_text("x,y\n" + "1,a\n2,b\n" * 25_000 + f"{'3' * 100_000}z,a\n")
    data = {"csv": str(tmp_path / "a.csv"), "features": {"x": "number"}, "target": {"column": "y"}, "bad_rows": "skip"}
    job = {"name": "job", "data": data, "model": {"function": "a:b"}, "train": {"loss": "binary_crossentropy"}}
    assert "left out 1 row(s)" in " ".join(prepare(JobSpec.model_validate(job)).facts.left_out)
