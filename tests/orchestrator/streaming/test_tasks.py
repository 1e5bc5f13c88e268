"""Tasks go to hosts that see the files; in turn they run here."""

from dataclasses import replace
from pathlib import Path

from orchestrator.sources.places import find
from orchestrator.streaming import in_turn
from orchestrator.streaming.tasks import sees_files


def test_a_host_sees_a_file_of_the_same_size(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    (file,) = find([str(tmp_path)], tmp_path, None, "data.files").files
    assert file.size == 4
    assert sees_files([file])
    assert not sees_files([file, replace(file, path=str(tmp_path / "b.csv"))])
    assert not sees_files([replace(file, size=5)])


def test_in_turn() -> None:
    assert list(in_turn(abs, [-1, 2])) == [1, 2]
