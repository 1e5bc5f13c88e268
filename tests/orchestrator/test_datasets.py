"""Rows become splits: nothing lost, nothing seen twice, and a wrong value is named with its place in the source."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.data import SplitSpec
from configs.errors import DataError, SpecError
from configs.job import JobSpec
from configs.preprocessing import Preprocessing
from orchestrator.datasets import prepare
from orchestrator.sources.columns import load_columns
from orchestrator.sources.csv_files import read_csv
from orchestrator.sources.functions import call_source
from orchestrator.sources.places import find_file
from orchestrator.splits import split_rows

Make = Callable[..., JobSpec]
HEADER = "size,colour,label\n"
GOOD = HEADER + "".join(f"{size},{'red' if size % 3 else 'blue'},{'ab'[size % 2]}\n" for size in range(40))


@pytest.fixture
def source(small_job: Make, monkeypatch: pytest.MonkeyPatch) -> Callable[..., JobSpec]:
    """Return `make(function, *overrides)`: the small job on the columns that a function returns."""

    def make(function: Callable[..., Any], *overrides: str) -> JobSpec:
        module = ModuleType("rows")
        module.load = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "rows", module)
        monkeypatch.setattr(sys, "path", list(sys.path))
        return small_job("train.loss=null", "data.csv=null", "data.function=rows:load", *overrides)

    return make


def columns(**changes: Any) -> Callable[..., dict[str, Any]]:
    plain = {"size": np.arange(40.0), "colour": np.array(["a", "b"] * 20), "label": np.array([0, 1] * 20)}
    return lambda: plain | changes


def message(call: Callable[[], Any]) -> str:
    with pytest.raises((DataError, SpecError)) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_splits_and_what_they_hold(small_job: Make) -> None:
    data = prepare(small_job())
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 24, "valid": 9, "test": 8}
    assert data.classes == 2
    assert data.preprocessing.target.classes == ("big", "small")
    place = list(data.preprocessing.features).index("size")
    sizes = np.concatenate([split.inputs["table"][:, place] for split in data.splits.values()])
    scaling = data.preprocessing.features["size"].scaling  # type: ignore[union-attr]
    np.testing.assert_allclose(np.sort(sizes * scaling.unit + scaling.shift), np.arange(1, 42), rtol=1e-5)


def test_statistics_are_those_of_the_training_part(small_job: Make) -> None:
    data = prepare(small_job())
    table = data.splits["train"].inputs["table"]
    np.testing.assert_allclose(table.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(table.std(axis=0), 1, rtol=1e-5)


@given(st.integers(1, 200), st.floats(0, 0.5), st.floats(0, 0.4), st.integers(0, 100))
def test_every_row_is_in_exactly_one_part(rows: int, valid: float, test: float, seed: int) -> None:
    split = SplitSpec(valid=valid, test=test, seed=seed)
    try:
        parts = split_rows(rows, split)
    except DataError:
        assert rows < 100 or round(100 * valid) == 0 or round(100 * test) == 0
        return
    assert sorted(np.concatenate(list(parts.values()))) == list(range(rows))
    assert set(parts) == {"train"} | ({"valid"} if valid else set()) | ({"test"} if test else set())


def test_a_seed_gives_its_split_again() -> None:
    first, again, other = (split_rows(50, SplitSpec(seed=seed)) for seed in (1, 1, 2))
    assert first["valid"].tolist() == again["valid"].tolist() != other["valid"].tolist()


def test_golden_rows_go_through_json_to_the_same_inputs(csv: Make) -> None:
    data = prepare(csv(GOOD + ",,a\nNA,NULL,b\n" * 10))
    rows = json.loads(json.dumps(data.golden_rows, allow_nan=False))
    assert len(rows) == 8
    again = Preprocessing.model_validate_json(data.preprocessing.model_dump_json())
    np.testing.assert_array_equal(again.transform(again.columns_of(rows))["table"], data.golden.inputs["table"])


def test_the_file_is_looked_for_here_and_beside_the_yaml_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    here.mkdir()
    home.mkdir()
    monkeypatch.chdir(here)
    expected = (
        f"data.csv=x.csv: no such file in {here} or {home}. Correct it, or give data.csv=PATH after the YAML file"
    )
    assert message(lambda: find_file(Path("x.csv"), home)) == expected
    (home / "x.csv").write_text("")
    assert find_file(Path("x.csv"), home) == home / "x.csv"
    (here / "x.csv").write_text("")
    assert find_file(Path("x.csv"), home) == here / "x.csv"
    assert find_file(home / "x.csv", here) == home / "x.csv"


def test_types_of_csv_columns(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(
        "int,hole,float,flag,day,text,none,id\n1,1,.5,true,2024-01-02,a,,007\n2,,1,false,2024-01-03,,,08\n"
    )
    table = read_csv(path, ["id", "text"])
    assert table["int"].tolist() == [1, 2]
    np.testing.assert_array_equal(table["hole"], [1, np.nan])
    assert table["float"].tolist() == [0.5, 1]
    assert table["flag"].tolist() == [1, 0]
    assert table["day"].tolist() == ["2024-01-02", "2024-01-03"]
    assert table["text"].tolist() == ["a", None]
    assert table["none"].tolist() == [None, None]
    assert table["id"].tolist() == ["007", "08"]


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbf" + GOOD.encode(), GOOD.replace("\n", "\r\n"), GOOD.replace("\n", "\n\n")]
)
def test_spellings_of_the_same_file(csv: Make, content: bytes | str) -> None:
    same = load_columns(csv(content)).columns
    expected = load_columns(csv(GOOD)).columns
    assert {name: values.tolist() for name, values in same.items()} == {
        name: values.tolist() for name, values in expected.items()
    }


RAGGED = (
    "{{path}}, row 41 (line 42): expected 3 values, got {}; correct it, or leave such rows out with "
    "data.bad_rows: skip"
)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "{path}: the file is empty; give one that has a header line and rows"),
        ("\n", "{path}: the file is empty; give one that has a header line and rows"),
        (HEADER, "{path} has no rows; a job needs at least a few to train on"),
        ("size,size,colour,label\n1,2,a,b\n", "{path}: the header has column 'size' twice; rename one"),
        ("size,colour,colour,label\n1,2,a,b\n", "{path}: the header has column 'colour' twice; rename one"),
        (GOOD + "1,2\n", RAGGED.format(2)),
        (GOOD + "1,2,3,4\n", RAGGED.format(4)),
        (
            GOOD.encode() + b"1,caf\xe9,a\n",
            "{path}, row 41 (line 42): column 'colour' is not utf-8 text; give data.read.encoding, such as latin-1 or "
            "cp1252, or save the file as UTF-8",
        ),
        (
            b"siz\xe9,colour,label\n1,a,b\n",
            "{path}: the header is not utf-8 text; give data.read.encoding, such as latin-1 or cp1252, or save the "
            "file as UTF-8",
        ),
        (
            GOOD.replace(",", ";"),
            "{path} has no column 'size'; it has 'size;colour;label'. It seems to be separated by ';': "
            'give data.read.separator: ";"',
        ),
        (
            HEADER.replace(",", ";") + "1,5;red;a\n",
            "{path} has no column 'size'; it has 'size;colour;label'. It seems to be separated by ';': "
            'give data.read.separator: ";"',
        ),
        (
            GOOD.replace(",", "\t"),
            "{path} has no column 'size'; it has 'size\\tcolour\\tlabel'. It seems to be separated by tabs: "
            'give data.read.separator: "\\t"',
        ),
        ("size,colour\n1,a\n", "{path} has no column 'label'; it has 'size', 'colour'"),
    ],
)
def test_files_that_cannot_be_used(csv: Make, content: bytes | str, expected: str) -> None:
    text = message(lambda: prepare(csv(content)))
    expected = expected.replace("{path}", str(Path("small.csv").absolute()))
    assert text.replace("has no column 'colour'", "has no column 'size'") == expected


def test_a_folder_is_no_csv_file(tmp_path: Path) -> None:
    expected = f"{tmp_path}: cannot be read as CSV: Expected file path, but {tmp_path} is a directory"
    assert message(lambda: read_csv(tmp_path, [])) == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("abc,red,a\n", "column 'size', row 41: got 'abc', expected a number"),
        ("inf,red,a\n", "column 'size', row 41: got an infinite value; mend or remove the row"),
        ("1e300,red,a\n", "column 'size', row 41: 1e+300 is too large; mend or remove the row"),
        ("1,red,\n", "target 'label' has no value in row 41; mend or remove the row"),
    ],
)
def test_a_wrong_value_is_named_with_its_row_in_the_file(csv: Make, more: str, expected: str) -> None:
    """Not the row of a shuffled part."""
    for place in (GOOD + more, GOOD + more * 9):
        spec = csv(place)
        assert message(lambda spec=spec: prepare(spec)) == f"{spec.home / spec.data.csv}: {expected}"  # type: ignore[misc]


def test_a_wrong_value_in_the_second_of_two_files(csv: Make, tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text(HEADER + "1,red,a\ninf,red,a\n")
    files = json.dumps([str(tmp_path / "small.csv"), str(tmp_path / "more.csv")])
    spec = csv(GOOD, "data.csv=null", f"data.files={files}")
    assert message(lambda: prepare(spec)) == (
        f"{tmp_path}/more.csv: column 'size', row 2: got an infinite value; mend or remove the row"
    )


def test_a_label_that_training_never_shows(csv: Make) -> None:
    content = HEADER + "".join(f"{row},red,{'ab'[row % 2]}\n" for row in range(40))
    valid_row = int(split_rows(40, csv(content).data.split)["valid"][0])
    lines = content.splitlines()
    lines[valid_row + 1] = "1,red,rare"
    spec = csv("\n".join(lines))
    assert message(lambda: prepare(spec)) == (
        f"{spec.home / spec.data.csv}: target 'label' has 'rare', which the training part never shows, in row "
        f"{valid_row + 1}; mend or remove the row"
    )


@pytest.mark.parametrize(
    ("content", "overrides", "expected"),
    [
        (
            HEADER + "1,a,x\n2,b,x\n" * 9,
            [],
            "target 'label' has one class, 'x', in the training part; there is nothing to learn",
        ),
        (HEADER + "1,a,\n2,b,\n" * 9, [], "{}target 'label' has no value in row 1; mend or remove the row"),
        (
            HEADER + ",a,x\n,b,y\n" * 9,
            [],
            "column 'size' has no value in the training part, so its mean is not defined. "
            "Give a constant fill or remove the feature",
        ),
        (
            HEADER + "1,a,x\n",
            [],
            "data.split.valid=0.2 of 1 row(s) is about 0.2 row(s) and leaves none for the valid part; "
            "give a larger fraction, or more rows",
        ),
        (
            HEADER + "1,a,2\n2,b,\n" * 9,
            ["data.target.kind=number"],
            "{}target 'label' has no finite number in row 2; mend or remove the row",
        ),
        (HEADER + "2024-01-02,a,x\n" * 9, [], "{}column 'size', row 1: got '2024-01-02', expected a number"),
        (
            GOOD,
            ["data.features.size=tensor"],
            "column 'size': expected an array of numbers of one shape per row, got texts; paths of image files are "
            "read as a feature of kind image",
        ),
    ],
)
def test_rows_that_cannot_be_used(csv: Make, content: str, overrides: list[str], expected: str) -> None:
    spec = csv(content, *overrides)
    assert message(lambda: prepare(spec)) == expected.format(f"{spec.home / spec.data.csv}: ")


def test_labels_that_pandas_wrote_as_floats(csv: Make) -> None:
    data = prepare(csv(HEADER + "1,3,0.0\n2,3.0,1.0\n" * 9))
    assert data.preprocessing.target.classes == (0, 1)
    assert data.preprocessing.features["colour"].values == ("3",)  # type: ignore[union-attr]


def test_a_function_gives_columns(source: Make) -> None:
    data = prepare(source(columns()))
    assert data.preprocessing.target.classes == (0, 1)
    assert len(data.splits["train"]) == 24


def test_parameters_reach_the_function(source: Make) -> None:
    spec = source(lambda rows: columns(size=np.full(rows, 7.0))(), "data.params={rows: 40}")
    assert load_columns(spec).columns["size"].tolist() == [7.0] * 40


@pytest.mark.parametrize(
    "marks", [[None, "a"], [np.nan, "a"], [pd.NA, "a"], [pd.NaT, "a"]], ids=["None", "NaN", "NA", "NaT"]
)
def test_every_mark_of_a_missing_value_is_missing(source: Make, marks: list[Any]) -> None:
    data = prepare(source(columns(colour=np.array(marks * 20, object))))
    assert data.preprocessing.features["colour"].values == ("a",)  # type: ignore[union-attr]
    assert {row["colour"] for row in json.loads(json.dumps(data.golden_rows))} == {None, "a"}


def test_a_pandas_frame_with_its_own_types(source: Make) -> None:
    frame = pd.DataFrame(
        {
            "size": pd.array([1, None] * 20, dtype="Int64"),
            "colour": pd.Categorical(["a", None] * 20),
            "label": pd.array([True, False] * 20, dtype="boolean"),
        }
    )
    data = prepare(source(lambda: frame))
    assert data.preprocessing.features["size"].fill == 1  # type: ignore[union-attr]
    assert data.preprocessing.features["colour"].values == ("a",)  # type: ignore[union-attr]
    assert data.preprocessing.target.classes == ("False", "True")


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda: 1 / 0, "data.function rows:load raised ZeroDivisionError: division by zero"),
        (lambda: exec("raise ValueError('a\\nb')"), "data.function rows:load raised ValueError: a b"),
        (lambda: [1], "data.function rows:load returned list; it must return a dict of arrays or a pandas frame"),
        (lambda: None, "data.function rows:load returned NoneType; it must return a dict of arrays or a pandas frame"),
        (
            columns(size=np.zeros(3)),
            "data.function rows:load returned columns of different lengths: {'size': 3, 'colour': 40, 'label': 40}",
        ),
        (columns(size=3.0), "column 'size' is one float, expected an array with a value per row"),
        (columns(size=[[1], [1, 2]]), "column 'size': its rows differ in shape; make them equal"),
        (
            columns(size=np.zeros((40, 2))),
            "column 'size' has shape (2,) per row, 'colour' (); columns of the table must be alike: make arrays a "
            "tensor feature",
        ),
        (
            lambda: pd.DataFrame([[1, 2]], columns=["size", "size"]),
            "data.function rows:load returned column 'size' twice; rename one",
        ),
        (
            lambda: {"size": [], "colour": [], "label": []},
            "data.function rows:load has no rows; a job needs at least a few to train on",
        ),
        (lambda: {"size": [1]}, "data.function rows:load has no column 'colour'; it has 'size'"),
    ],
)
def test_functions_that_give_no_columns(source: Make, function: Callable[[], Any], expected: str) -> None:
    text = message(lambda: prepare(source(function)))
    assert text == expected


def test_a_function_that_is_not_there(source: Make) -> None:
    spec = source(columns(), "data.function=rows:laod")
    expected = "data.function rows:laod raised AttributeError: module 'rows' has no attribute 'laod'"
    assert message(lambda: call_source(spec.data, spec.home)) == expected
