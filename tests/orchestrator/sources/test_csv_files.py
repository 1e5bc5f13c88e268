"""The dialects of CSV, and rows that are none."""

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.preprocessing import text_array
from configs.rules import ValueRules
from orchestrator.sources import Loaded, csv_files
from orchestrator.sources.csv_files import read_csv

Load = Callable[..., Loaded]
Problem = Callable[..., str]
ROWS = "x,y\n1,a\n2,b\n3,a\n"
XY = {"x": [1.0, 2.0, 3.0], "y": ["a", "b", "a"]}


def lists(rows: Loaded) -> dict[str, list[Any]]:
    return {name: [None if value != value else value for value in column] for name, column in rows.columns.items()}


@pytest.mark.parametrize(
    ("name", "content", "read"),
    [
        ("a.csv", ROWS, {}),
        ("a.csv", "﻿" + ROWS, {}),
        ("a.csv", ROWS.replace("\n", "\r\n"), {}),
        ("a.csv", ROWS.replace(",", ";"), {"separator": ";"}),
        ("a.tsv", ROWS.replace(",", "\t"), {}),
        ("a.csv", ROWS.removeprefix("x,y\n"), {"names": ["x", "y"]}),
        ("a.csv", ROWS.replace("x,y", "p,q"), {"names": ["x", "y"], "header": True}),
        ("a.csv", ROWS.replace(",", ", ").replace("\n", " \n"), {"trim": True}),
        ("a.csv", "# made by hand\n" + ROWS + "# the end\n", {"comment": "#"}),
        ("a.csv", ROWS.replace("a", "'a'"), {"quote": "'"}),
        ("a.csv", ROWS, {"quote": None}),
    ],
)
def test_dialects_of_the_same_rows(load: Load, name: str, content: str, read: dict[str, Any]) -> None:
    Path(name).write_text(content, newline="")
    assert lists(load(files=name, read=read)) == XY


def test_gzip_is_looked_through(load: Load) -> None:
    Path("a.csv.gz").write_bytes(gzip.compress(ROWS.encode()))
    assert lists(load(files="a.csv.gz")) == XY


def test_marks_of_missing_values(load: Load) -> None:
    Path("a.csv").write_text("x,c,y\n?,a,1\n-999, ?,0\nNA,,1\n4,-,0\n")
    rows = load(
        csv="a.csv", read={"missing": ["?", "-999", "-"], "trim": True}, features={"x": "number", "c": "category"}
    )
    assert lists(rows) == {"x": [None, None, None, 4.0], "c": ["a", "?", None, "-"], "y": ["1", "0", "1", "0"]}
    rules = ValueRules(missing=("?", "-999", "-"))
    assert text_array("c", rows.columns["c"], rules).tolist() == ["a", None, None, None]


def test_trimmed_values_keep_what_is_quoted(load: Load) -> None:
    Path("a.csv").write_text('x, name, y\n 1, "Lovelace, Ada", a\n 2, "two\nlines", "b ""B"" "\n')
    rows = load(csv="a.csv", read={"trim": True}, features={"x": "number", "name": "text"})
    assert lists(rows) == {"x": [1.0, 2.0], "name": ["Lovelace, Ada", "two\nlines"], "y": ["a", 'b "B"']}


def test_quotes_can_be_characters_like_any_other(load: Load) -> None:
    Path("a.csv").write_text('a\t"so\nb\the said "no"\n')
    read = {"names": ["y", "t"], "separator": "\t", "quote": None}
    assert lists(load(csv="a.csv", read=read, features={"t": "text"}))["t"] == ['"so', 'he said "no"']
    assert lists(load(csv="a.csv", read=read | {"trim": True}, features={"t": "text"}))["t"] == ['"so', 'he said "no"']


def test_quoted_values_may_hold_lines(load: Load) -> None:
    content = "x,t,y\n" + '1,"two\nlines",a\n' * 200_000  # blocks of a megabyte end inside a value
    Path("a.csv").write_text(content)
    rows = load(csv="a.csv", features={"x": "number", "t": "text"})
    assert rows.parts == {"train": 200_000}
    assert set(rows.columns["t"]) == {"two\nlines"}


@pytest.mark.parametrize("trim", [False, True])
def test_other_encodings(load: Load, trim: bool) -> None:
    Path("a.csv").write_bytes("x,y\n1,café\n2,thé\n".encode("latin-1"))
    assert lists(load(csv="a.csv", read={"encoding": "latin-1", "trim": trim}))["y"] == ["café", "thé"]


def test_no_row_is_lost_between_blocks(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 rows are five batches of the rewriter, and some blocks of Arrow's."""
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 100_000)
    Path("a.csv").write_text("x, pad, y\n" + "".join(f"{row}, {'p' * 20}, {row % 2}\n" for row in range(10_000)))
    for trim in (False, True):
        read = {"names": ["x", "pad", "y"], "header": True, "trim": trim}
        rows = load(csv="a.csv", read=read)
        assert rows.columns["x"].tolist() == list(range(10_000))


