"""Classes by folders, files that are left out, and columns of paths."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs
import pytest
from PIL import Image

from configs.errors import DataError
from configs.job import JobSpec
from orchestrator.datasets import prepare
from orchestrator.sources import BadRows, Loaded, Reading, blocks_of, found_files, pictures
from orchestrator.sources.listing import LeftOut, listed
from orchestrator.sources.pictures import pixel_bytes
from orchestrator.sources.places import find

Load = Callable[..., Loaded]
Problem = Callable[..., str]
IMAGE: dict[str, Any] = {"features": {"image": "image"}, "target": {"column": "label"}}
PATHS: dict[str, Any] = {"features": {"path": "image"}, "target": {"column": "y"}}


def draw(*names: str) -> None:
    for number, name in enumerate(names):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(name, "PNG")


@pytest.mark.parametrize(
    ("files", "labels", "expected"),
    [
        ("pics", None, ["cat", "cat", "dog"]),
        ("pics", "parent", ["day", "night", "day"]),
        ("pics/*/*/*.png", None, ["cat", "cat", "dog"]),
        ("pics/**/*.png", None, ["cat", "cat", "dog"]),
        ("pics/*", None, ["cat", "cat", "dog"]),
        ("pics/cat", None, ["day", "night"]),
        (["pics/cat/day", "pics/dog/day"], None, ["day", "day"]),
        (["pics/cat", "pics/dog"], "place", ["cat", "cat", "dog"]),
        (["pics/cat/day/*.png", "pics/cat/night/*.png"], None, ["day", "night"]),
        ("pics/dog/day/3.png", None, ["day"]),
        ("pics", {"cat": "c", "dog": "d"}, ["c", "c", "d"]),
    ],
)
def test_classes(load: Load, files: Any, labels: Any, expected: list[str]) -> None:
    draw("pics/cat/day/1.png", "pics/cat/night/2.png", "pics/dog/day/3.png")
    rows = load(files=files, format="images", read={"labels": labels}, **IMAGE)
    assert rows.columns["label"].tolist() == expected
    if labels is None and files == "pics":
        assert rows.told == (
            "label is the first folder below the place that the job names: 'cat' (2 files), 'dog' (1 files)",
        )


def test_a_file_without_a_class(load: Load, problem: Problem) -> None:
    draw("pics/cat/1.png", "pics/2.png")
    assert problem(files="pics", **IMAGE) == (
        "pics/2.png: lies in no class folder; move it into a folder named after its class below pics, give its label "
        "with data.read.labels: {2.png: LABEL}, or leave it out with data.bad_rows: skip"
    )
    given = load(files="pics", read={"labels": {"2.png": "x", "cat": "cat"}}, **IMAGE)
    assert given.columns["label"].tolist() == ["x", "cat"]
    rows = load(files="pics", bad_rows="skip", **IMAGE)
    assert (rows.columns["label"].tolist(), rows.skipped.count) == (["cat"], 1)


def test_only_junk_is_left_out_and_all_of_it_is_said(load: Load) -> None:
    draw("p/_other/_DSC0001.JPG", "p/cat/a.jfif", "p/cat/.ipynb_checkpoints/b.png", "p/__MACOSX/cat/._a.png")
    for name in (".DS_Store", "Thumbs.db", "notes.md"):
        Path("p/cat", name).write_text("x")
    Path("p/cat/gone.png").symlink_to("nowhere")
    rows = load(files="p", **IMAGE)
    assert rows.columns["label"].tolist() == ["_other", "cat"]
    assert rows.told[0] == (
        "left out 6 file(s) of data.files=p: 1 broken links or devices (such as cat/gone.png), "
        "3 hidden (such as __MACOSX/cat/._a.png), 1 that other programs leave behind (such as cat/Thumbs.db), "
        "1 named .md (such as cat/notes.md)"
    )


def test_folders_behind_links_once_around(load: Load) -> None:
    draw("real/cat/1.png")
    Path("p").mkdir()
    Path("p/dog").symlink_to(Path("real/cat").absolute())
    Path("p/dog/loop").symlink_to(Path("p").absolute())
    assert load(files="p", **IMAGE).columns["label"].tolist() == ["dog"]


def test_a_glob_lists_only_what_it_reaches_into(tmp_path: Path) -> None:
    for name in ("b1/x.csv", "b1/deep/er/x.csv", "c/x.csv", "c/deep/x.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    asked: list[str] = []

    class Counting(pa.fs.FileSystemHandler):
        """Writes down which folders are listed."""

        local = pa.fs.LocalFileSystem()

        def get_file_info_selector(self, selector: Any) -> Any:
            asked.append(selector.base_dir)
            return self.local.get_file_info(selector)

        def get_file_info(self, paths: Any) -> Any:
            return self.local.get_file_info(paths)

        def get_type_name(self) -> str:
            return "counting"

        def __eq__(self, other: object) -> bool:
            return self is other

        __hash__ = None

    names = (
        "copy_file create_dir delete_dir delete_dir_contents delete_file delete_root_dir_contents move normalize_path "
        "open_append_stream open_input_file open_input_stream open_output_stream"
    )
    handler = type("Handler", (Counting,), dict.fromkeys(names.split(), lambda self, *some: some[0]))
    found = listed(pa.fs.PyFileSystem(handler()), f"{tmp_path}/b*/x.csv", LeftOut())
    assert [info.path for info in found.infos] == [f"{tmp_path}/b1/x.csv"]
    assert asked == [str(tmp_path)]


def test_credentials_are_not_repeated(problem: Problem) -> None:
    text = problem(files="memory://ada:secret@bucket/nothing.csv?secret_key=abc")
    assert "secret@" not in text and "abc" not in text and "***" in text


@pytest.mark.parametrize("form", ["csv", "parquet", "json"])
def test_a_column_of_paths(load: Load, problem: Problem, tmp_path: Path, form: str) -> None:
    import pandas as pd

    draw("d/pics/1.png", "d/pics/2.png", "d/3.png")
    frame = pd.DataFrame(
        {"path": ["pics/1.png", f"file://{tmp_path}/d/pics/2.png", f"{tmp_path}/d/3.png"], "y": list("aba")}
    )

    def write() -> None:
        if form == "json":
            frame.to_json("d/rows.json", orient="records", lines=True)
        else:
            getattr(frame, f"to_{form}")(f"d/rows.{form}", index=False)

    write()
    rows = load(files=f"d/rows.{form}", **PATHS)
    assert rows.columns["path"][:, 0, 0, 0].tolist() == [0, 1, 2]
    frame.loc[1, "path"] = "pics/9.png"
    write()
    assert problem(files=f"d/rows.{form}", **PATHS) == (
        f"d/rows.{form}, row 2: column 'path' ('pics/9.png') cannot be read: there is no file d/pics/9.png"
    )
    rows = load(files=f"d/rows.{form}", bad_rows="skip", **PATHS)
    assert (rows.columns["y"].tolist(), rows.skipped.count) == (["a", "a"], 1)


def test_the_path_below_the_place_tells_a_file(tmp_path: Path) -> None:
    draw(str(tmp_path / "p/cat/1.png"))
    found = find([str(tmp_path / "p")], tmp_path, None, "--input")
    assert [file.below for file in found.files] == ["cat/1.png"]


def test_the_memory_of_pictures_behind_paths(job: Callable[..., JobSpec]) -> None:
    draw("1.png")
    Path("rows.csv").write_text("path,y\n" + "1.png,a\n" * 50)
    for read, row_bytes in (({}, 4 * 4 * 3), ({"height": 8, "width": 9}, 8 * 9 * 3)):
        spec = job(csv="rows.csv", read=read, **PATHS)
        assert pixel_bytes(spec.data, found_files(spec)["train"]) == 50 * row_bytes
    spec = job(csv="rows.csv", features={"path": "category"}, target={"column": "y"})
    assert pixel_bytes(spec.data, found_files(spec)["train"]) == 0


def test_pictures_of_paths_in_bounded_blocks(
    job: Callable[..., JobSpec], monkeypatch: pytest.MonkeyPatch, problem: Problem
) -> None:
    draw("1.png")
    monkeypatch.setattr(pictures, "BLOCK_BYTES", 20 * 4 * 4 * 3)
    Path("rows.csv").write_text("path,y\n" + "1.png,a\n" * 50)
    spec = job(csv="rows.csv", **PATHS)
    reading = Reading.of(spec.data, BadRows(), whole=False)
    blocks = [(len(block), block.first_row) for block in blocks_of(found_files(spec)["train"], reading)]
    assert blocks == [(16, 1), (20, 17), (14, 37)]
    Path("rows.csv").write_text("path,y\n1.png,a\n,b\n")
    assert problem(csv="rows.csv", **PATHS) == (
        "rows.csv, row 2: column 'path' is missing; give the path of an image file"
    )


def test_a_path_seen_from_the_job_s_place(load: Load) -> None:
    draw("d/pics/1.png")
    Path("d/meta").mkdir()
    Path("d/meta/rows.csv").write_text("path,y\npics/1.png,a\n")
    assert load(files="d", format="csv", **PATHS).columns["path"].shape == (1, 4, 4, 3)


def test_an_error_names_the_picture_itself(job: Callable[..., JobSpec]) -> None:
    draw(*(f"p/{label}/{number}.png" for label in "ab" for number in range(9)), "v/a/1.png", "v/c/2.png")
    spec = job(files="p", valid_files="v", **IMAGE)
    with pytest.raises(DataError, match=r"v/c/2\.png: target 'label' has 'c'"):
        prepare(spec)


def test_texts_without_a_class(load: Load, problem: Problem) -> None:
    for name in ("t/pos/1.txt", "t/neg/deep/2.txt", "t/3.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)
    data: dict[str, Any] = {"files": "t", "features": {"text": "text"}, "target": {"column": "label"}}
    for read in ({"rows": "file"}, {}):
        assert problem(read=read, **data).startswith("t/3.txt: lies in no class folder; ")
        rows = load(read=read, bad_rows="skip", **data)
        assert (rows.columns["label"].tolist(), rows.skipped.count) == (["neg", "pos"], 1)


def test_the_size_is_that_of_the_first_picture_that_can_be_read(load: Load) -> None:
    draw("p/a/2.png", "p/b/3.png")
    Path("p/a/1.png").write_text("not a picture")
    rows = load(files="p", bad_rows="skip", **IMAGE)
    assert (rows.columns["image"].shape, rows.skipped.count) == ((2, 4, 4, 3), 1)
