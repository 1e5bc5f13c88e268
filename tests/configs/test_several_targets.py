"""Targets of several outputs: one-hot, multi-label and several numbers, in every form that rows come in."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from configs.errors import DataError
from configs.features import TargetSpec
from configs.preprocessing import FittedTarget, with_target
from configs.preprocessing.targets import TargetFitter


def objects(values: list[Any]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def fitted(values: np.ndarray, **target: Any) -> tuple[FittedTarget, np.ndarray]:
    """The target learned from a column `y`, by way of JSON, and what becomes of the column."""
    spec = TargetSpec.model_validate({"column": "y", **target})
    joined = with_target({"y": values}, spec)["y"]
    fitter = TargetFitter(spec)
    fitter.update(joined)
    found = FittedTarget.model_validate_json(fitter.finish().model_dump_json())
    return found, found.encode(joined)


HOT = [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
CARRIERS = {
    "array": np.array(HOT),
    "truth": np.array(HOT, bool),
    "lists": objects(HOT),
    "arrays": objects([np.array(row) for row in HOT]),
    "texts": np.array(HOT).astype(str).astype(object),
}


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("kind", ["one_hot", "multi_label", "number"])
def test_the_same_rows_in_every_form(carrier: str, kind: str) -> None:
    target, rows = fitted(CARRIERS[carrier], kind=kind)
    assert rows.dtype == np.float32
    assert rows.tolist() == HOT
    assert target.classes == (None if kind == "number" else (0, 1, 2))


def test_columns_are_named_classes() -> None:
    spec = TargetSpec.model_validate({"column": ["cat", "dog"], "kind": "one_hot"})
    assert (spec.column, spec.source_columns) == ("target", ("cat", "dog"))
    columns = with_target({"cat": np.array([1, 0]), "dog": objects(["false", "True"])}, spec)
    fitter = TargetFitter(spec)
    fitter.update(columns["target"])
    target = fitter.finish()
    assert target.encode(columns["target"]).tolist() == [[1, 0], [0, 1]]
    scores = np.array([[0.2, 0.8], [0.9, 0.1]], np.float32)
    labels = target.decode(scores)
    assert labels == ["dog", "cat"]
    answers = target.answers(labels, scores)
    assert list(answers) == ["target", "cat", "dog"]
    assert answers["dog"].tolist() == pytest.approx([0.8, 0.1])


def test_labels_of_one_column_become_an_output_each() -> None:
    target, rows = fitted(objects(["b", "a", "b"]), kind="one_hot")
    assert (target.classes, rows.tolist()) == (("a", "b"), [[0, 1], [1, 0], [0, 1]])


@pytest.mark.parametrize(
    ("cells", "separator"), [(["b|a", None, "c"], "|"), ([["a", "b"], [], ["c"]], None), (["a;b", "", "c"], ";")]
)
def test_several_labels_in_a_cell(cells: list[Any], separator: str | None) -> None:
    target, rows = fitted(objects(cells), kind="multi_label", separator=separator)
    assert rows.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    labels = target.decode(np.array([[0.9, 0.6, 0.5], [0, 0, 0.1]]))
    assert labels == [["a", "b"], []]
    shown = target.answers(labels, np.zeros((2, 3)))
    assert list(shown) == ["y", "y_a", "y_b", "y_c"]
    assert shown["y"] == [f"a{separator or '|'}b", ""]


def test_several_numbers() -> None:
    target, rows = fitted(np.array([[1.5, -2.0], [3.0, 4.0]]), kind="number")
    assert target.decode(rows) == [[1.5, -2.0], [3.0, 4.0]]
    assert list(target.answers([], rows)) == ["y_0", "y_1"]


def test_one_number_per_row_in_an_array_is_a_number() -> None:
    target, rows = fitted(np.array([[1.5], [3.0]]), kind="number")
    assert (target.width, rows.shape) == (None, (2,))


@settings(deadline=None)
@given(st.lists(st.sets(st.sampled_from("abc")), min_size=1).filter(any))
def test_labels_come_back(sets: list[set[str]]) -> None:
    target, rows = fitted(objects([sorted(one) for one in sets]), kind="multi_label")
    assert [set(map(str, one)) for one in target.decode(rows) if isinstance(one, list)] == sets
    assert target.counts(objects(["|".join(sorted(one)) for one in sets])).tolist() == [
        sum(label in one for one in sets) for label in target.classes or ()
    ]


@pytest.mark.parametrize(
    ("values", "target", "expected"),
    [
        (np.array([[1, 0], [1, 1]]), {"kind": "one_hot"}, r"row 2: got \[1, 1\], expected one 1 and 0 elsewhere"),
        (np.array([[1, 0], [0, 2]]), {"kind": "multi_label"}, r"row 2: got \[0, 2\], expected 0 or 1 for every label"),
        (np.array([[1, 0], [np.nan, 0]]), {"kind": "one_hot"}, r"row 2: got \[nan, 0\], expected a value for each"),
        (np.array([[1, 0], [1, 0]]), {"kind": "one_hot"}, "has one class, 0, in the training part; there is nothing"),
        (np.zeros((2, 2)), {"kind": "multi_label"}, "has no label in the training part; there is nothing to learn"),
        (np.zeros((2, 2)), {"kind": "class"}, "set data.target.kind to one_hot, multi_label or number"),
        (np.zeros((2, 2, 2)), {"kind": "number"}, "expected one value, or one list of values"),
        (objects([["a"], ["b", "c"]]), {}, "holds lists of labels.*set data.target.kind=multi_label"),
        (
            objects([["a|b"], ["c"]]),
            {"kind": "multi_label"},
            "the label 'a|b' holds '|'.*another data.target.separator",
        ),
        (np.eye(2), {"kind": "one_hot", "classes": ["a", "b", "c"]}, "has 3 names; give 2"),
    ],
)
def test_what_cannot_be_learned(values: np.ndarray, target: dict[str, Any], expected: str) -> None:
    with pytest.raises(DataError, match=expected.replace("a|b", "a.b").replace("'|'", "'.'")):
        fitted(values, **target)


def test_a_label_that_training_never_showed() -> None:
    target, _ = fitted(objects(["a|b", "a"]), kind="multi_label")
    rows = objects(["a", "b|x", None])
    assert target.knows(rows).tolist() == [True, False, True]
    with pytest.raises(DataError, match="has 'x', which the training part never shows, in row 2"):
        target.encode(rows)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({"columns": ["a", "a"]}, "columns has 'a' twice"),
        ({"columns": ["a", "b"], "strip": "."}, "strip and labels go with labels in one column"),
        ({"column": "a", "separator": "|", "kind": "number"}, "separator goes with one column of texts"),
        ({"columns": ["a", "b"], "classes": ["a", "b"]}, "classes names the places of an array"),
    ],
)
def test_options_that_contradict_each_other(target: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        TargetSpec.model_validate(target)


def test_a_document_of_an_older_version() -> None:
    assert FittedTarget.model_validate({"column": "y", "classes": [0, 1]}).kind == "class"
    assert FittedTarget.model_validate({"column": "y"}).kind == "number"
