"""What a job reads, and what becomes of the rows of its parts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.data import DataSpec
from configs.errors import DataError
from configs.job import JobSpec
from configs.preprocessing import Preprocessing
from orchestrator.datasets import prepare
from orchestrator.prediction import read_rows
from orchestrator.sources import (
    BadRows,
    Loaded,
    Reading,
    arrays,
    blocks_of,
    csv_files,
    found_files,
    parquet_files,
    texts,
)
from orchestrator.sources.blocks import column_kinds

Load = Callable[..., Loaded]
ROWS = "x,y\n" + "".join(f"{row},{'ab'[row % 2]}\n" for row in range(40))


def test_columns_are_read_as_the_job_uses_them() -> None:
    data = DataSpec.model_validate(
        {
            "csv": "a.csv",
            "id": "i",
            "features": {"n": "number", "c": "category", "d": "date", "a": "auto", "t": "tensor"},
            "target": {"column": "n", "kind": "number"},
            "window": {"width": 2, "order": "o", "group": "g"},
            "split": {"by": "time", "column": "s"},
        }
    )
    kinds = {"n": "number", "c": "text", "d": "text", "t": "array", "i": "text", "g": "text"}
    assert column_kinds(data) == kinds


def test_a_series_is_sorted_by_numbers(load: Load) -> None:
    Path("a.csv").write_text("hour,x,y\n10,1,2\n9,1,2\n")
    window: dict[str, Any] = {"window": {"width": 1, "order": "hour"}, "split": {"by": "time", "column": "hour"}}
    assert load(csv="a.csv", target={"column": "y", "kind": "number"}, **window).columns["hour"].tolist() == [10, 9]


def test_a_series_to_predict_is_sorted_by_numbers_too(tmp_path: Path) -> None:
    data = DataSpec.model_validate(
        {
            "csv": "a.csv",
            "id": "i",
            "features": {"x": "number"},
            "target": {"column": "y", "kind": "number"},
            "window": {"width": 2, "order": "hour", "group": "g"},
            "split": {"by": "time"},
        }
    )
    series = {"x": np.array([[1.0, 2.0], [2.0, 3.0]]), "y": np.array([3.0, 4.0])}
    fitted = Preprocessing.fit(series, data, series["y"])
    (tmp_path / "a.csv").write_text("i,g,hour,x\n01,1,10,3\n02,1,9,2\n03,1,8,1\n")
    columns = read_rows(tmp_path / "a.csv", fitted)
    assert (columns["i"].tolist(), columns["g"].tolist()) == (["01", "02", "03"], ["1", "1", "1"])
    examples, last = fitted.examples_of(columns)
    assert (examples["x"].tolist(), last.tolist()) == ([[1, 2], [2, 3]], [1, 0])


def test_parts_with_files_of_their_own(job: Callable[..., JobSpec]) -> None:
    Path("a.csv").write_text(ROWS)
    Path("b.csv").write_text("x,y\n100,a\n101,b\n")
    Path("c.csv").write_text("x,y\n200,a\n201,b\n202,a\n")
    spec = job(csv="a.csv", valid_files="b.csv", test_files="c.csv").model_copy()
    spec = spec.model_copy(update={"train": spec.train.model_copy(update={"loss": "binary_crossentropy"})})
    data = prepare(spec)
    scaling = data.preprocessing.features["x"].scaling  # type: ignore[union-attr]
    rows = {name: split.inputs["table"][:, 0] * scaling.unit + scaling.shift for name, split in data.splits.items()}
    np.testing.assert_allclose(np.sort(rows["train"]), np.arange(40), atol=1e-4)
    np.testing.assert_allclose(rows["valid"], [100, 101], rtol=1e-5)
    np.testing.assert_allclose(rows["test"], [200, 201, 202], rtol=1e-5)
    assert data.facts.source == "a.csv"


def test_rows_left_out_do_not_move_others_into_another_part(job: Callable[..., JobSpec]) -> None:
    Path("a.csv").write_text(ROWS + "1\n")
    Path("c.csv").write_text("x,y\n200,a\ninf,a\n201,b\n1,2,3\n202,\n")
    spec = job(csv="a.csv", test_files="c.csv", bad_rows="skip", split={"valid": 0.25})
    spec = spec.model_copy(update={"train": spec.train.model_copy(update={"loss": "binary_crossentropy"})})
    data = prepare(spec)
    scaling = data.preprocessing.features["x"].scaling  # type: ignore[union-attr]
    rows = data.splits["test"].inputs["table"][:, 0] * scaling.unit + scaling.shift
    np.testing.assert_allclose(rows, [200, 201], rtol=1e-5)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 30, "valid": 10, "test": 2}
    here = Path.cwd()
    assert data.facts.left_out[0] == (
        f"left out 2 row(s) that cannot be read: {here}/a.csv, row 41 (line 42): expected 2 values, got 1; "
        f"{here}/c.csv, row 4 (line 5): expected 2 values, got 3"
    )
    assert len(data.facts.left_out) == 3


def write_rows(kind: str, rows: range) -> str:
    """A file of the format with x = 0, 1, 2, ... and y."""
    name = f"a.{kind}"
    if kind == "csv":
        Path(name).write_text("x,y\n" + "".join(f"{row},a\n" for row in rows))
    elif kind == "jsonl":
        Path(name).write_text("".join(f'{{"x": {row}, "y": "a"}}\n' for row in rows))
    elif kind == "npz":
        np.savez(name, x=np.array(rows), y=np.array(["a"] * len(rows)))
    else:
        table = pa.table({"x": np.array(rows, float), "y": ["a"] * len(rows)})
        pq.write_table(table, name)
    return name


@pytest.mark.parametrize("kind", ["csv", "jsonl", "npz", "parquet"])
def test_blocks_are_small_and_know_their_rows(
    job: Callable[..., JobSpec], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    for module in (csv_files, texts, arrays):
        monkeypatch.setattr(module, "BLOCK_BYTES", 10_000)
    monkeypatch.setattr(parquet_files, "BLOCK_ROWS", 300)
    spec = job(files=write_rows(kind, range(5_000)))
    reading = Reading.of(spec.data, BadRows(), whole=False)
    blocks = list(blocks_of(found_files(spec)["train"], reading))
    assert max(map(len, blocks)) < 2_000
    for block in blocks:
        assert block.file == str(Path(f"a.{kind}").absolute())
        assert block.columns["x"].tolist() == list(range(block.first_row - 1, block.first_row - 1 + len(block)))
    assert sum(map(len, blocks)) == 5_000


def test_a_file_without_rows_among_others(load: Load) -> None:
    for number, rows in enumerate(["1,p\n", "", "2,q\n"]):
        Path(f"{number}.csv").write_text(f"x,z,y\n{rows.replace(',', ',word,')}")
    rows = load(files="?.csv", features={"x": "number", "z": "auto"})
    assert rows.columns["x"].tolist() == [1, 2]
    assert rows.columns["z"].tolist() == ["word", "word"]


def test_rows_in_another_order_have_no_parts() -> None:
    loaded = Loaded({}, {"train": 3, "test": 2})
    assert loaded.given(np.array([0, 2, 4])) == {"test": 1}
    assert Loaded({}, {"train": 5}).given(np.array([4, 0])) == {}
    with pytest.raises(DataError, match="mixes the rows of data.files with those of data.valid_files"):
        loaded.given(np.array([4, 0]))
