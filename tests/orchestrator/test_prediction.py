"""A file is predicted block by block; what has nowhere to go is refused before a model is looked for."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

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
