"""The rules of reading from a job's YAML to what the model sees: every source, loading and way to predict."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import yaml

from configs.errors import DataError
from configs.job import JobSpec
from configs.load import load_spec
from configs.preprocessing.raw import of_pandas
from orchestrator.datasets import Prepared, prepare
from orchestrator.loading import chosen_loading
from orchestrator.plan import make_plan
from orchestrator.prediction import read_rows
from orchestrator.sources import load_columns
from orchestrator.streaming import in_turn, streamed

READ = {"missing": ["?"], "default_missing": False, "trim": True, "decimal": ",", "thousands": ".", "units": ["€"]}
FEATURES = {"price": "number", "region": {"kind": "category", "encode": "one_hot"}, "day": "date"}
ROWS = pd.DataFrame(
    {
        "price": ["1.234,50 €", "?", "7,5 €", "-3 €", " 2.000 €", "NA"] * 10,
        "region": ["NA", "null", "None", "nan", "inf", "?", " a", "true", "TRUE", "x"] * 6,
        "day": ["2024-01-01", "?", "NA", "2024-02-01 10:00:00.123", "", "2024-03-01"] * 10,
        "y": [0, 1] * 30,
    }
)
WRITERS: dict[str, Callable[[Path], Any]] = {
    "csv": lambda path: ROWS.to_csv(path, index=False),
    "parquet": lambda path: ROWS.to_parquet(path),
    "jsonl": lambda path: ROWS.to_json(path, orient="records", lines=True),
    "npz": lambda path: np.savez(path, **{name: np.array(ROWS[name].tolist()) for name in ROWS}),
}


def job(folder: Path, **data: Any) -> JobSpec:
    tree = {
        "name": "values",
        "data": {"features": FEATURES, "target": {"column": "y"}, **data},
        "model": {"function": "trainers.zoo.mlp:build"},
        "train": {"epochs": 1, "global_batch_rows": 8, "optimizer": "adam", "loss": "binary_crossentropy"},
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(tree))
    return load_spec(folder / "job.yaml")


def table_of(ready: Prepared) -> np.ndarray:
    train = ready.splits["train"]
    return np.asarray(train.take(np.arange(len(train))).inputs["table"])


def test_every_source_and_every_way_to_predict_reads_alike(tmp_path: Path) -> None:
    for suffix, write in WRITERS.items():
        write(tmp_path / f"rows.{suffix}")
    ready = prepare(job(tmp_path, files=str(tmp_path / "rows.csv"), read=READ))
    fitted, expected = ready.preprocessing, table_of(ready)
    assert fitted.features["region"].values == ("NA", "None", "True", "a", "inf", "nan", "null", "x")  # type: ignore[union-attr]
    for suffix in WRITERS:
        spec = job(tmp_path, files=str(tmp_path / f"rows.{suffix}"), read=READ, loading="streaming")
        with chosen_loading(spec) as loading:
            np.testing.assert_array_equal(table_of(prepare(spec)), expected)
            with streamed(spec, loading, in_turn, tmp_path / "stored", lambda text: None) as stored:
                np.testing.assert_allclose(table_of(stored), expected, rtol=1e-4, atol=1e-5)
    raw = ROWS.drop(columns="y")
    rows = json.loads(raw.to_json(orient="records"))
    asked = fitted.transform(fitted.columns_of(rows))["table"]
    np.testing.assert_array_equal(asked, fitted.transform({str(name): of_pandas(raw[name]) for name in raw})["table"])
    np.testing.assert_array_equal(asked, fitted.transform(read_rows(tmp_path / "rows.csv", fitted))["table"])


def test_a_function_takes_the_rules_too(tmp_path: Path) -> None:
    ROWS.to_parquet(tmp_path / "rows.parquet")
    path = str(tmp_path / "rows.parquet")
    (tmp_path / "rows_of_rules.py").write_text(
        f"import pandas\ndef frame():\n    return pandas.read_parquet({path!r})\n"
    )
    ready = prepare(job(tmp_path, function="rows_of_rules:frame", read=READ))
    expected = prepare(job(tmp_path, files=str(tmp_path / "rows.parquet"), read=READ))
    assert ready.preprocessing.features == expected.preprocessing.features


@pytest.mark.parametrize("loading", ["indexed", "streaming"])
def test_prices_do_not_become_categories_in_silence(tmp_path: Path, loading: str) -> None:
    for suffix in ("csv", "parquet"):
        WRITERS[suffix](tmp_path / f"rows.{suffix}")
        spec = job(
            tmp_path,
            files=str(tmp_path / f"rows.{suffix}"),
            features="auto",
            loading=loading,
            read={"missing": ["?"]},
        )
        told: list[str] = []
        plan = make_plan(spec, told.append)
        line = (
            "column 'price' is taken for a category, but all 40 values looked at seem to be numbers, such as "
            '\'1.234,50 €\'; to read them set data.read.decimal: "," and data.read.thousands: "." and '
            'data.read.units: ["€"]'
        )
        assert line in [*told, *plan.notes]


def na_labels(path: Path) -> None:
    pd.DataFrame({"price": range(60), "y": ["EU", "NA", "APAC"] * 20}).to_csv(path, index=False)


def test_a_class_called_na(tmp_path: Path) -> None:
    na_labels(tmp_path / "rows.csv")
    given = {
        "csv": str(tmp_path / "rows.csv"),
        "features": {"price": "number"},
        "target": {"column": "y", "kind": "class"},
    }
    with pytest.raises(
        DataError, match="row 2: 'NA' counts as missing; if it is a label, set data.read.default_missing"
    ):
        prepare(job(tmp_path, **given))
    spec = job(tmp_path, **given, read={"default_missing": False})
    spec = spec.model_copy(update={"train": spec.train.model_copy(update={"loss": "sparse_categorical_crossentropy"})})
    assert prepare(spec).preprocessing.target.classes == ("APAC", "EU", "NA")


def test_labels_left_out_are_told_by_their_text(tmp_path: Path) -> None:
    na_labels(tmp_path / "rows.csv")
    spec = job(tmp_path, csv=str(tmp_path / "rows.csv"), features={"price": "number"}, bad_rows="skip")
    assert prepare(spec).facts.left_out == (
        "left out 20 row(s): the target 'y' of all of them reads 'NA': a whole class may be gone. It counts as "
        "missing; if it is a label, set data.read.default_missing: false (row 2, 5, 8, 11, 14, ...)",
    )


def test_ids_keep_their_digits(tmp_path: Path) -> None:
    ids = [Decimal(10**20 + row) for row in range(30)]
    table = pa.table({"id": pa.array(ids, pa.decimal128(38, 0)), "price": range(30), "y": [0, 1] * 15})
    pa.parquet.write_table(table, tmp_path / "rows.parquet")
    spec = job(tmp_path, files=str(tmp_path / "rows.parquet"), id="id", features={"price": "number"})
    assert [str(one) for one in load_columns(spec).columns["id"]] == [str(10**20 + row) for row in range(30)]
    grouped = job(
        tmp_path,
        files=str(tmp_path / "rows.parquet"),
        features={"price": "number"},
        split={"by": "group", "column": "id", "valid": 0.3},
    )
    assert 0 < len(prepare(grouped).splits["valid"]) < 30


def test_true_is_true(tmp_path: Path) -> None:
    table = pa.table({"flag": [True, False, None] * 10, "y": [0, 1] * 15})
    pa.parquet.write_table(table, tmp_path / "rows.parquet")
    pa.csv.write_csv(table, tmp_path / "arrow.csv")
    table.to_pandas().to_csv(tmp_path / "pandas.csv", index=False)
    flag = {"flag": {"kind": "category", "encode": "one_hot"}}
    trained = [
        prepare(job(tmp_path, files=str(tmp_path / name), features=flag))
        for name in ("rows.parquet", "arrow.csv", "pandas.csv")
    ]
    for ready in trained:
        np.testing.assert_array_equal(table_of(ready), table_of(trained[0]))
        fitted = ready.preprocessing
        for spelling in (True, "true", "True", "TRUE"):
            assert fitted.transform(fitted.columns_of([{"flag": spelling}]))["table"].tolist() == [[0, 0, 1]]
