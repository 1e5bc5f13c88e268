"""Pieces hold every file once, in order: small ones together, a large Parquet file by its row groups."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from orchestrator.sources import BadRows, Reading, blocks_of
from orchestrator.sources.places import find
from orchestrator.streaming import pieces
from orchestrator.streaming.pieces import pieces_of


def test_small_files_are_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", 10)
    for number, size in enumerate((4, 4, 4, 30, 2, 2)):
        (tmp_path / f"{number}.csv").write_text("x" * size)
    found = find([str(tmp_path)], tmp_path, None, "data.files")
    held = [[file.base for file in piece.found.files] for piece in pieces_of({"train": found})]
    assert held == [["0.csv", "1.csv"], ["2.csv"], ["3.csv"], ["4.csv", "5.csv"]]
    monkeypatch.setattr(pieces, "PIECE_FILES", 1)
    assert len(pieces_of({"train": found, "test": found})) == 12


def test_a_large_parquet_file_is_divided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", 2000)
    table = pa.table({"n": list(range(1000))})
    pa.parquet.write_table(table, tmp_path / "rows.parquet", row_group_size=100, compression="none")
    found = find([str(tmp_path)], tmp_path, None, "data.files")
    made = pieces_of({"train": found})
    assert len(made) > 2
    blocks = [list(blocks_of(piece.found, Reading(bad=BadRows()))) for piece in made]
    assert [n for some in blocks for block in some for n in block.columns["n"].tolist()] == list(range(1000))
    # Errors name the row in the file, not in the piece.
    assert [block.first_row - 1 for some in blocks for block in some] == [
        block.columns["n"][0] for some in blocks for block in some
    ]
