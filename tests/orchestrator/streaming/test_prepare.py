"""Streaming gives what memory gives: the same parts, rows and preprocessing, and the same errors."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from configs.errors import DataError, RingmasterError, SpecError
from configs.job import JobSpec
from orchestrator.datasets import Prepared, prepare
from orchestrator.loading import chosen_loading
from orchestrator.sources import blocks, csv_files, parquet_files
from orchestrator.streaming import in_turn, pieces, streamed, survey
from trainers import stored

Make = Callable[..., JobSpec]
ROWS = 400
ONE_FILE, THREE_FILES = "data.csv=null data.files=rows.csv".split(), "data.csv=null data.files=parts/*.csv".split()


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of some 50 rows, a piece per file or two, shards of some 10 rows."""
    for module in (blocks, csv_files):
        monkeypatch.setattr(module, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(parquet_files, "BLOCK_ROWS", 40)
    monkeypatch.setattr(pieces, "PIECE_BYTES", 4000)
    monkeypatch.setattr(stored, "SHARD_BYTES", 300)


def lines() -> Iterator[str]:
    draw = np.random.default_rng(5)
    for row in range(ROWS):
        size = "" if row % 17 == 3 else f"{draw.normal(10, 4):.3f}"
        colour = draw.choice(["red", "green", "blue", ""])
        label = draw.choice(["big", "small", "rare"], p=[0.5, 0.4, 0.1])
        yield f"{size},{colour},{label},{draw.integers(20)},{row % 3}"


HEADER = "size,colour,label,house,counts\n"


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    rows = list(lines())
    rows[50] = rows[20]
    rows[390] = rows[20]
    write_files(tmp_path, rows)
    write_parquet(tmp_path / "rows.parquet", rows)
    return rows


def write_files(folder: Path, rows: list[str]) -> None:
    (folder / "rows.csv").write_text(HEADER + "\n".join(rows) + "\n")
    (folder / "parts").mkdir(exist_ok=True)
    for number, (start, stop) in enumerate(((0, 90), (90, 91), (91, len(rows)))):
        (folder / "parts" / f"{number}.csv").write_text(HEADER + "\n".join(rows[start:stop]) + "\n")


def write_parquet(path: Path, rows: list[str]) -> None:
    days = [f"2024-{1 + int(row.split(',')[3]) % 12:02}-01" for row in rows]
    values = [row.split(",") for row in rows]
    table = pa.table(
        {
            "size": pa.array([float(one[0]) if one[0] else None for one in values]),
            "colour": [one[1] for one in values],
            "label": [one[2] for one in values],
            "house": [int(one[3]) for one in values],
            "counts": [int(one[4]) for one in values],
            "day": days,
        }
    )
    pa.parquet.write_table(table, path, row_group_size=70)


@contextmanager
def both(spec: JobSpec, tmp_path: Path) -> Iterator[tuple[Prepared, Prepared]]:
    expected = prepare(spec)
    with only_streamed(spec, tmp_path) as found:
        yield expected, found
    assert not (tmp_path / "stream" / "rows").exists()


SPLITS = {
    "random": ["data.split={valid: 0.2, test: 0.1}"],
    "no split": ["data.split={valid: 0}"],
    "class": ["data.split={by: stratified, valid: 0.2, test: 0.1, seed: 3}"],
    "group": ["data.split={by: group, column: house, valid: 0.3, test: 0.2}"],
    "time": ["data.split={by: time, column: house, valid: 0.2, test: 0.1}"],
    "order": ["data.split={by: time, valid: 0.25}"],
    "numbers": ["data.split={by: time, column: house, valid: 0, test_from: '15'}"],
    "dates": ["data.split={by: time, column: day, valid: 0, test_from: '2024-06-01'}"],
}


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("source", [ONE_FILE, THREE_FILES, ["data.csv=null", "data.files=rows.parquet"]])
@pytest.mark.parametrize("options", [[], ["data.drop_duplicates=true", "data.sample_weight=counts"]])
def test_parts_and_rows_are_those_of_memory(
    small_job: Make, files: list[str], tmp_path: Path, split: str, source: list[str], options: list[str]
) -> None:
    if split == "dates" and "parquet" not in source[1]:
        source = ["data.csv=null", "data.files=rows.parquet"]
    spec = small_job(*source, *SPLITS[split], *options, "train.loss=sparse_categorical_crossentropy")
    with both(spec, tmp_path) as (expected, found):
        assert found.splits.keys() == expected.splits.keys()
        for name, part in expected.splits.items():
            rows, same = part.take(slice(None)), found.splits[name].take(slice(None))
            np.testing.assert_array_equal(same.source_rows, rows.source_rows)
            np.testing.assert_array_equal(same.target, rows.target)
            np.testing.assert_allclose(same.inputs["table"], rows.inputs["table"], rtol=1e-5, atol=1e-6)
            assert (same.weight is None) == (rows.weight is None)
            if rows.weight is not None:
                np.testing.assert_array_equal(same.weight, rows.weight)
        learned, known = (json.loads(one.preprocessing.model_dump_json()) for one in (found, expected))
        assert flat(learned) == pytest.approx(flat(known))
        assert found.golden_rows == expected.golden_rows
        np.testing.assert_allclose(found.golden.inputs["table"], expected.golden.inputs["table"], rtol=1e-5, atol=1e-6)
        assert dict(found.facts.rows) == dict(expected.facts.rows)
        assert found.facts.left_out == expected.facts.left_out
        assert found.facts.fingerprint == expected.facts.fingerprint


def flat(tree: Any, path: str = "") -> dict[str, Any]:
    if isinstance(tree, dict):
        return {name: value for key, each in tree.items() for name, value in flat(each, f"{path}.{key}").items()}
    if isinstance(tree, list):
        return flat(dict(enumerate(tree)), path)
    return {path: tree}


def test_rows_left_out_are_counted_and_named_as_in_memory(small_job: Make, files: list[str], tmp_path: Path) -> None:
    files[5] = "wide,red,big,1,1"
    files[6] = "1,red,,1,1"
    files[300] = "inf,red,big,1,1"
    shown = prepare(small_job(*THREE_FILES, "train.loss=sparse_categorical_crossentropy")).facts
    files[int(shown.source_rows[shown.parts["valid"][20]])] = "1,red,never seen,1,1"
    write_files(tmp_path, files)
    spec = small_job(*THREE_FILES, "data.bad_rows=skip", "train.loss=sparse_categorical_crossentropy")
    with both(spec, tmp_path) as (expected, found):
        assert found.facts.left_out == expected.facts.left_out
        assert found.facts.left_out[:2] == (
            "left out 2 row(s): 'size' is no number, or infinite (row 6, 301)",
            "left out 1 row(s): the target 'label' is missing (row 7)",
        )
        assert found.facts.left_out[2].startswith("left out 1 row(s): a label that the training part never shows (row")
        assert {name: len(split) for name, split in found.splits.items()} == {
            name: len(split) for name, split in expected.splits.items()
        }
        assert sum(len(split) for split in found.splits.values()) == ROWS - 4
        np.testing.assert_array_equal(
            found.splits["train"].take(slice(None)).source_rows, expected.splits["train"].source_rows
        )


def test_there_are_always_rows_to_test_the_served_model_with(
    small_job: Make, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few rows of a part there are, and however small the sample."""
    monkeypatch.setattr("orchestrator.streaming.prepare.SAMPLE_ROWS", 3)
    split = "data.split={by: group, column: house, valid: 0.1}"
    spec = small_job(*THREE_FILES, split, "train.loss=sparse_categorical_crossentropy")
    with only_streamed(spec, tmp_path) as found:
        assert len(found.golden_rows) == len(found.golden) > 0
        assert all(len(part) for part in found.facts.parts.values())
        assert len(found.facts.labels) < 20
        assert dict(found.facts.rows) == {name: len(split) for name, split in found.splits.items()}


def test_a_column_of_numbers_that_turns_to_dates(
    small_job: Make, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the rows that its kind is told by."""
    monkeypatch.setattr("orchestrator.streaming.prepare.INFERRED_ROWS", 50)
    files[300] = "1,red,big,2024-01-01,1"
    (tmp_path / "rows.csv").write_text(HEADER + "\n".join(files) + "\n")
    spec = small_job(*ONE_FILE, *SPLITS["numbers"], "train.loss=sparse_categorical_crossentropy")
    with pytest.raises(DataError, match=r"rows\.csv: column 'house', row 301: got '2024-01-01', expected a number$"):
        with only_streamed(spec, tmp_path):
            pass


def test_a_first_file_with_a_header_alone(small_job: Make, files: list[str], tmp_path: Path) -> None:
    (tmp_path / "parts" / "0.csv").write_text(HEADER)
    options = ("data.features=auto", "train.loss=sparse_categorical_crossentropy", *SPLITS["time"])
    with both(small_job(*THREE_FILES, *options), tmp_path) as (expected, found):
        assert found.preprocessing.features.keys() == expected.preprocessing.features.keys()
        np.testing.assert_array_equal(
            found.splits["train"].take(slice(None)).source_rows, expected.splits["train"].source_rows
        )
    for number in (1, 2):
        (tmp_path / "parts" / f"{number}.csv").write_text(HEADER)
    with pytest.raises(DataError, match=r"parts/0\.csv has no rows; a job needs at least a few to train on$"):
        with only_streamed(small_job(*THREE_FILES, *options), tmp_path):
            pass


def test_equal_rows_are_equal_whatever_type_their_block_has(small_job: Make, tmp_path: Path) -> None:
    """A whole number is a float in a block where one is missing, and a text in a CSV file."""
    numbers = [row % 7 for row in range(120)]
    table = pa.table({"size": [float(n) for n in numbers], "label": [*numbers[:50], None, *numbers[51:]]})
    pa.parquet.write_table(table, tmp_path / "equal.parquet", row_group_size=30)
    options = ("data.target.kind=number", "train.loss=mse", "train.metrics=[]", "data.split.test=0")
    features = "data.features={size: number}"
    spec = small_job(
        "data.csv=null", "data.files=equal.parquet", features, "data.drop_duplicates=true", "data.bad_rows=skip",
        *options,
    )  # fmt: skip
    with both(spec, tmp_path) as (expected, found):
        assert found.facts.left_out == expected.facts.left_out
        assert found.facts.left_out[1] == "left out 112 row(s): equal to an earlier row (row 8, 9, 10, 11, 12, ...)"


def test_a_picture_of_another_size_is_named(small_job: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is the first of its piece."""
    monkeypatch.setattr(pieces, "PIECE_BYTES", 1)
    for number in range(8):
        (tmp_path / "pictures" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        size = (9, 9) if number == 5 else (8, 8)
        Image.new("RGB", size, (number, 0, 0)).save(tmp_path / "pictures" / "ab"[number % 2] / f"{number}.png")
    options = ("data.csv=null", "data.files=pictures", "data.features={image: image}", "data.target.column=label")
    spec = small_job(*options, "data.split={valid: 0}")
    with pytest.raises(DataError, match=r"b/5\.png: is 9 x 9 pixels, the first image 8 x 8; give data\.read\.height"):
        with only_streamed(spec, tmp_path):
            pass
    with both(small_job(*options, "data.split={valid: 0}", "data.bad_rows=skip"), tmp_path) as (expected, found):
        assert len(found.splits["train"]) == len(expected.splits["train"]) == 7
        assert found.facts.left_out == expected.facts.left_out


def test_a_key_that_comes_late_in_a_json_file(small_job: Make, tmp_path: Path) -> None:
    rows = [{"size": n, "label": "ab"[n % 2]} | ({"colour": "red"} if n > 150 else {}) for n in range(200)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    with both(small_job("data.csv=null", "data.files=rows.jsonl"), tmp_path) as (expected, found):
        assert found.facts.fingerprint == expected.facts.fingerprint
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows[:150]) + "\n")
    with pytest.raises(DataError, match=r"rows\.jsonl has no column 'colour'; it has 'size', 'label'"):
        with only_streamed(small_job("data.csv=null", "data.files=rows.jsonl"), tmp_path):
            pass


def test_truth_and_times_read_alike(small_job: Make, tmp_path: Path) -> None:
    rows = [f"{'true' if n % 3 else 'false'},0{n % 7}:30,{'ab'[n % 2]}" for n in range(200)]
    (tmp_path / "rows.csv").write_text("member,at,label\n" + "\n".join(rows) + "\n")
    with both(small_job(*ONE_FILE, "data.features=auto"), tmp_path) as (expected, found):
        kinds = {name: one.kind for name, one in expected.preprocessing.features.items()}
        assert kinds == {"member": "number", "at": "category"}
        assert expected.preprocessing.features["at"].values[0] == "00:30"  # type: ignore[union-attr]
        assert found.facts.fingerprint == expected.facts.fingerprint


def test_a_class_that_is_weighed_and_is_not_there(small_job: Make, files: list[str], tmp_path: Path) -> None:
    spec = small_job(*ONE_FILE, "train.class_weight={smal: 2}", "train.loss=sparse_categorical_crossentropy")
    told: list[str] = []
    with pytest.raises(SpecError, match="train.class_weight: .*'smal'"), chosen_loading(spec) as loading:
        survey(spec, loading, in_turn, told.append)
    assert len(told) == 2  # before anything is stored


@pytest.mark.parametrize(
    ("row", "bad", "expected"),
    [
        (5, "wide,red,big,1,1", "parts/0.csv: column 'size', row 6: got 'wide', expected a number"),
        (300, "inf,red,big,1,1", "parts/2.csv: column 'size', row 210: got an infinite value; mend or remove the row"),
        (299, "1,red,,1,1", "parts/2.csv: target 'label' has no value in row 209; mend or remove the row"),
    ],
)
def test_a_bad_value_is_named_with_file_and_row(
    small_job: Make, files: list[str], tmp_path: Path, row: int, bad: str, expected: str
) -> None:
    files[row] = bad
    write_files(tmp_path, files)
    spec = small_job(*THREE_FILES, "data.split={valid: 0}", "train.loss=sparse_categorical_crossentropy")
    with pytest.raises(DataError) as caught, only_streamed(spec, tmp_path):
        pass
    assert str(caught.value) == f"{tmp_path}/{expected}"


@contextmanager
def only_streamed(spec: JobSpec, tmp_path: Path) -> Iterator[Prepared]:
    asked = spec.model_copy(update={"data": spec.data.model_copy(update={"loading": "streaming"})})
    asked._home = spec.home
    with chosen_loading(asked) as loading:
        with streamed(spec, loading, in_turn, tmp_path / "stream" / "rows", lambda text: None) as found:
            yield found


def test_files_of_a_part(small_job: Make, files: list[str], tmp_path: Path) -> None:
    spec = small_job(
        "data.csv=null", "data.files=parts/2.csv", "data.valid_files=parts/0.csv", "data.test_files=parts/1.csv",
        "train.loss=sparse_categorical_crossentropy",
    )  # fmt: skip
    with both(spec, tmp_path) as (expected, found):
        assert {name: len(part) for name, part in found.splits.items()} == {"train": 309, "valid": 90, "test": 1}
        for name, part in expected.splits.items():
            np.testing.assert_array_equal(found.splits[name].take(slice(None)).source_rows, part.source_rows)


def test_kinds_are_inferred_from_the_first_rows(small_job: Make, files: list[str], tmp_path: Path) -> None:
    options = ("data.features=auto", "train.loss=sparse_categorical_crossentropy")
    with both(small_job(*THREE_FILES, *options), tmp_path) as (expected, found):
        assert {name: one.kind for name, one in found.preprocessing.features.items()} == {
            name: one.kind for name, one in expected.preprocessing.features.items()
        }
        assert found.facts.inferred == expected.facts.inferred


def test_a_disk_that_is_too_small(small_job: Make, files: list[str], tmp_path: Path, monkeypatch: Any) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("orchestrator.streaming.prepare.shutil.disk_usage", lambda path: usage)
    spec = small_job(*ONE_FILE, "train.loss=sparse_categorical_crossentropy")
    expected = r"^streaming keeps 400 preprocessed rows, 9\.6 kB, in .*stream/rows, where 1\.0 kB are free; give"
    with pytest.raises(RingmasterError, match=expected), only_streamed(spec, tmp_path):
        pass


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError("4096 requested and 8 written")])
def test_a_disk_that_fills_up(
    small_job: Make, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def full(path: Path, array: np.ndarray) -> None:
        raise error

    monkeypatch.setattr(stored.np, "save", full)
    spec = small_job(*ONE_FILE, "train.loss=sparse_categorical_crossentropy")
    with pytest.raises(DataError, match="^no space is left in .*stream/rows, where streaming keeps"):
        with only_streamed(spec, tmp_path):
            pass
    assert not (tmp_path / "stream" / "rows").exists()


def test_nothing_left(small_job: Make, tmp_path: Path) -> None:
    write_files(tmp_path, ["x,red,big,1,1"] * 200)
    spec = small_job(*ONE_FILE, "data.bad_rows=skip")
    expected = (
        "all 200 rows were left out (200: 'size' is no number, or infinite); mend the data or loosen data.bad_rows"
    )
    with pytest.raises(DataError) as caught, only_streamed(spec, tmp_path):
        pass
    assert str(caught.value) == expected


def test_a_first_piece_of_which_nothing_is_left(small_job: Make, files: list[str], tmp_path: Path) -> None:
    write_files(tmp_path, ["wide,red,big,1,1"] * 91 + files[91:])
    spec = small_job(*THREE_FILES, "data.bad_rows=skip", "train.loss=sparse_categorical_crossentropy")
    with both(spec, tmp_path) as (expected, found):
        assert found.facts.left_out == expected.facts.left_out
        np.testing.assert_array_equal(
            found.splits["train"].take(slice(None)).source_rows, expected.splits["train"].source_rows
        )
