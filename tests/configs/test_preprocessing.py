"""Fitted preprocessing: its laws, that it survives JSON, and that a wrong value is named with its row."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from configs.data import DataSpec
from configs.errors import DataError
from configs.preprocessing import (
    FIRST_SEEN,
    MISSING,
    MISSING_TEXTS,
    TABLE,
    UNSEEN,
    FittedTarget,
    Preprocessing,
    Scaling,
    as_texts,
)
from configs.rules import USUAL

ANY_TEXTS = st.text(st.characters(codec="utf-8"), max_size=5)
TEXTS = ANY_TEXTS.filter(lambda text: as_texts("x", np.array([text], object), USUAL) == [text])
"""Texts that stand for themselves."""
NUMBERS = st.floats(-1e6, 1e6)


def spec_of(**features: Any) -> DataSpec:
    return DataSpec.model_validate({"csv": "x.csv", "features": features, "target": {"column": "label"}})


def objects(values: list[Any]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def fit(values: Any, feature: Any) -> Preprocessing:
    values = values if isinstance(values, np.ndarray) else objects(values)
    labels = np.arange(len(values)) % 2
    return Preprocessing.fit({"x": values, "label": labels}, spec_of(x=feature))


def table(fitted: Preprocessing, values: Any) -> list[float]:
    columns = {"x": values if isinstance(values, np.ndarray) else objects(values)}
    return fitted.transform(columns)[TABLE][:, 0].tolist()


@given(st.lists(NUMBERS | st.none(), min_size=2).filter(lambda values: any(value is not None for value in values)))
def test_a_standardised_training_column_has_mean_0_and_deviation_1(values: list[float | None]) -> None:
    known = np.array([value for value in values if value is not None])
    assume(np.ptp(known) > max(1e-9, 1e-6 * np.abs(known).max()))
    scaled = np.array(table(fit(values, "number"), values), np.float64)
    assert abs(scaled.mean()) < 1e-3
    assert scaled.std() == pytest.approx(1, rel=1e-3)


@given(st.lists(NUMBERS, min_size=2))
def test_a_minmax_training_column_fills_0_to_1(values: list[float]) -> None:
    assume(np.ptp(values) > max(1e-9, 1e-6 * np.abs(values).max()))
    scaled = table(fit(values, {"kind": "number", "scale": "minmax"}), values)
    assert (min(scaled), max(scaled)) == (0, 1)


@given(NUMBERS, st.integers(1, 50), st.booleans(), st.sampled_from(["standard", "minmax"]))
def test_a_constant_column_is_not_divided_by_rounding(value: float, rows: int, holes: bool, scale: str) -> None:
    """The mean of 41 times 0.1 is not 0.1; what is left must not become the unit."""
    values = [value] * rows + [None] * holes
    fitted = fit(values, {"kind": "number", "scale": scale})
    assert fitted.features["x"].scaling.unit == 1  # type: ignore[union-attr]
    assert table(fitted, [value]) == pytest.approx([0], abs=1e-8)


@pytest.mark.parametrize(
    ("fill", "filled"), [("mean", 4.0), ("median", 2.0), (-1, -1.0), (0.5, 0.5)], ids=["mean", "median", "-1", "0.5"]
)
def test_a_missing_number_is_filled(fill: object, filled: float) -> None:
    fitted = fit([1, 2, 9, None], {"kind": "number", "fill": fill, "scale": "none"})
    assert table(fitted, [None, math.nan, 7]) == [filled, filled, 7]


@pytest.mark.parametrize(
    "values",
    [
        np.array([1, 0, 1]),
        np.array([1.0, 0.0, 1.0], np.float16),
        np.array([True, False, True]),
        np.array(["1", "0", "1.0"]),
        [1, "0", True],
        [np.float32(1), 0, 1],
    ],
    ids=["int", "float16", "bool", "text", "mixed", "numpy scalar"],
)
def test_numbers_of_every_type(values: Any) -> None:
    fitted = fit(values, {"kind": "number", "scale": "none"})
    assert table(fitted, values) == [1, 0, 1]


@given(st.lists(TEXTS, min_size=1), TEXTS)
def test_codes_of_categories(seen: list[str], other: str) -> None:
    """0 for unseen, 1 for missing, then the sorted values that training showed."""
    fitted = fit([*seen, None], {"kind": "category", "scale": "none"})
    expected = [FIRST_SEEN + sorted(set(seen)).index(text) for text in seen]
    assert table(fitted, [*seen, None]) == [*expected, MISSING]
    assert table(fitted, [other]) == [expected[seen.index(other)] if other in seen else UNSEEN]


@pytest.mark.parametrize(
    ("trained", "asked"),
    [
        (["3", "4"], [3, 4]),
        (["3", "4"], [3.0, 4.0]),
        ([3, 4], ["3", "4"]),
        (np.array([3.0, 4.0]), [3, 4]),
        (np.array([True, False]), [True, False]),
        (np.array(["2024-01-01", "2024-06-30"], "datetime64[ns]"), ["2024-01-01", "2024-06-30"]),
    ],
    ids=["text, JSON ints", "text, JSON floats", "ints, text", "float array, JSON ints", "bool", "dates, JSON text"],
)
def test_a_category_is_the_same_from_csv_numpy_and_json(trained: Any, asked: Any) -> None:
    fitted = fit(trained, {"kind": "category", "scale": "none"})
    codes = table(fitted, trained)
    assert sorted(codes) == [2, 3]
    rows = json.loads(json.dumps([{"x": value} for value in asked]))
    assert fitted.transform(fitted.columns_of(rows))[TABLE][:, 0].tolist() == codes


@pytest.mark.parametrize(
    ("same", "text"),
    [
        (["3", "3.0", "3.00", 3, 3.0, np.float32(3), np.int8(3)], "3"),
        (["-3", "-3.0", -3, -3.0], "-3"),
        (["0", "0.0", "-0.0", 0, -0.0], "0"),
        (["true", "True", "TRUE", True, np.bool_(True)], "True"),
        (["false", "False", "FALSE", False], "False"),
        ([*sorted(MISSING_TEXTS), None, math.nan], None),
    ],
)
def test_one_text_for_the_same_value(same: list[Any], text: str | None) -> None:
    assert as_texts("x", objects(same), USUAL) == [text] * len(same)


@pytest.mark.parametrize("text", ["007", "3.10", "3.", ".0", "007.0", "+3.0", "3.0 ", "1e3", "yes", "tRUE", "na"])
def test_a_text_that_only_looks_like_a_number_stays(text: str) -> None:
    assert as_texts("x", objects([text])) == [text]


@given(ANY_TEXTS)
def test_a_text_is_changed_once(text: str) -> None:
    """The driver does it before the golden rows are kept, and `transform` does it again."""
    once = as_texts("x", objects([text]))
    assert as_texts("x", objects(once)) == once


def test_missing_dates_are_missing_categories() -> None:
    fitted = fit(np.array(["2024-01-01", "NaT"], "datetime64[D]"), {"kind": "category", "scale": "none"})
    assert fitted.features["x"].values == ("2024-01-01",)  # type: ignore[union-attr]
    assert table(fitted, np.array(["NaT", "2024-01-02"], "datetime64[D]")) == [MISSING, UNSEEN]


def test_a_category_that_is_always_missing() -> None:
    fitted = fit([None, None], "category")
    assert table(fitted, [None]) == [0]
    assert table(fitted, ["new"]) == [-1]


@given(
    st.lists(st.tuples(NUMBERS | st.none(), TEXTS | st.none(), st.floats(-1, 1, width=32)), min_size=1),
    st.sampled_from(["standard", "minmax", "none"]),
)
def test_what_json_carries_transforms_the_same(rows: list[tuple[Any, Any, float]], scale: str) -> None:
    """The document and the rows go through JSON, as they do between training and the endpoint."""
    spec = spec_of(
        number={"kind": "number", "scale": scale, "fill": 0.5},
        text={"kind": "category", "scale": scale},
        image={"kind": "tensor", "divide_by": 3},
    )
    numbers, texts, pixels = (list(column) for column in zip(*rows, strict=True))
    columns = {
        "number": objects(numbers),
        "text": objects(texts),
        "image": np.array([[pixel, pixel] for pixel in pixels], np.float32),
    }
    fitted = Preprocessing.fit({**columns, "label": np.arange(len(rows)) % 2}, spec)
    again = Preprocessing.model_validate_json(fitted.model_dump_json())
    assert again == fitted
    sent = [
        {"number": n, "text": t, "image": image.tolist()}
        for n, t, image in zip(numbers, texts, columns["image"], strict=True)
    ]
    received = json.loads(json.dumps(sent, allow_nan=False))
    expected, found = fitted.transform(columns), again.transform(again.columns_of(received))
    assert expected.keys() == found.keys() == {TABLE, "image"}
    for name in expected:
        assert expected[name].dtype == found[name].dtype == np.float32
        np.testing.assert_array_equal(expected[name], found[name])


def test_scalars_stand_side_by_side_in_the_order_of_the_features() -> None:
    spec = spec_of(b={"kind": "number", "scale": "none"}, image="tensor", a={"kind": "number", "scale": "none"})
    columns = {"a": np.array([1, 2]), "b": np.array([3, 4]), "image": np.ones((2, 3)), "label": np.array([0, 1])}
    inputs = Preprocessing.fit(columns, spec).transform(columns)
    assert inputs[TABLE].tolist() == [[3, 1], [4, 2]]
    assert inputs["image"].shape == (2, 3)


def test_scaling_by_hand() -> None:
    assert Scaling.fit(np.array([2.0, 4.0]), "standard") == Scaling(shift=3, unit=1)
    assert Scaling.fit(np.array([2.0, 6.0]), "minmax") == Scaling(shift=2, unit=4)
    assert Scaling.fit(np.array([2.0, 6.0]), "none") == Scaling(shift=0, unit=1)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (np.array([1, 0, 1]), (0, 1)),
        (np.array([1.0, 0.0]), (0, 1)),
        (objects(["10", "9", "-1"]), (-1, 9, 10)),
        (objects(["b", "a"]), ("a", "b")),
        (objects(["10", "9", "x"]), ("10", "9", "x")),
        (objects(["01", "1"]), ("01", "1")),
        (objects(["0.0", "1.0"]), (0, 1)),
        (objects(["true", "false"]), ("False", "True")),
        (objects(["\u0661", "\u00b2"]), ("\u00b2", "\u0661")),
        (np.array([True, False]), ("False", "True")),
        (np.array([0.5, 1.0]), ("0.5", "1")),
    ],
    ids=[
        "int",
        "float",
        "numeric text",
        "text",
        "mixed",
        "leading zero",
        "pandas",
        "JSON",
        "other digits",
        "bool",
        "fraction",
    ],
)
def test_classes(labels: np.ndarray, classes: tuple[Any, ...]) -> None:
    """Whole numbers become ints in numeric order; everything else stays text, in text order, through JSON too."""
    target = FittedTarget.fit(labels, "label", "class")
    assert target.classes == classes
    assert FittedTarget.model_validate_json(target.model_dump_json()).classes == classes
    codes = target.encode(labels)
    assert codes.dtype == np.int64
    assert target.decode(np.eye(len(classes))[codes]) == [classes[code] for code in codes]


@given(st.lists(st.integers(-(10**6), 10**6), min_size=2, unique=True) | st.lists(TEXTS, min_size=2, unique=True))
def test_decoding_undoes_encoding(labels: list[Any]) -> None:
    target = FittedTarget.fit(objects(labels), "label", "class")
    codes = target.encode(objects(labels))
    assert sorted(codes) == list(range(len(labels)))
    decoded = target.decode(np.eye(len(labels), dtype=np.float32)[codes])
    assert [str(label) for label in decoded] == [str(label) for label in labels]


def test_one_output_is_the_probability_of_the_second_class() -> None:
    target = FittedTarget(column="label", classes=("no", "yes"))
    assert target.decode(np.array([[0.2], [0.5], [0.51]])) == ["no", "no", "yes"]


def test_a_numeric_target_stays_as_it_is() -> None:
    target = FittedTarget.fit(np.array([1.5]), "label", "number")
    assert target.encode(objects([1, "2.5"])).tolist() == [1, 2.5]
    assert target.encode(objects([1])).dtype == np.float32
    assert target.decode(np.array([[1.5], [-2]])) == [1.5, -2]


def fails(call: Any) -> str:
    with pytest.raises(DataError) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "feature", "expected"),
    [
        ([1, "abc"], "number", "column 'x', row 2: got 'abc', expected a number"),
        (np.array(["1", "x"]), "number", "column 'x', row 2: got 'x', expected a number"),
        ([1, [2]], "number", "column 'x', row 2: got [2], expected a number"),
        (np.array([1, 1j]), "number", "column 'x', row 1: got (1+0j), expected a number"),
        ([1, math.inf], "number", "column 'x', row 2: got an infinite value; mend or remove the row"),
        ([1, "-inf"], "number", "column 'x', row 2: got an infinite value; mend or remove the row"),
        ([1, 1e39], "number", "column 'x', row 2: 1e+39 is too large; mend or remove the row"),
        (
            np.zeros((2, 3, 4)),
            "number",
            "column 'x' has shape (3, 4) per row, expected one value, or a window of values; "
            "only a tensor feature takes arrays",
        ),
        (
            np.array(["2024-01-01"], "datetime64[ns]"),
            "number",
            "column 'x' holds dates or durations; make it a date, or a number before training",
        ),
        (
            [None, math.nan],
            {"kind": "number", "fill": "median"},
            "column 'x' has no value in the training part, so its median is not defined. "
            "Give a constant fill or remove the feature",
        ),
        (["a", ["b"]], "category", "column 'x', row 2: got ['b'], expected text or a number"),
        (["a", {"b": 1}], "category", "column 'x', row 2: got {'b': 1}, expected text or a number"),
        (np.zeros(2), "tensor", "column 'x': expected an array of numbers of one shape per row"),
        ([[1], [1, 2]], "tensor", "column 'x': expected an array of numbers of one shape per row"),
    ],
)
def test_what_cannot_be_fitted(values: Any, feature: Any, expected: str) -> None:
    assert fails(lambda: fit(values, feature)) == expected


def test_a_missing_column_is_named() -> None:
    fitted = fit([1, 2], "number")
    assert fails(lambda: fitted.transform({"y": np.ones(1)})) == "column 'x' is missing; got y"
    assert fails(lambda: fitted.transform({})) == "column 'x' is missing; got no columns"


def test_a_json_row_must_name_every_feature() -> None:
    fitted = fit([1, 2], "number")
    expected = "row 2 lacks 'x'; give null where the value is not known"
    assert fails(lambda: fitted.columns_of([{"x": None}, {"y": 1}])) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1, 2], "column 'x', row 1: got [1, 2], expected a number"),
        ({"a": 1}, "column 'x', row 1: got {'a': 1}, expected a number"),
        ("none", "column 'x', row 1: got 'none', expected a number"),
        (10**400, f"column 'x', row 1: got 1{'0' * 59}, expected a number"),
        ("a" * 1000, f"column 'x', row 1: got '{'a' * 59}, expected a number"),
    ],
    ids=["list", "object", "text", "huge", "long"],
)
def test_json_values_that_are_no_numbers(value: Any, expected: str) -> None:
    fitted = fit([1, 2], "number")
    assert fails(lambda: fitted.transform(fitted.columns_of([{"x": value}, {"x": value}]))) == expected


@pytest.mark.parametrize("value", [None, "", "NA", math.nan])
def test_a_missing_number_is_filled_however_json_says_it(value: Any) -> None:
    fitted = fit([1, 3], {"kind": "number", "scale": "none"})
    assert fitted.transform(fitted.columns_of([{"x": value}]))["table"].tolist() == [[2.0]]


def test_a_number_that_float32_cannot_hold_once_scaled_is_named() -> None:
    fitted = fit([0, 2e-30], {"kind": "number", "scale": "minmax"})
    expected = "column 'x', row 2: 1e+30 is too large; mend or remove the row"
    assert fails(lambda: fitted.transform({"x": np.array([1e-30, 1e30])})) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1, 2, 3], "column 'x': got shape (3,) per row, expected (2,)"),
        (1, "column 'x': got shape () per row, expected (2,)"),
        (None, "column 'x': got shape () per row, expected (2,)"),
        ([1, None], "column 'x', row 1: holds a value that is not finite; mend or remove the row"),
        ([1, "a"], "column 'x': expected an array of numbers of one shape in every row"),
        ([1, [2]], "column 'x': expected an array of numbers of one shape in every row"),
    ],
)
def test_wrong_tensors(value: Any, expected: str) -> None:
    fitted = fit(np.ones((2, 2)), "tensor")
    assert fails(lambda: fitted.transform(fitted.columns_of([{"x": value}]))) == expected


@pytest.mark.parametrize(
    ("kind", "trained", "asked", "expected"),
    [
        ("class", ["a", "b"], ["a", None], "target 'y' has no value in row 2; mend or remove the row"),
        (
            "class",
            ["a", "b"],
            ["c"],
            "target 'y' has 'c', which the training part never shows, in row 1; mend or remove the row",
        ),
        ("class", [None], [None], "target 'y' has no value in row 1; mend or remove the row"),
        ("number", [1], [1, None], "target 'y' has no finite number in row 2; mend or remove the row"),
        ("number", [1], ["high"], "column 'y', row 1: got 'high', expected a number"),
    ],
)
def test_wrong_labels(kind: str, trained: list[Any], asked: list[Any], expected: str) -> None:
    target = FittedTarget.fit(objects(trained), "y", kind)
    assert fails(lambda: target.encode(objects(asked))) == expected
