"""One value gives one text, one number and one model input, whatever carried it."""

import datetime
import io
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.data import DataSpec
from configs.errors import DataError
from configs.preprocessing import TABLE, Preprocessing, as_numbers, exact_texts, text_array
from configs.preprocessing.inference import infer, number_warnings
from configs.preprocessing.raw import objects, of_arrow, of_numpy, of_pandas, of_values
from configs.rules import USUAL, ValueRules

Carrier = Callable[[pa.Array], np.ndarray]


def _parquet(column: pa.Array) -> np.ndarray:
    file = io.BytesIO()
    pa.parquet.write_table(pa.table({"x": column}), file)
    return of_arrow(pa.parquet.read_table(file)["x"])


def _json(column: pa.Array) -> np.ndarray:
    return of_values(json.loads(json.dumps(column.to_pylist())))


CARRIERS: dict[str, Carrier] = {
    "arrow": of_arrow,
    "dictionary": lambda column: of_arrow(column.dictionary_encode()),
    "parquet": _parquet,
    "pandas": lambda column: of_pandas(column.to_pandas(types_mapper=pd.ArrowDtype)),
    "objects": lambda column: of_pandas(pd.Series(column.to_pylist(), dtype=object)),
    "list": lambda column: of_values(column.to_pylist()),
}
INT64 = st.integers(-(2**63), 2**63 - 1)
VALUES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "bool": (pa.bool_(), st.booleans()),
    "int64": (pa.int64(), INT64),
    "uint64": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "decimal": (pa.decimal128(38, 0), st.integers(-(10**38) + 1, 10**38 - 1).map(Decimal)),
    "scaled decimal": (
        pa.decimal128(12, 3),
        st.integers(-(10**12) + 1, 10**12 - 1).map(lambda n: Decimal(n).scaleb(-3)),
    ),
    "double": (pa.float64(), st.floats(-1e30, 1e30)),
    "timestamp": (pa.timestamp("us"), st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1))),
    "date": (pa.date32(), st.dates(datetime.date(1700, 1, 1), datetime.date(2200, 1, 1))),
    "time": (pa.time64("us"), st.times()),
    "duration": (pa.duration("us"), st.timedeltas(datetime.timedelta(-9999), datetime.timedelta(9999))),
    "text": (pa.string(), st.text(st.characters(codec="utf-8"), max_size=6)),
}


@pytest.mark.parametrize("kind", VALUES)
@settings(max_examples=25)
@given(st.data())
def test_every_carrier_gives_the_same_text_and_id(kind: str, data: st.DataObject) -> None:
    arrow_type, strategy = VALUES[kind]
    values = data.draw(st.lists(strategy | st.none(), min_size=1, max_size=4))
    column = pa.array(values, arrow_type)
    carriers = CARRIERS | ({"json": _json} if kind in {"bool", "int64", "uint64", "double", "text"} else {})
    texts = {name: text_array("x", carry(column), USUAL).tolist() for name, carry in carriers.items()}
    ids = {name: exact_texts("x", carry(column), USUAL).tolist() for name, carry in carriers.items()}
    assert all(found == texts["arrow"] for found in texts.values()), texts
    assert all(found == ids["arrow"] for found in ids.values()), ids


@pytest.mark.parametrize("kind", ["bool", "int64", "uint64", "decimal", "scaled decimal", "double"])
@settings(max_examples=25)
@given(st.data())
def test_every_carrier_gives_the_same_number(kind: str, data: st.DataObject) -> None:
    arrow_type, strategy = VALUES[kind]
    values = data.draw(st.lists(strategy | st.none(), min_size=1, max_size=4))
    column = pa.array(values, arrow_type)
    expected = [np.nan if value is None or abs(value) > 1e38 else float(value) for value in values]
    if any(value is not None and abs(value) > 1e38 for value in values):
        return
    for name, carry in (CARRIERS | {"number": lambda column: of_arrow(column, as_number=True)}).items():
        found = as_numbers("x", carry(column))
        np.testing.assert_allclose(found, expected, rtol=1e-15, err_msg=name)
    texts = objects([None if value is None else str(value) for value in values])
    np.testing.assert_array_equal(as_numbers("x", texts), expected)


