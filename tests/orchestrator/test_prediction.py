"""A prediction that has nowhere to go is refused before a model is looked for."""

from pathlib import Path

import pytest

from configs.errors import DataError
from orchestrator.prediction import predict_file


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
