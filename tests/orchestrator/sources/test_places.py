"""Files, folders and globs, and what is said where there are none."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.sources import Loaded
from orchestrator.sources.places import find, format_of

Load = Callable[..., Loaded]
Problem = Callable[..., str]


def write(*names: str) -> None:
    for number, name in enumerate(names):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(f"x,y\n{number},a\n")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ("d/b.csv", [1]),
        ("d", [0, 1, 2]),
        ("d/", [0, 1, 2]),
        ("d/*.csv", [0, 1]),
        ("d/**/*.csv", [0, 1, 2]),
        ("d/[b-z].csv", [1]),
        ("*/?.csv", [0, 1]),
        (["d/sub/c.csv", "d/a.csv"], [2, 0]),
        (["d/b.csv", "d/*.csv"], [1, 0, 1]),
    ],
)
def test_files_folders_globs_and_lists(load: Load, files: str | list[str], expected: list[int]) -> None:
    write("d/a.csv", "d/b.csv", "d/sub/c.csv", "d/.hidden.csv", "d/_SUCCESS", "d/_tmp/x.csv", "d/README.md")
    assert load(files=files).columns["x"].tolist() == expected


def test_places_beside_the_yaml_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    here.mkdir()
    home.mkdir()
    monkeypatch.chdir(here)
    (home / "a.csv").write_text("x\n1\n")
    assert [file.name for file in find(["*.csv"], home, None, "data.files").files] == [str(home / "a.csv")]
    (here / "b.csv").write_text("x\n1\n")
    assert [file.name for file in find(["*.csv"], home, None, "data.files").files] == [str(here / "b.csv")]


def test_a_file_url(load: Load, tmp_path: Path) -> None:
    write("a.csv")
    assert load(files=f"file://{tmp_path}/a.csv").parts == {"train": 1}


def test_a_file_system_of_fsspec(load: Load) -> None:
    import fsspec

    with fsspec.open("memory://ringmaster/part-0.csv", "w") as file:
        file.write("x,y\n7,a\n")
    assert load(files="memory://ringmaster/*.csv").columns["x"].tolist() == [7]


def test_parts_of_their_own(load: Load) -> None:
    write("a.csv", "b.csv", "c.csv")
    rows = load(csv="a.csv", valid_files="b.csv", test_files=["c.csv", "b.csv"])
    assert rows.parts == {"train": 1, "valid": 1, "test": 2}
    assert rows.columns["x"].tolist() == [0, 1, 2, 1]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", "csv"),
        ("a.CSV.GZ", "csv"),
        ("a.tsv.zst", "csv"),
        ("part-0.snappy.parquet", "parquet"),
        ("a.jsonl.gz", "json"),
        ("train.tfrecord", "tfrecord"),
        ("train.tfrecord-00003-of-00010", "tfrecord"),
        ("train-images-idx3-ubyte.gz", "idx"),
        ("train-images.idx3-ubyte", "idx"),
        ("cat.JPG", "images"),
        ("a.txt", "text"),
        ("a.data", None),
        ("csv", None),
    ],
)
def test_the_name_tells_the_format(name: str, expected: str | None) -> None:
    assert format_of(name) == expected


def test_places_without_files(problem: Problem, tmp_path: Path) -> None:
    write("mixed/a.csv", "mixed/b.parquet", "notes/a.md", "a.data")
    Path("empty").mkdir()
    none = f"no such file, folder or match in {tmp_path}; correct it"
    assert problem(files="nope.csv") == f"data.files=nope.csv: {none}"
    assert problem(files="*.jsonl") == f"data.files=*.jsonl: {none}"
    assert problem(files="nowhere/*.csv") == f"data.files=nowhere/*.csv: {none.replace(str(tmp_path), 'nowhere')}"
    folder = "is a folder without a file of a known format; give data.format"
    assert problem(files="empty") == f"data.files=empty: {folder}"
    assert problem(files="notes") == f"data.files=notes: {folder}; it holds 1 named .md (such as a.md)"
    assert problem(files="mixed") == (
        "data.files: mixed/a.csv is csv, mixed/b.parquet is parquet; name files of one format, or give data.format"
    )
    assert problem(files="a.data") == (
        "data.files: the name of a.data tells no format; give data.format "
        "(csv, parquet, json, tfrecord, npz, idx, images, text)"
    )
    assert problem(csv="a.data", test_files="nope") == f"data.test_files=nope: {none}"


def test_a_given_format_chooses_among_the_files_of_a_folder(load: Load) -> None:
    write("mixed/a.csv", "mixed/b.parquet", "odd/a.data", "odd/b.data", "odd/c.json")
    assert load(files="mixed", format="csv").columns["x"].tolist() == [0]
    assert load(files="odd", format="csv").columns["x"].tolist() == [2, 3]


def test_a_file_that_may_not_be_read(problem: Problem) -> None:
    write("a.csv")
    Path("a.csv").chmod(0)
    if os.access("a.csv", os.R_OK):
        pytest.skip("this user may read everything")
    assert "Permission denied" in problem(files="a.csv")


def test_a_link_of_an_unknown_kind(problem: Problem) -> None:
    assert problem(files="ftq://host/a.csv") == (
        "data.files=ftq://host/a.csv: cannot be reached: Protocol not known: ftq"
    )