@settings(deadline=None)
@given(st.lists(st.integers(-(10**38) + 1, 10**38 - 1), min_size=1))
def test_ids_keep_every_digit(numbers: list[int]) -> None:
    column = pa.array([Decimal(number) for number in numbers], pa.decimal128(38, 0))
    assert exact_texts("x", of_arrow(column), USUAL).tolist() == [str(number) for number in numbers]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pd.Series([1, None, 2**60 + 1], dtype="Int64"), ["1", None, str(2**60 + 1)]),
        (pd.Series([True, None], dtype="boolean"), ["True", None]),
        (pd.Series(["a", pd.NA], dtype="string"), ["a", None]),
        (pd.Series([7, None], dtype="category"), ["7", None]),
        (pd.Series([pd.NA, pd.NaT, "a", 1, True, 2.5], dtype=object), [None, None, "a", "1", "True", "2.5"]),
        (pd.Series([pd.Timestamp("2024-01-31 12:00", tz="Europe/Berlin"), pd.NaT]), ["2024-01-31 11:00:00", None]),
        (pd.Series([pd.Timestamp("2024-01-31 12:00:00.000000001")]), ["2024-01-31 12:00:00.000000001"]),
        (pd.Series([pd.Timestamp("2024-01-31")]), ["2024-01-31"]),
        (pd.Series([0.1, np.nan], dtype="float32"), ["0.1", None]),
        (pd.Series([100.0, np.nan, -0.0]), ["100", None, "0"]),
        (pd.Series([b"caf\xc3\xa9"]), ["café"]),
    ],
    ids=str,
)
def test_what_pandas_may_hold(values: pd.Series, texts: list[str | None]) -> None:
    assert text_array("x", of_pandas(values), USUAL).tolist() == texts


def spec_of(read: dict[str, Any], **features: Any) -> DataSpec:
    return DataSpec.model_validate({"csv": "x.csv", "read": read, "features": features, "target": {"column": "y"}})


def fit(values: Any, read: dict[str, Any], feature: Any) -> Preprocessing:
    raw = values if isinstance(values, np.ndarray) else objects(values)
    fitted = Preprocessing.fit({"x": raw, "y": objects(["a", "b"] * len(raw))[: len(raw)]}, spec_of(read, x=feature))
    return Preprocessing.model_validate_json(fitted.model_dump_json())


def asked(fitted: Preprocessing, value: Any) -> list[float]:
    return list(fitted.transform(fitted.columns_of([{"x": value}]))[TABLE][0].tolist())


ONE_HOT = {"kind": "category", "encode": "one_hot"}


@pytest.mark.parametrize("spelling", [True, "True", "true", "TRUE"])
def test_true_of_parquet_is_true_of_json_and_csv(spelling: Any) -> None:
    assert asked(fit(np.array([True, False]), {}, ONE_HOT), spelling) == [0, 0, 1]


def test_a_decimal_is_found_by_its_number_and_two_spellings_stay_two() -> None:
    fitted = fit([Decimal("3.10"), Decimal("5.00")], {}, ONE_HOT)
    assert asked(fitted, 3.1) == asked(fitted, "3.10") == [0, 1, 0]
    assert asked(fitted, 5) == asked(fitted, 5.0) == asked(fitted, "5.00") == [0, 0, 1]
    versions = fit(["3.1", "3.10"], {}, ONE_HOT)
    assert asked(versions, "3.10") != asked(versions, "3.1")


def test_a_time_is_found_however_it_is_written() -> None:
    fitted = fit(np.array(["2024-01-31T12:00", "2024-02-01"], "datetime64[ns]"), {}, ONE_HOT)
    for text in ("2024-01-31 12:00:00", "2024-01-31T12:00", "2024-01-31T13:00:00+01:00"):
        assert asked(fitted, text) == [0, 1, 0]


def test_a_time_of_day_a_duration_and_a_float_are_found_however_they_are_written() -> None:
    clock = fit([datetime.time(12), datetime.time(12, 1)], {}, ONE_HOT)
    assert asked(clock, "12:00") == asked(clock, "12:00:00.000000") == [0, 1, 0]
    duration = fit(np.array([5, 6], "timedelta64[s]"), {}, ONE_HOT)
    assert asked(duration, "0 days 00:00:05") == asked(duration, "0 days 00:00:05.000000") == [0, 1, 0]
    floats = fit(np.array([0.1, 2.5], np.float32), {}, ONE_HOT)
    assert asked(floats, 0.1) == asked(floats, float(np.float32(0.1))) == asked(floats, "1e-1") == [0, 1, 0]


def test_the_rules_of_reading_apply_to_rows_of_the_endpoint() -> None:
    category = fit(["?", "cook", " clerk"], {"missing": ["?"], "trim": True}, ONE_HOT)
    assert asked(category, "?") == asked(category, None) == [1, 0, 0]
    assert asked(category, " clerk") == asked(category, "clerk")
    number = fit(["?", "1", "3", "-999"], {"missing": ["?", -999]}, {"kind": "number", "scale": "none"})
    assert asked(number, "?") == asked(number, None) == asked(number, -999) == asked(number, "-999") == [2]


