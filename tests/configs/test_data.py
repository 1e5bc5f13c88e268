"""Sections of the data spec: shorthands mean what their long forms mean."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from configs.data import DataSpec, SplitSpec


def data(**changes: Any) -> DataSpec:
    return DataSpec.model_validate(
        {"csv": "rows.csv", "features": {"size": "number"}, "target": {"column": "label"}} | changes
    )


@pytest.mark.parametrize(
    ("kind", "defaults"),
    [
        ("number", {"fill": "mean", "scale": "standard", "clip": None, "log": False, "buckets": None}),
        ("category", {"encode": "ordinal", "scale": "standard", "fill": None, "as_input": False, "min_count": 1}),
        ("date", {"parts": ("year", "month", "day", "weekday"), "cyclic": False, "fill": "median"}),
        ("text", {"length": 100, "max_tokens": 20_000, "lower": True, "strip_punctuation": True}),
        ("image", {"divide_by": 255.0, "augment": None}),
        ("tensor", {"divide_by": 1.0, "mean": 0.0, "std": 1.0}),
        ("auto", {}),
    ],
)
def test_a_bare_kind_stands_for_its_defaults(kind: str, defaults: dict[str, Any]) -> None:
    whole = data(features={"x": kind}).features["x"].model_dump()
    assert {"kind": kind, **defaults}.items() <= whole.items()
    assert data(features={"x": kind}) == data(features={"x": {"kind": kind}})


def test_auto_stands_for_every_other_column() -> None:
    assert data(features="auto") == data(features={"*": {"kind": "auto"}})
    assert [*data(features={"size": "number", "*": "auto"}).features] == ["size", "*"]


@pytest.mark.parametrize(
    ("feature", "problem"),
    [
        ({"kind": "number", "clip": [0.9, 0.1]}, "expected two quantiles in order"),
        ({"kind": "number", "clip": [1, 99]}, "expected two quantiles in order"),
        ({"kind": "number", "buckets": 1}, "greater than or equal to 2"),
        ({"kind": "number", "buckets": [3, 2]}, "expected rising edges"),
        ({"kind": "number", "encode": "one_hot"}, "goes with buckets"),
        ({"kind": "number", "encode": "one_hot", "buckets": 3, "scale": "minmax"}, "remove one of them"),
        ({"kind": "category", "encode": "hash"}, "encode=hash and buckets go together"),
        ({"kind": "category", "buckets": 9}, "encode=hash and buckets go together"),
        ({"kind": "category", "encode": "one_hot", "as_input": True}, "as_input gives codes"),
        ({"kind": "category", "encode": "one_hot", "scale": "minmax"}, "only with ordinal codes"),
        ({"kind": "category", "encode": "hash", "buckets": 9, "min_count": 2}, "learns no values"),
        ({"kind": "category", "encode": "multi_hot", "fill": "a"}, "fill does not go with"),
        ({"kind": "date", "parts": []}, "at least 1"),
        ({"kind": "text", "max_tokens": 2}, "greater than or equal to 3"),
        ({"kind": "image", "std": 0}, "greater than 0"),
        ({"kind": "image", "augment": {"shift": 2}}, "less than 1"),
    ],
)
def test_options_that_do_not_fit_together(feature: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        data(features={"x": feature})


def test_only_auto_stands_for_every_other_column() -> None:
    with pytest.raises(ValidationError, match="can only be auto"):
        data(features={"*": "number"})


@pytest.mark.parametrize("own", ["text", "image", {"kind": "category", "as_input": True}])
def test_an_input_of_its_own_is_not_called_table(own: Any) -> None:
    with pytest.raises(ValidationError, match="rename that column"):
        data(features={"table": own, "size": "number"})
    assert data(features={"table": own})


def test_a_number_target_has_no_labels() -> None:
    with pytest.raises(ValidationError, match="a number has no label"):
        data(target={"column": "label", "kind": "number", "strip": "."})


def test_defaults() -> None:
    spec = data()
    assert spec.csv == Path("rows.csv")
    assert (spec.target.kind, spec.split.valid, spec.split.test, spec.split.seed) == ("class", 0.2, 0.0, 0)


def test_a_spec_survives_json() -> None:
    spec = data(features={"a": {"kind": "number", "fill": 3}, "b": "category", "c": "tensor"}, id="row")
    assert DataSpec.model_validate_json(spec.model_dump_json()) == spec


def test_the_order_of_features_is_that_of_the_file() -> None:
    names = ["z", "a", "m", "b"]
    assert list(data(features=dict.fromkeys(names, "number")).features) == names


@given(st.floats(0, 1), st.floats(0, 1))
def test_some_rows_are_always_left_to_train(valid: float, test: float) -> None:
    if valid < 1 and test < 1 and valid + test < 1:
        assert SplitSpec(valid=valid, test=test).valid == valid
    else:
        with pytest.raises(ValidationError):
            SplitSpec(valid=valid, test=test)


@pytest.mark.parametrize("number", [0, -1, float("inf"), float("nan")])
def test_a_tensor_is_divided_by_a_positive_finite_number(number: float) -> None:
    with pytest.raises(ValidationError, match="greater than 0|finite"):
        data(features={"x": {"kind": "tensor", "divide_by": number}})
