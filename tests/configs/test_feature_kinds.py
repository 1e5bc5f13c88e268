"""What each kind of feature makes of raw values, and the law of fitting by blocks."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.data import DataSpec
from configs.errors import DataError, SpecError
from configs.preprocessing import TABLE, Fitter, Preprocessing, describe
from configs.preprocessing.texts import split_words

LABELS = {"column": "label"}


def objects(values: list[Any]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def spec_of(feature: Any, target: Any = LABELS) -> DataSpec:
    return DataSpec.model_validate({"csv": "x.csv", "features": {"x": feature}, "target": target})


def fit(values: Any, feature: Any) -> Preprocessing:
    values = values if isinstance(values, np.ndarray) else objects(values)
    return Preprocessing.fit({"x": values, "label": np.arange(len(values)) % 2}, spec_of(feature))


def transform(fitted: Preprocessing, values: Any, name: str = TABLE) -> Any:
    """By way of JSON: what is tested is what travels with the model."""
    fitted = Preprocessing.model_validate_json(fitted.model_dump_json())
    values = values if isinstance(values, np.ndarray) else objects(values)
    return fitted.transform({"x": values})[name].tolist()


PLAIN = {"kind": "number", "scale": "none"}


def test_clip_sets_what_lies_outside_two_quantiles_to_the_nearer_one() -> None:
    fitted = fit(np.arange(101.0), PLAIN | {"clip": [0.1, 0.9]})
    assert transform(fitted, [-5.0, 50.0, 1000.0]) == [[10.0], [50.0], [90.0]]


def test_log_is_of_1_plus_the_value() -> None:
    fitted = fit([0.0, 1.0], PLAIN | {"log": True})
    assert transform(fitted, [0.0, math.e - 1]) == [[0.0], [pytest.approx(1.0)]]
    with pytest.raises(DataError) as caught:
        transform(fitted, [3.0, -1.0])
    assert str(caught.value) == (
        "column 'x', row 2: log(1 + -1) is not defined; mend or remove the row, or remove log"
    )


def test_robust_scaling_has_median_0_and_quartile_distance_1() -> None:
    fitted = fit([0.0, 1.0, 2.0, 3.0, 1000.0], {"kind": "number", "scale": "robust"})
    assert transform(fitted, [2.0, 4.0]) == [[0.0], [1.0]]


@pytest.mark.parametrize("scale", ["standard", "minmax", "robust", "none"])
@pytest.mark.parametrize("options", [{}, {"log": True}, {"buckets": [1.0, 5.0]}])
@pytest.mark.parametrize("values", [[None, None], [3.0, 3.0], [3.0, None]])
def test_a_column_without_spread_is_0_or_what_it_is(scale: str, options: dict[str, Any], values: list[Any]) -> None:
    """All missing, or one value only: a constant fill is all there is, and nothing is divided by 0."""
    fitted = fit(values, {"kind": "number", "scale": scale, "fill": 3.0, **options})
    (known,), (missing,) = transform(fitted, [3.0, None])
    as_it_is = {"log": np.log1p(3.0), "buckets": 1.0}.get(next(iter(options), ""), 3.0)
    assert [known, missing] == pytest.approx([as_it_is if scale == "none" else 0.0] * 2)


@pytest.mark.parametrize(
    ("options", "fix"),
    [
        ({"fill": "mean"}, {"fill": 0.0}),
        ({"fill": "most_frequent", "scale": "robust"}, {"fill": 0.0}),
        ({"fill": 0.0, "clip": [0.1, 0.9]}, {"clip": None}),
        ({"fill": 0.0, "buckets": 4}, {"buckets": [0.0, 10.0]}),
    ],
)
def test_no_value_at_all_is_told_with_a_fix_that_works(options: dict[str, Any], fix: dict[str, Any]) -> None:
    feature = {"kind": "number", **options}
    with pytest.raises(DataError, match=f"no value in the training part.*{next(iter(fix))}"):
        fit([None, None], feature)
    assert np.isfinite(transform(fit([None, None], feature | fix), [None])).all()


def test_given_edges_count_the_buckets_from_0_and_a_value_on_an_edge_is_above_it() -> None:
    fitted = fit([1.0, 2.0], PLAIN | {"buckets": [18, 30, 65]})
    assert transform(fitted, [0.0, 18.0, 29.9, 64.0, 65.0, 99.0]) == [[0], [1], [1], [2], [3], [3]]


def test_buckets_of_equal_counts_as_one_column_each() -> None:
    fitted = fit(np.arange(100.0), {"kind": "number", "buckets": 4, "encode": "one_hot"})
    assert transform(fitted, [0.0, 30.0, 60.0, 99.0]) == np.eye(4).tolist()


def test_the_most_frequent_number_fills() -> None:
    assert transform(fit([5.0, 5.0, 9.0, None], PLAIN | {"fill": "most_frequent"}), [None]) == [[5.0]]


def test_one_hot_has_a_column_for_missing_and_none_for_unseen() -> None:
    fitted = fit(["b", "a", "b"], {"kind": "category", "encode": "one_hot"})
    assert transform(fitted, [None, "a", "b", "new"]) == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]


def test_a_filled_category_has_no_missing_value() -> None:
    fitted = fit(["b", "a", "b", None], {"kind": "category", "encode": "one_hot", "fill": "most_frequent"})
    assert transform(fitted, [None]) == transform(fitted, ["b"])


def test_rare_values_count_as_unseen() -> None:
    values = ["a"] * 3 + ["b"] * 2 + ["c"]
    for options in ({"min_count": 2}, {"max_values": 2}):
        fitted = fit(values, {"kind": "category", "scale": "none", **options})
        assert transform(fitted, ["a", "b", "c"]) == [[2], [3], [0]]


def test_a_hash_is_the_same_everywhere_and_learns_nothing() -> None:
    fitted = fit(["a"], {"kind": "category", "encode": "hash", "buckets": 8, "as_input": True})
    # CRC-32 of "a" is 0xE8B7BE43: 3 of 8 places, after unseen and missing.
    assert transform(fitted, ["a"], "x") == [[2 + 0xE8B7BE43 % 8]]
    assert transform(fitted, [None], "x") == [[1]]


def test_several_values_in_one_cell() -> None:
    fitted = fit(["a|b", "b", None], {"kind": "category", "encode": "multi_hot"})
    assert transform(fitted, ["b | a", "b|new", "", None]) == [[0, 1, 1], [0, 0, 1], [1, 0, 0], [1, 0, 0]]
    assert fitted.unseen({"x": objects(["b|new", "other"])}) == {"x": 2}


def test_parts_of_a_date() -> None:
    fitted = fit(["2024-01-31"], {"kind": "date", "parts": ["year", "month", "day", "weekday"], "scale": "none"})
    assert transform(fitted, ["2024-02-29", "2026-11-24T10:00:00+00:00"]) == [[2024, 2, 29, 3], [2026, 11, 24, 1]]


def test_december_is_near_january_when_cyclic() -> None:
    fitted = fit(["2024-01-31"], {"kind": "date", "parts": ["month"], "cyclic": True})
    january, december, july = np.array(transform(fitted, ["2024-01-01", "2024-12-01", "2024-07-01"]))
    assert np.linalg.norm(january - december) == pytest.approx(2 * math.sin(math.pi / 12))
    assert np.linalg.norm(january - july) == pytest.approx(2)


def test_dates_in_the_formats_of_the_yaml() -> None:
    fitted = fit(["31/12/2023"], {"kind": "date", "parts": ["day", "month"], "formats": ["%d/%m/%Y"], "scale": "none"})
    assert transform(fitted, ["01/02/2024", None]) == [[1, 2], [31, 12]]
    with pytest.raises(DataError) as caught:
        transform(fitted, ["01/02/2024", "tomorrow"])
    assert str(caught.value) == "column 'x', row 2: got 'tomorrow', expected a date such as %d/%m/%Y"


def test_words_become_ids_the_most_frequent_first() -> None:
    fitted = fit(["the cat", "the dog, the CAT!"], {"kind": "text", "length": 4})
    assert transform(fitted, ["Cat the unknown", "a b the c d", None], "x") == [[3, 2, 1, 0], [1, 1, 2, 1], [0] * 4]


def test_the_vocabulary_holds_what_an_embedding_has_room_for() -> None:
    fitted = fit(["a a a b b c"], {"kind": "text", "length": 3, "max_tokens": 4})
    assert transform(fitted, ["a b c"], "x") == [[2, 3, 1]]


def test_pixels_are_divided_and_standardised_by_channel() -> None:
    images = np.full((1, 1, 1, 2), 255, np.uint8)
    fitted = fit(images, {"kind": "image", "mean": [0.5, 0.0], "std": [0.5, 2.0]})
    assert transform(fitted, images, "x") == [[[[1.0, 0.5]]]]
    assert np.shape(transform(fit(np.zeros((1, 3, 4)), "image"), np.zeros((2, 3, 4)), "x")) == (2, 3, 4, 1)
    with pytest.raises(DataError, match="column 'x': mean has 3 values for 2 channels"):
        fit(images, {"kind": "image", "mean": [0.0, 0.0, 0.0]})


def test_windows_of_a_series_stand_side_by_side() -> None:
    fitted = fit(np.array([[1.0, 2.0], [3.0, np.nan]]), PLAIN)
    assert transform(fitted, np.array([[5.0, np.nan]])) == [[[5.0], [2.0]]]
    assert describe(fitted.features["x"])["holds"] == "a list of 2, oldest first, each a number or null"
    with pytest.raises(DataError) as caught:
        fitted.columns_of([{"x": [1, 2]}, {"x": [1]}])
    assert str(caught.value) == "column 'x', row 2: got [1], expected a list of 2 values"


def test_labels_of_two_files_that_are_written_differently() -> None:
    spec = spec_of("number", {"column": "label", "strip": ".", "labels": {"yes": ">50K"}})
    columns = {"x": np.ones(3), "label": objects([">50K", " <=50K.", "yes"])}
    target = Preprocessing.fit(columns, spec).target
    assert target.classes == ("<=50K", ">50K")
    assert target.encode(objects([">50K.", "<=50K"])).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        ({"kind": "number", "clip": [0.9, 0.1]}, "expected two quantiles in order, such as [0.01, 0.99]"),
        ({"kind": "number", "buckets": [3, 1]}, "expected rising edges, such as [18, 30, 65]"),
        ({"kind": "number", "encode": "one_hot"}, "encode=one_hot goes with buckets"),
        ({"kind": "category", "encode": "hash"}, "encode=hash and buckets go together"),
        ({"kind": "category", "encode": "one_hot", "as_input": True}, "as_input gives codes"),
        ({"kind": "words"}, "unknown feature kind 'words'"),
    ],
)
def test_options_that_contradict_each_other(feature: Any, expected: str) -> None:
    with pytest.raises((ValueError, SpecError)) as caught:
        spec_of(feature)
    assert expected in str(caught.value)


CELLS = {
    "number": st.floats(-1e3, 1e3) | st.none(),
    "category": st.sampled_from(["a", "b", "c", "a|b", None]),
    "date": st.dates().map(str),
    "text": st.sampled_from(["the cat", "a dog", "the the", None]),
}
FEATURES = [
    PLAIN | {"fill": "median"},
    {"kind": "number", "scale": "robust", "fill": 0.0},
    {"kind": "number", "buckets": 3, "fill": 0.0},
    {"kind": "number", "clip": [0.1, 0.9], "fill": "most_frequent", "scale": "none"},
    {"kind": "category", "encode": "one_hot", "min_count": 2},
    {"kind": "category", "encode": "multi_hot", "max_values": 2},
    {"kind": "category", "scale": "minmax"},
    {"kind": "date", "scale": "minmax"},
    {"kind": "text", "max_tokens": 4},
]


@given(st.sampled_from(FEATURES), st.data())
def test_blocks_in_any_split_teach_what_all_rows_teach(feature: dict[str, Any], data: st.DataObject) -> None:
    first = {"number": 1.0, "date": "2024-01-31"}.get(feature["kind"], "a")
    values = [first, *data.draw(st.lists(CELLS[feature["kind"]], max_size=20))]
    cut = data.draw(st.integers(0, len(values)))
    columns = {"x": objects(values), "label": np.arange(len(values)) % 2}
    spec = spec_of(feature)
    parts = [Fitter(spec), Fitter(spec)]
    for part, rows in zip(parts, (slice(None, cut), slice(cut, None)), strict=True):
        part.update({name: column[rows] for name, column in columns.items()})
    parts[0].merge(parts[1])
    assert json.loads(parts[0].finish().model_dump_json()) == json.loads(
        Preprocessing.fit(columns, spec).model_dump_json()
    )


def test_more_values_than_are_kept_are_sketched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("configs.preprocessing.sketches.EXACT_VALUES", 1000)
    values = np.random.default_rng(0).permutation(100_000).astype(np.float64)
    values.flags.writeable = False  # as Arrow gives them
    fitted = fit(values, PLAIN | {"clip": [0.1, 0.9], "fill": "median"})
    (low, middle, high) = (row[0] for row in transform(fitted, [-1.0, None, 1e6]))
    assert [low, middle, high] == pytest.approx([10_000, 50_000, 90_000], abs=200)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Great😀😀 day! 5°C", ["great", "😀", "😀", "day", "5", "°", "c"]),
        ("👨‍👩‍👧 ok 👍🏽.", ["👨‍👩‍👧", "ok", "👍🏽"]),
        ("🇩🇪🇫🇷 1️⃣ ❤️", ["🇩🇪", "🇫🇷", "1️⃣", "❤️"]),
        ("e\u0301te\u0301 \u00e9t\u00e9", ["\u00e9t\u00e9"] * 2),
        ("東京、日本", ["東京", "日本"]),
        ("$5 a+b don’t ^_^", ["5", "a", "b", "dont"]),
    ],
)
def test_words_of_a_text(text: str, words: list[str]) -> None:
    found, _ = split_words("t", np.array([text], object), lower=True, strip_punctuation=True)
    assert found.to_pylist() == words
