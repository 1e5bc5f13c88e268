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
    ("kind", "whole"),
    [
        ("number", {"kind": "number", "fill": "mean", "scale": "standard"}),
        ("category", {"kind": "category", "scale": "standard"}),
        ("tensor", {"kind": "tensor", "divide_by": 1.0}),
    ],
)
def test_a_bare_kind_stands_for_its_defaults(kind: str, whole: dict[str, Any]) -> None:
    assert data(features={"x": kind}).features["x"].model_dump() == whole
    assert data(features={"x": kind}) == data(features={"x": {"kind": kind}})


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
