"""Where rows come from: what goes together, and what each short form stands for."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from configs.job import JobSpec
from configs.source import ReadSpec, SourceSpec


def source(**keys: Any) -> SourceSpec:
    return SourceSpec.model_validate(keys)


def test_one_place_stands_for_a_list_of_one() -> None:
    assert source(files="a.csv") == source(files=["a.csv"])
    assert source(files=["b", "a"]).places == {"train": ("b", "a")}


def test_every_part_has_its_places() -> None:
    spec = source(csv="a.csv", valid_files="b.csv", test_files=["c", "d"])
    assert spec.places == {"train": ("a.csv",), "valid": ("b.csv",), "test": ("c", "d")}
    assert spec.source == "a.csv"
    assert source(function="a:b").source == "a:b"


def test_the_home_folder_is_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert source(files=["~/x.csv", "s3://bucket/~"]).files == ("/home/ada/x.csv", "s3://bucket/~")
    assert source(csv="~/x.csv").csv == Path("/home/ada/x.csv")


def test_a_csv_at_a_url_is_a_file_of_format_csv() -> None:
    assert source(csv="s3://bucket/x.csv") == source(files="s3://bucket/x.csv", format="csv")


def test_a_source_survives_json() -> None:
    spec = source(files=["a", "b"], test_files="c", format="csv", read={"names": ["x"], "missing": ["?"]})
    assert SourceSpec.model_validate_json(spec.model_dump_json()) == spec


def test_files_for_validation_stand_for_a_split() -> None:
    job: dict[str, Any] = {"name": "a", "model": {"function": "a:b"}}
    data = {"csv": "a", "features": {"x": "number"}, "target": {"column": "y"}, "split": {"valid": 0}}
    assert JobSpec.model_validate(job | {"data": data}).monitor == "loss"
    assert JobSpec.model_validate(job | {"data": data | {"valid_files": "b"}}).monitor == "val_loss"


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({}, "give exactly one of csv, files and function; got none"),
        ({"csv": "a", "files": "b"}, "give exactly one of csv, files and function; got csv and files"),
        ({"csv": "s3://a/b.csv", "files": "b"}, "got csv and files"),
        ({"files": []}, "expected a file, a folder, a glob, or a list of them; got nothing"),
        ({"files": ""}, "got nothing"),
        ({"files": "a", "params": {"x": 1}}, "params goes with function; files take none"),
        ({"csv": "a", "format": "parquet"}, "format=parquet does not go with csv; name the file in files"),
        ({"function": "a:b", "test_files": "c"}, "test_files goes with csv or files"),
        ({"function": "a:b", "read": {"quote": "'"}}, "read.quote goes with csv or files"),
        ({"files": "a", "format": "xls"}, "Input should be 'csv'"),
        ({"files": "a", "read": {"seperator": ";"}}, "unknown key 'seperator'; did you mean 'separator'?"),
    ],
)
def test_what_does_not_go_together(keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        source(**keys)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"separator": ", "}, "got ', ', expected one character"),
        ({"quote": ""}, "expected one character"),
        ({"escape": '"'}, "a doubled quote needs no escape"),
        ({"encoding": "utf-9"}, "'utf-9' is not an encoding; use a name such as utf-8, latin-1 or cp1252"),
        ({"header": False}, "header: false needs names"),
        ({"names": ["a", "b", "a"]}, "names has 'a' twice"),
        ({"height": 32}, "height and width go together"),
        ({"channels": 2}, "Input should be 1, 3 or 4"),
    ],
)
def test_wrong_options(keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ReadSpec.model_validate(keys)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "header"),
    [({}, True), ({"names": ["a"]}, False), ({"names": ["a"], "header": True}, True)],
)
def test_names_stand_for_a_missing_header(keys: dict[str, Any], header: bool) -> None:
    assert ReadSpec.model_validate(keys).has_header is header