def test_types_are_those_the_job_uses(load: Load) -> None:
    Path("a.csv").write_text("x,zip,code,y\n1,01234,1.50,1\n2,99999,2,0\n")
    rows = load(csv="a.csv", features={"x": "number", "zip": "category", "code": "category"})
    assert lists(rows) == {"x": [1.0, 2.0], "zip": ["01234", "99999"], "code": ["1.50", "2"], "y": ["1", "0"]}


def test_a_column_that_is_not_used_may_hold_anything(load: Load) -> None:
    lines = b"".join(b"%d,a,\xff\n" % row for row in range(9))
    Path("a.csv").write_bytes(b"x,y,unused\n" + lines)
    assert list(load(csv="a.csv").columns) == ["x", "y"]


def test_one_bad_number_leaves_a_column_of_texts_that_preprocessing_can_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1.50,2\nabc,3\n")
    rows = read_csv(tmp_path / "a.csv", [])
    assert rows["x"].tolist() == ["1.50", "abc"]
    assert rows["y"].tolist() == [2, 3]


def test_ragged_rows_can_be_left_out(load: Load) -> None:
    Path("a.csv").write_text(ROWS + "4\n5,b\n6,a,c\n" + "7\n" * 9)
    rows = load(csv="a.csv", bad_rows="skip")
    assert rows.columns["x"].tolist() == [1, 2, 3, 5]
    assert rows.skipped.count == 11
    assert [rows.place(row)[1] for row in range(4)] == [1, 2, 3, 5]
    path = Path("a.csv").absolute()
    assert rows.skipped.examples[:2] == [
        f"{path}, row 4 (line 5): expected 2 values, got 1",
        f"{path}, row 6 (line 7): expected 2 values, got 3",
    ]
    assert len(rows.skipped.examples) == 5


RAGGED = "; correct it, or leave such rows out with data.bad_rows: skip"
EMPTY = "a.csv: the file is empty; give one that has a header line and rows"


@pytest.mark.parametrize(
    ("content", "read", "expected"),
    [
        (ROWS + "4\n", {}, f"a.csv, row 4 (line 5): expected 2 values, got 1{RAGGED}"),
        (ROWS + "4\n", {"trim": True}, f"a.csv, row 4 (line 5): expected 2 values, got 1{RAGGED}"),
        ("", {}, EMPTY),
        ("", {"trim": True}, EMPTY),
        ("\n\n", {}, EMPTY),
        ("x,y\n", {}, "a.csv has no rows; a job needs at least a few to train on"),
        ("x,y,x\n1,2,3\n", {}, "a.csv: the header has column 'x' twice; rename one"),
        ("x,z\n1,2\n", {}, "a.csv has no column 'y'; it has 'x', 'z'"),
        ("1,2,3\n", {"names": ["x", "y"]}, f"a.csv, row 1 (line 1): expected 2 values, got 3{RAGGED}"),
        ("X,Y\n1,2\n", {}, "a.csv has no column 'x'; it has 'X', 'Y'. Did you mean 'X'?"),
        ("xz;y\n", {"separator": "|"}, "a.csv has no column 'x'; it has 'xz;y'"),
    ],
)
def test_files_that_cannot_be_used(problem: Problem, content: str, read: dict[str, Any], expected: str) -> None:
    Path("a.csv").write_text(content)
    assert problem(csv="a.csv", read=read) == expected


@pytest.mark.parametrize("trim", [False, True])
def test_another_encoding_than_said(problem: Problem, trim: bool) -> None:
    Path("a.csv").write_bytes(b"x,y\n1,caf\xe9\n")
    text = problem(csv="a.csv", read={"trim": trim})
    fix = "give data.read.encoding, such as latin-1 or cp1252, or save the file as UTF-8"
    assert text == f"a.csv, row 1 (line 2): column 'y' is not utf-8 text; {fix}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (gzip.compress(ROWS.encode() * 1000)[:-9], "Truncated compressed stream"),
        (ROWS.encode(), "zlib inflate failed: incorrect header check"),
    ],
    ids=["truncated", "not gzip"],
)
def test_a_broken_gzip(problem: Problem, content: bytes, reason: str) -> None:
    Path("a.csv.gz").write_bytes(content)
    assert problem(files="a.csv.gz") == (
        f"a.csv.gz: cannot be read as CSV: {reason}; copy it again, or correct its name if it is not compressed"
    )


def test_a_number_in_one_file_is_a_text_in_another(problem: Problem, load: Load) -> None:
    Path("a.csv").write_text("x,y\n1,a\n")
    Path("b.csv").write_text("x,y\n1,a\ntwo,b\n")
    assert problem(files=["a.csv", "b.csv"]) == "b.csv: column 'x', row 2: got 'two', expected a number, as in a.csv"
    assert load(files=["a.csv", "b.csv"], bad_rows="skip").columns["x"].tolist() == [1.0, "1", "two"]