def test_na_may_be_a_value() -> None:
    fitted = fit(["NA", "EU", None, ""], {"default_missing": False}, ONE_HOT)
    assert asked(fitted, "NA") == [0, 0, 1]
    assert asked(fitted, "") == asked(fitted, None) == [1, 0, 0]
    assert asked(fit(["NA", "EU"], {}, ONE_HOT), "NA") == [1, 0]
    assert asked(fit(["NA", "4"], {"default_missing": False}, {"kind": "number", "scale": "none"}), "NA") == [4]


@pytest.mark.parametrize(
    ("text", "rules", "number"),
    [
        ("3.682,18", {"decimal": ",", "thousands": "."}, 3682.18),
        ("-1,234,567", {"thousands": ","}, -1234567),
        ("12,34,567", {"thousands": ","}, 1234567),
        ("1\u202f234,5", {"decimal": ",", "thousands": " "}, 1234.5),
        ("1’234.5", {"thousands": "'"}, 1234.5),
        ("$1,200", {"thousands": ",", "units": ["$"]}, 1200),
        ("-$5", {"units": "$"}, -5),
        ("$-5", {"units": "$"}, -5),
        ("5,5 €", {"decimal": ",", "units": ["€"]}, 5.5),
        ("12 %", {"units": ["%"]}, 12),
        ("\u22125", {}, -5),
        (" 5 ", {}, 5),
        ("+5", {}, 5),
    ],
)
def test_numbers_with_marks(text: str, rules: dict[str, Any], number: float) -> None:
    assert as_numbers("x", objects([text]), ValueRules(**rules)).tolist() == [number]


@pytest.mark.parametrize(
    ("texts", "fix"),
    [
        (["3.682,18", "33,2"], 'data.read.decimal: "," and data.read.thousands: "."'),
        (["33,2", "1,25"], 'data.read.decimal: ","'),
        (["1,898.50", "7"], 'data.read.thousands: ","'),
        (["$9,961.50"], 'data.read.thousands: "," and data.read.units: ["$"]'),
        (["33%"], 'data.read.units: ["%"]'),
        (["1 234,5"], 'data.read.decimal: "," and data.read.thousands: " "'),
        (
            ["1,234"],
            'data.read.thousands: "," (or data.read.decimal: "," instead of thousands, if decimals follow it)',
        ),
    ],
)
def test_the_error_names_the_option_that_reads_the_column(texts: list[str], fix: str) -> None:
    with pytest.raises(DataError) as caught:
        as_numbers("x", objects([*texts, None]))
    assert str(caught.value) == f"column 'x', row 1: got {texts[0]!r}, expected a number; set {fix}"
    columns = {"x": objects([*texts, "0", None]), "y": objects(["a"] * (len(texts) + 2))}
    data = infer(columns, spec_of({}, x="number"))
    warned = number_warnings({}, {"x": columns["x"]}, data.read)
    assert warned and warned[0].startswith("column 'x' is left out, but all ") and warned[0].endswith(f"set {fix}")


def test_one_cell_that_is_no_number_hides_no_prices() -> None:
    texts = [f"{number},5" for number in range(9)] + ["on request"]
    with pytest.raises(DataError, match="row 1: got '0,5', expected a number; set data.read.decimal: \",\""):
        as_numbers("x", objects(texts))
    assert number_warnings({}, {"x": objects(texts)}, USUAL) == [
        "column 'x' is left out, but 90% of the 10 values looked at seem to be numbers, such as '0,5'; to read them "
        'set data.read.decimal: ","'
    ]


def test_a_point_is_refused_where_it_is_no_mark() -> None:
    with pytest.raises(DataError, match='data.read.decimal: "."'):
        as_numbers("x", objects(["1.5"]), ValueRules(decimal=","))


def test_a_missing_label_is_quoted() -> None:
    columns = {"x": np.arange(3.0), "y": objects(["EU", "NA", "EU"])}
    with pytest.raises(DataError) as caught:
        Preprocessing.fit(columns, spec_of({}, x="number"))
    assert str(caught.value) == (
        "target 'y' has no value in row 2: 'NA' counts as missing; if it is a label, set data.read.default_missing: "
        "false, or leave such rows out with data.bad_rows: skip"
    )
    kept = Preprocessing.fit(columns, spec_of({"default_missing": False}, x="number"))
    assert kept.target.classes == ("EU", "NA")


def test_a_numpy_array_of_bytes_and_texts() -> None:
    assert text_array("x", of_numpy(np.array([b"a", b"b"])), USUAL).tolist() == ["a", "b"]
    assert text_array("x", of_numpy(np.array(["true", "b"])), USUAL).tolist() == ["True", "b"]
