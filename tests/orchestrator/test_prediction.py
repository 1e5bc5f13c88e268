"""A file is predicted block by block; what has nowhere to go is refused before a model is looked for."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from configs.data import DataSpec
from configs.errors import DataError
from configs.preprocessing import Preprocessing, as_numbers
from orchestrator import prediction
from orchestrator.prediction import predict_file
from orchestrator.sources import csv_files


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ("rows.csv", "is the input file too; name another"),
        ("link.csv", "is the input file too; name another"),
        ("none/out.csv", "the folder {folder}/none does not exist; create it first"),
        (".", "is a folder; name a file in it"),
    ],
)
def test_outputs_that_cannot_be_written(tmp_path: Path, output: str, problem: str) -> None:
    source = tmp_path / "rows.csv"
    source.write_text("size\n1\n")
    (tmp_path / "link.csv").symlink_to(source)
    with pytest.raises(DataError) as caught:
        predict_file("small", source, tmp_path / output, folder=tmp_path, uri=None)
    assert str(caught.value) == f"--output {tmp_path / output}: {problem.format(folder=tmp_path)}"
    assert source.read_text() == "size\n1\n"
    assert not (tmp_path / "mlflow.db").exists()


def test_an_input_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^--input \S+none.csv: no such file$"):
        predict_file("small", tmp_path / "none.csv", tmp_path / "out.csv", folder=tmp_path, uri=None)


class Doubling:
    """Stands in for a loaded model: a row's answer is twice its number."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing
        self.called = 0

    def predict(self, columns: dict) -> SimpleNamespace:
        self.called += 1
        numbers = 2 * as_numbers("size", columns["size"])
        return SimpleNamespace(labels=numbers.tolist(), scores=numbers[:, None])


@pytest.fixture
def doubling(monkeypatch: pytest.MonkeyPatch) -> Doubling:
    data = {"csv": "x.csv", "features": {"size": "number"}, "target": {"column": "y", "kind": "number"}, "id": "id"}
    rows = {"size": np.arange(3.0), "y": np.arange(3.0), "id": np.arange(3)}
    model = Doubling(Preprocessing.fit(rows, DataSpec.model_validate(data)))
    monkeypatch.setattr(prediction, "connect_existing", lambda uri, folder: None)
    monkeypatch.setattr(prediction, "find_version", lambda *_: SimpleNamespace(name="doubling", version=1))
    monkeypatch.setattr(prediction, "download", lambda model: None)
    monkeypatch.setattr(prediction.Predictor, "load", lambda folder: model)
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 100)
    return model


def test_a_file_is_predicted_block_by_block(tmp_path: Path, doubling: Doubling) -> None:
    (tmp_path / "rows.csv").write_text("id,size\n" + "".join(f"00{n},{n}\n" for n in range(200)))
    written = predict_file("doubling", tmp_path / "rows.csv", tmp_path / "out.csv", folder=tmp_path, uri=None)
    assert written.rows == 200
    assert doubling.called > 5
    expected = "id,y\n" + "".join(f"00{n},{2 * n:.1f}\n" for n in range(200))
    assert (tmp_path / "out.csv").read_text() == expected


def test_a_bad_row_leaves_no_output(tmp_path: Path, doubling: Doubling) -> None:
    (tmp_path / "rows.csv").write_text("id,size\n" + "1,1\n" * 150 + "1,wide\n")
    (tmp_path / "out.csv").write_text("as it was")
    expected = rf"^{tmp_path}/rows\.csv: column 'size', row 151: got 'wide', expected a number$"
    with pytest.raises(DataError, match=expected):
        predict_file("doubling", tmp_path / "rows.csv", tmp_path / "out.csv", folder=tmp_path, uri=None)
    assert (tmp_path / "out.csv").read_text() == "as it was"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "rows.csv"]


class Knowing(Doubling):
    """Stands in for a loaded model that says one thing of every row."""

    def predict(self, columns: dict) -> SimpleNamespace:
        rows = len(next(iter(columns.values())))
        return SimpleNamespace(labels=["a"] * rows, scores=np.ones((rows, 1)))


@pytest.mark.parametrize(
    ("kind", "source", "expected"),
    [
        ("images", "pics", "file,label\ncat/1.png,a\ncat/day/2.png,a\nloose.png,a\n"),
        ("images", "pics/cat/1.png", "file,label\n1.png,a\n"),
        ("npz", "rows.npz", "row,label\n1,a\n2,a\n"),
        ("csv", "rows", "file,row,label\na.csv,1,a\na.csv,2,a\nb/c.csv,1,a\n"),
        ("csv", "rows/a.csv", "label\na\na\n"),
    ],
)
def test_what_a_prediction_belongs_to(
    tmp_path: Path, doubling: Doubling, monkeypatch: pytest.MonkeyPatch, kind: str, source: str, expected: str
) -> None:
    column = "image" if kind == "images" else "size"
    data = {"files": "x", "format": kind, "features": {column: "image" if kind == "images" else "number"}}
    rows = {column: np.zeros((2, 4, 4, 3), np.uint8) if kind == "images" else np.arange(2.0), "label": ["a", "b"]}
    spec = DataSpec.model_validate({**data, "target": {"column": "label"}})
    knowing = Knowing(Preprocessing.fit({name: np.array(values) for name, values in rows.items()}, spec))
    monkeypatch.setattr(prediction.Predictor, "load", lambda folder: knowing)
    for name in ("cat/1.png", "cat/day/2.png", "loose.png"):
        (tmp_path / "pics" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "pics" / name)
    (tmp_path / "rows/b").mkdir(parents=True)
    (tmp_path / "rows/a.csv").write_text("size\n1\n2\n")
    (tmp_path / "rows/b/c.csv").write_text("size\n3\n")
    (tmp_path / "rows/.DS_Store").write_text("x")
    np.savez(tmp_path / "rows.npz", size=np.arange(2.0))
    written = predict_file("m", tmp_path / source, tmp_path / "out.csv", folder=tmp_path, uri=None)
    assert (tmp_path / "out.csv").read_text() == expected
    hidden = f"left out 1 file(s) of --input={tmp_path}/rows: 1 hidden (such as .DS_Store)"
    assert written.told == ((hidden,) if source == "rows" else ())