def test_a_column_without_values_in_one_file_is_one_of_numbers(load: Load) -> None:
    Path("a.csv").write_text("x,z,y\n1,,a\n")
    Path("b.csv").write_text("x,z,y\n1,7,a\n")
    rows = load(files=["a.csv", "b.csv"], features={"x": "number", "z": "auto"})
    np.testing.assert_array_equal(rows.columns["z"].astype(float), [np.nan, 7])


def test_a_column_is_missing_in_one_of_many_files(problem: Problem) -> None:
    for number in range(5):
        Path(f"part{number}.csv").write_text("x,z\n1,2\n" if number == 3 else "x,y\n1,2\n")
    assert problem(files="part*.csv") == "part3.csv has no column 'y'; it has 'x', 'z'"
    assert problem(files="part*.csv", features="auto") == "part3.csv has no column 'y'; it has 'x', 'z'"


@pytest.mark.parametrize(
    "content",
    [
        "x,y,,\n1,a,,\n2,b,,\n3,a,,\n",
        "x,y,,\n1,a\n2,b,,\n3,a,\n",
        "x,y\n1,a,\n2,b,,\n3,a\n",
        ",x,y\n0,1,a\n1,2,b\n2,3,a\n",
        "x,y,z,z\n1,a,0,0\n2,b,0,0\n3,a,0,0\n",
        "sep=;\nx;y\n1;a\n2;b\n3;a\n",
        ROWS.replace("\n", "\r"),
        "\n\nx,y\n\n1,a\r2,b\r\n   \n3,a",
        '﻿"x","y"\n"1","a"\n"2","b"\n"3","a"\n',
    ],
)
def test_what_spreadsheets_and_pandas_write(load: Load, content: str) -> None:
    Path("a.csv").write_text(content, newline="")
    assert lists(load(csv="a.csv")) == XY


def test_a_zip_archive_of_one_file(load: Load, problem: Problem) -> None:
    with zipfile.ZipFile("a.zip", "w") as archive:
        archive.writestr("folder/a.csv", ROWS)
        archive.writestr("__MACOSX/folder/._a.csv", "")
    assert lists(load(files="a.zip")) == XY == lists(load(csv="a.zip"))
    with zipfile.ZipFile("a.zip", "a") as archive:
        archive.writestr("b.csv", ROWS)
    expected = "a.zip holds 2 files (folder/a.csv, b.csv), expected one; unpack it and name the files in data.files"
    assert problem(csv="a.zip") == expected


def test_a_long_value_takes_no_more_than_itself(load: Load) -> None:
    Path("a.csv").write_text("x,y\n" + "1,a\n" * 1000 + f"2,{'b' * 3_000_000}\n1\n")
    rows = load(csv="a.csv", bad_rows="skip")
    assert (len(rows.columns["y"][1000]), rows.skipped.count) == (3_000_000, 1)


FIXES = [
    ('x,y\n1,"a \\"b\\", c"\n2,d\n', "data.read.escape: \\", {"escape": "\\"}),
    ('x,y\n1,"a \\"b\\" c"\n2,d\n', "data.read.escape: \\", {"escape": "\\"}),
    ('x,y\n1,"a\n2,"b"\n3,c\n', "data.read.quote: null if quotes are characters like any other", {"quote": None}),
    ('x,y\n1,a\n2,"b\n3,c\n', "data.read.quote: null if quotes are characters like any other", {"quote": None}),
    ('x,y\n1, "a,b"\n2,c\n', "give data.read.trim: true", {"trim": True}),
    ("x , y\n1,a\n", "Spaces stand around its names: give data.read.trim: true", {"trim": True}),
    ("Sales\n\nx,y\n1,a\n", "Other lines stand before its header: give data.read.skip_lines: 1", {"skip_lines": 1}),
    ("x;y\n1;a\n", 'give data.read.separator: ";"', {"separator": ";"}),
    ("x\ty\n1\ta\n", 'give data.read.separator: "\\t"', {"separator": "\t"}),
    ("1,a\n2,b\n", "give data.read.names, the columns in their order", {"names": ["x", "y"]}),
    ("x,y\n1,2,a\n", "data.read.names, with header: true", {"names": ["z", "x", "y"], "header": True}),
]


@pytest.mark.parametrize(("content", "message", "fix"), FIXES)
def test_the_fix_that_a_message_suggests_reads_the_file(
    problem: Problem, load: Load, content: str, message: str, fix: dict[str, Any]
) -> None:
    Path("a.csv").write_text(content, newline="")
    assert message in problem(csv="a.csv")
    assert len(load(csv="a.csv", read=fix).columns["x"]) >= 1


@pytest.mark.parametrize(
    ("encoding", "fix"), [("utf-16", "utf-16"), ("utf-16-le", "utf-16-le"), ("latin-1", "latin-1")]
)
def test_the_encoding_that_a_message_suggests_reads_the_file(
    problem: Problem, load: Load, encoding: str, fix: str
) -> None:
    Path("a.csv").write_bytes("x,y\n1,é\n".encode(encoding))
    text = problem(csv="a.csv")
    assert "data.read.encoding" in text
    assert fix in text
    assert lists(load(csv="a.csv", read={"encoding": fix}))["y"] == ["é"]
