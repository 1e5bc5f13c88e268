"""Texts as rows: by line, by file and by folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.sources import Loaded, Reading, blocks_of
from orchestrator.sources.places import find

Load = Callable[..., Loaded]
Problem = Callable[..., str]
TEXT: dict[str, Any] = {"features": {"text": "text"}, "target": {"column": "label"}, "format": "text"}


def test_texts_by_line(load: Load) -> None:
    Path("good.txt").write_bytes("one\r\n\ntwo words \u2028 same line\n".encode())
    Path("bad.txt").write_bytes(b"three")
    rows = load(files=["good.txt", "bad.txt"], read={"labels": {"good.txt": "g", ".txt": "b"}}, **TEXT).columns
    assert rows["text"].tolist() == ["one", "two words \u2028 same line", "three"]
    assert rows["label"].tolist() == ["g", "g", "b"]


def test_texts_by_file_and_folder(load: Load) -> None:
    for name, text in {"d/neg/1.txt": "a\nb\n", "d/pos/1.txt": "", "d/pos/2.txt": "c"}.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    rows = load(files="d", read={"rows": "file"}, **TEXT).columns
    assert rows["text"].tolist() == ["a\nb\n", "", "c"]
    assert rows["label"].tolist() == ["neg", "pos", "pos"]


def test_texts_of_another_encoding(load: Load, problem: Problem) -> None:
    Path("a.txt").write_bytes(b"one\ncaf\xe9\n")
    assert problem(files="a.txt", **TEXT) == (
        "a.txt, line 2: is not utf-8 text; give data.read.encoding, such as latin-1 or cp1252, "
        "or save the file as UTF-8"
    )
    assert load(files="a.txt", read={"encoding": "latin-1"}, **TEXT).columns["text"].tolist() == ["one", "café"]
    Path("b.txt").write_bytes("one\ncafé\n".encode("utf-16"))
    assert load(files="b.txt", read={"encoding": "utf-16"}, **TEXT).columns["text"].tolist() == ["one", "café"]
    rows = load(files="a.txt", bad_rows="skip", **TEXT)
    assert (rows.columns["text"].tolist(), rows.skipped.count) == (["one"], 1)


def test_a_text_without_a_label(problem: Problem) -> None:
    Path("d").mkdir()
    Path("d/a.txt").write_text("x")
    assert problem(files="d/a.txt", read={"labels": {".pos": "p"}}, **TEXT) == (
        "data.read.labels has no label for d/a.txt; it knows .pos, expected the name of the file, of its folder (d) "
        "or its suffix"
    )


@pytest.mark.parametrize("mark", ["\x85", "\u2028", "\x0b", "\x0c", "\x1c", "\0", "👩\u200d🚀"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_only_line_ends_end_a_text(load: Load, mark: str, end: str) -> None:
    Path("a.txt").write_text(f"one{mark}two{end}{end}three", encoding="utf-8", newline="")
    rows = load(files="a.txt", features={"text": "text"}, target={"column": "label"})
    assert rows.columns["text"].tolist() == [f"one{mark}two", "three"]
    assert [rows.place(row)[1] for row in range(2)] == [1, 3]
    assert rows.told[-1] == f"1 blank line(s) left out, such as {Path('a.txt').absolute()}, line 2"


def test_every_line_has_its_prediction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("one\n\nthree\n\n")
    reading = Reading(wanted=("text",), blank_lines=True)
    found = find(("a.txt",), Path.cwd(), "text", "--input")
    assert [text for block in blocks_of(found, reading) for text in block.columns["text"]] == ["one", "", "three", ""]
