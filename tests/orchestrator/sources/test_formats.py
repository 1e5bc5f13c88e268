"""Parquet, JSON, NumPy, IDX, images and texts: what they hold arrives, and what is broken is named."""

import gzip
import io
import json
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from configs.job import JobSpec
from configs.preprocessing import as_dates
from orchestrator.sources import BadRows, Loaded, Reading, arrays, blocks_of, found_files

Load = Callable[..., Loaded]
Problem = Callable[..., str]
IMAGE: dict[str, Any] = {"features": {"image": "image"}, "target": {"column": "label"}}
TEXT: dict[str, Any] = {"features": {"text": "text"}, "target": {"column": "label"}, "format": "text"}


def write_parquet(name: str, **columns: Any) -> None:
    pq.write_table(pa.table(columns), name)


def test_parquet_types(load: Load) -> None:
    write_parquet(
        "a.parquet",
        **{
            "pm2.5": pa.array([1, None, 3], pa.int32()),
            "small": pa.array([0.5, 1.5, None], pa.float32()),
            "price": pa.array([Decimal("1.25"), None, Decimal("2.50")]),
            "flag": [True, False, True],
            "c": pa.array(["p", None, "p"]).dictionary_encode(),
            "day": [date(2024, 1, 31), None, date(2024, 2, 1)],
            "time": pa.array([datetime(2024, 1, 31, 12, tzinfo=UTC)] * 3),
            "grid": [[[1, 2], [3, 4]]] * 3,
            "words": [["a"], [], ["b", "c"]],
            "y": ["a", "b", "a"],
        },
    )
    rows = load(files="a.parquet", features="auto").columns
    assert rows["pm2.5"].tolist() == [1, None, 3]  # whole numbers stay whole
    np.testing.assert_array_equal(rows["small"], [0.5, 1.5, np.nan])
    assert rows["price"].tolist() == [Decimal("1.25"), None, Decimal("2.50")]
    assert rows["flag"].tolist() == [1, 0, 1]
    assert rows["c"].tolist() == ["p", None, "p"]
    assert as_dates("day", rows["day"]).astype(str).tolist()[:2] == ["2024-01-31T00:00:00", "NaT"]
    assert str(as_dates("time", rows["time"])[0]) == "2024-01-31T12:00:00"
    assert rows["grid"].shape == (3, 2, 2)
    assert rows["words"].tolist() == [["a"], [], ["b", "c"]]


def test_bytes_as_text_in_parquet(load: Load, problem: Problem) -> None:
    features: dict[str, Any] = {"c": "category"}
    write_parquet("a.parquet", c=[b"caf\xc3\xa9", None], y=["a", "b"])
    assert load(files="a.parquet", features=features).columns["c"].tolist() == ["café", None]
    write_parquet("a.parquet", c=[b"cafe", b"caf\xe9"], y=["a", "b"])
    assert problem(files="a.parquet", features=features) == (
        "a.parquet, row 2: column 'c' is not UTF-8 text; write it as text, or leave it out"
    )


ONE_ROW: dict[str, bytes] = {
    "csv": b"x,y\n1,a\n",
    "jsonl": b'{"x": 1, "y": "a"}\n',
    "txt": b"one\n",
}


@pytest.mark.parametrize("kind", [*ONE_ROW, "parquet", "npz"])
def test_an_empty_file_among_others(load: Load, problem: Problem, kind: str) -> None:
    if kind == "parquet":
        write_parquet("b.parquet", x=[1.0], y=["a"])
    elif kind == "npz":
        np.savez("b.npz", x=np.ones(1), y=np.array(["a"]))
    else:
        Path(f"b.{kind}").write_bytes(ONE_ROW[kind])
    Path(f"a.{kind}").write_bytes(b"")
    data = TEXT | {"read": {"labels": {".txt": "a"}}} if kind == "txt" else {}
    assert problem(files=f"*.{kind}", **data) == f"a.{kind}: the file is empty"
    rows = load(files=f"*.{kind}", bad_rows="skip", **data)
    assert (rows.parts, rows.skipped.count) == ({"train": 1}, 1)


def test_parquet_in_row_groups_and_files(load: Load) -> None:
    table = pa.table({"x": np.arange(1000.0), "unused": [b"\xff"] * 1000, "y": np.arange(1000) % 2})
    Path("d").mkdir()
    for part in range(2):
        pq.write_table(table.slice(part * 500, 500), f"d/part-{part}.parquet", row_group_size=64)
    rows = load(files="d", target={"column": "y", "kind": "number"})
    assert rows.columns["x"].tolist() == list(range(1000))
    assert set(rows.columns) == {"x", "y"}


def encoded(size: tuple[int, int] = (4, 6), colour: int = 200, kind: str = "PNG") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, (colour, 0, 0)).save(data, kind)
    return data.getvalue()


def test_images_in_a_parquet_column(load: Load, problem: Problem) -> None:
    write_parquet("a.parquet", image=[encoded(), encoded(colour=10), b"none"], label=["a", "b", "c"])
    formats = "JPEG, PNG, GIF, BMP, WEBP, TIFF, PPM, or damaged at the start"
    wrong = f"a.parquet, row 3: column 'image' is not an image: its bytes are of none of {formats}"
    assert problem(files="a.parquet", **IMAGE) == wrong
    rows = load(files="a.parquet", bad_rows="skip", **IMAGE)
    assert rows.columns["image"].shape == (2, 6, 4, 3)
    assert rows.columns["image"][:, 0, 0, 0].tolist() == [200, 10]
    assert rows.columns["label"].tolist() == ["a", "b"]
    assert rows.skipped.count == 1


def test_parquet_that_cannot_be_used(problem: Problem) -> None:
    write_parquet("a.parquet", x=[1.0] * 1000, y=["a"] * 1000)
    whole = Path("a.parquet").read_bytes()
    Path("a.parquet").write_bytes(whole[:-20])
    assert problem(files="a.parquet").startswith("a.parquet: cannot be read as Parquet: Parquet magic bytes not found")
    Path("a.parquet").write_bytes(b"")
    assert problem(files="a.parquet").startswith("a.parquet: cannot be read as Parquet: Parquet file size is 0 bytes")
    Path("a.parquet").write_bytes(whole[:4] + bytes(200) + whole[204:])
    assert problem(files="a.parquet").startswith("a.parquet: cannot be read as Parquet: ")
    write_parquet("a.parquet", x=[1.0], z=["a"])
    assert problem(files="a.parquet") == "a.parquet has no column 'y'; it has 'x', 'z'"
    write_parquet("a.parquet", x=[], y=[])
    assert problem(files="a.parquet") == "data.files has no rows; a job needs at least a few to train on"
    write_parquet("a.parquet", x=[{"p": 1}], y=["a"])
    assert problem(files="a.parquet").startswith("a.parquet: column 'x' of type struct<p: int64>: ")


@pytest.mark.parametrize("compressed", [False, True])
def test_json_lines(load: Load, compressed: bool) -> None:
    rows = [{"x": 1, "c": "a", "y": "p"}, {"x": 2.5, "y": "q", "more": 1}, {"x": None, "c": "é", "y": "p"}]
    content = "\n".join(map(json.dumps, rows)).encode() + b"\n\n"
    name = "a.jsonl.gz" if compressed else "a.jsonl"
    Path(name).write_bytes(gzip.compress(content) if compressed else content)
    read = load(files=name, features={"x": "number", "c": "category"}).columns
    np.testing.assert_array_equal(read["x"], [1, 2.5, np.nan])
    assert read["c"].tolist() == ["a", None, "é"]
    assert read["y"].tolist() == ["p", "q", "p"]


def test_json_values(load: Load) -> None:
    rows = [{"t": [[1, 2], [3, 4]], "w": ["a", "b"], "big": 2**70, "y": True}] * 2
    Path("a.json").write_text(json.dumps(rows, indent=1))
    features = {"t": "tensor", "w": {"kind": "category", "encode": "multi_hot"}, "big": "number"}
    read = load(files="a.json", features=features, target={"column": "y", "kind": "number"}).columns
    assert read["t"].shape == (2, 2, 2)
    assert read["w"].tolist() == [["a", "b"]] * 2
    assert read["big"].tolist() == [2.0**70] * 2
    assert read["y"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"x": 1, "y": 1}\n{"x": 1,}\n', "a.jsonl, row 2 (line 2): is not a JSON object: "),
        ('{"x": 1, "y": 1}\n\n[1]\n', "a.jsonl, row 2 (line 3): got '[1]', expected an object with values"),
        ('[{"x": 1, "y": 1}, 3]', "a.jsonl, row 2: got 3, expected an object with values"),
        ('[{"x": 1, "y": 1}', "a.jsonl, line 1: is not a JSON array: "),
        ('{"x": 1}\n', "a.jsonl has no column 'y'; it has 'x'"),
        ("", "data.files has no rows; a job needs at least a few to train on"),
        ('{"x": 1, "y": "caf\udce9"}', "a.jsonl, line 1: is not utf-8 text; give data.read.encoding, such as latin-1"),
    ],
)
def test_json_that_cannot_be_used(problem: Problem, content: str, expected: str) -> None:
    Path("a.jsonl").write_bytes(content.encode(errors="surrogateescape"))
    assert problem(files="a.jsonl").startswith(expected)


def test_bad_lines_of_json_can_be_left_out(load: Load) -> None:
    Path("a.jsonl").write_text('{"x": 1, "y": 1}\n{"x": 1,}\n{"x": 3, "y": 1}\n')
    rows = load(files="a.jsonl", bad_rows="skip")
    assert (rows.columns["x"].tolist(), rows.skipped.count) == ([1, 3], 1)


def test_npz(load: Load, problem: Problem) -> None:
    images = np.arange(40, dtype=np.uint8).reshape(10, 2, 2)
    np.savez_compressed("a.npz", image=images, label=np.arange(10), flag=np.ones(10, bool), other=np.zeros(3))
    rows = load(files="a.npz", **IMAGE).columns
    assert rows["image"].dtype == np.uint8
    np.testing.assert_array_equal(rows["image"], images)
    assert problem(files="a.npz", features="auto", target={"column": "label"}) == (
        "a.npz: its arrays differ in length: {'image': 10, 'label': 10, 'flag': 10, 'other': 3}; "
        "every row needs a value of each"
    )
    np.savez("a.npz", image=images, label=np.array(["a", "b"] * 5))
    assert load(files="a.npz", **IMAGE).columns["label"].tolist() == ["a", "b"] * 5
    whole = Path("a.npz").read_bytes()
    Path("a.npz").write_bytes(whole[:-40])
    assert problem(files="a.npz", **IMAGE) == "a.npz: cannot be read as npz: File is not a zip file"
    np.savez("a.npz", image=np.array([{}, None], object), label=np.arange(2))
    assert problem(files="a.npz", **IMAGE) == (
        "array 'image' of a.npz: holds Python objects, which are never loaded; save numbers or texts"
    )
    np.savez("a.npz", image=images, label=np.int64(1))
    assert problem(files="a.npz", **IMAGE) == "a.npz: array 'label' is one value, expected a value per row"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_in_bounded_memory(
    job: Callable[..., JobSpec], save: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "BLOCK_BYTES", 2**20)
    images = np.arange(16_000, dtype=np.uint32).repeat(1024).reshape(16_000, 32, 32)  # 62 MiB
    save("a.npz", image=images, label=np.arange(16_000) % 2, flag=np.ones(16_000, bool))
    spec, rows = job(files="a.npz", **IMAGE), 0
    reading = Reading.of(spec.data, BadRows(), whole=False)
    tracemalloc.start()
    for block in blocks_of(found_files(spec)["train"], reading):
        assert block.first_row == rows + 1
        assert block.columns["image"].nbytes <= 2**20
        np.testing.assert_array_equal(block.columns["image"], images[rows : rows + len(block)])
        rows += len(block)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 16_000
    assert peak < 8 * 2**20


def test_npz_arrays_of_other_kinds(load: Load) -> None:
    """By columns, of big-endian numbers, without rows of their own, and gzipped as a whole."""
    table = np.asfortranarray(np.arange(12.0).reshape(4, 3))
    np.savez("a.npz", image=table, label=np.arange(4, dtype=">i4"))
    rows = load(files="a.npz", **IMAGE).columns
    np.testing.assert_array_equal(rows["image"], table)
    assert rows["label"].tolist() == [0, 1, 2, 3]
    np.savez("b.npz", image=np.zeros((4, 0)), label=np.array([True, False] * 2))
    rows = load(files="b.npz", **IMAGE).columns
    assert (rows["image"].shape, rows["label"].tolist()) == ((4, 0), [1, 0, 1, 0])
    Path("c.npz.gz").write_bytes(gzip.compress(Path("a.npz").read_bytes()))
    assert load(files="c.npz.gz", **IMAGE).columns["label"].tolist() == [0, 1, 2, 3]


def test_npz_that_is_damaged(problem: Problem) -> None:
    images = np.arange(40, dtype=np.uint8).reshape(10, 2, 2)
    np.savez("a.npz", image=images, label=np.arange(10))
    whole = Path("a.npz").read_bytes()
    Path("a.npz").write_bytes(whole.replace(images.tobytes(), images[::-1].tobytes()))
    assert problem(files="a.npz", **IMAGE) == (
        "array 'image' of a.npz: cannot be read as npz: Bad CRC-32 for file 'image.npy'"
    )
    with zipfile.ZipFile("a.npz", "w") as archive, zipfile.ZipFile(io.BytesIO(whole)) as good:
        archive.writestr("image.npy", good.read("image.npy")[:-7])
        archive.writestr("label.npy", good.read("label.npy"))
    assert problem(files="a.npz", **IMAGE) == (
        "array 'image' of a.npz: cannot be read as npz: it ends 7 bytes too early; save it again"
    )
    with zipfile.ZipFile("a.npz", "w") as archive:
        archive.writestr("image.npy", b"junk")
        archive.writestr("label.npy", b"junk")
    assert problem(files="a.npz", **IMAGE).startswith("array 'image' of a.npz: cannot be read as npz: ")
    Path("a.npz").write_bytes(b"")
    assert problem(files="a.npz", **IMAGE) == "a.npz: cannot be read as npz: No data left in file"
    np.save("a.npy", images)
    Path("a.npy").rename("a.npz")
    assert problem(files="a.npz", **IMAGE) == (
        "a.npz: cannot be read as npz: it is one array without a name, as in .npy; save it with numpy.savez"
    )


def idx(array: np.ndarray, code: int = 8) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape) + array.tobytes()


def test_idx(load: Load) -> None:
    images = np.arange(60, dtype=np.uint8).reshape(5, 3, 4)
    Path("train-images-idx3-ubyte").write_bytes(idx(images))
    Path("train-labels-idx1-ubyte").write_bytes(idx(np.arange(5, dtype=np.uint8)))
    Path("other.gz").write_bytes(gzip.compress(idx(np.arange(5, 10, dtype=">i4"), 12)))
    rows = load(files="train-images-idx3-ubyte", **IMAGE).columns
    np.testing.assert_array_equal(rows["image"], images[..., None])
    assert rows["label"].tolist() == [0, 1, 2, 3, 4]
    rows = load(files="train-images-idx3-ubyte", read={"labels": "other.gz"}, **IMAGE).columns
    assert rows["label"].tolist() == [5, 6, 7, 8, 9]


def test_idx_that_cannot_be_used(problem: Problem) -> None:
    images = np.zeros((5, 3, 4), np.uint8)
    name = "x-images-idx3-ubyte"
    Path(name).write_bytes(idx(images))
    assert problem(files=name, **IMAGE) == f"{name} has no column 'label'; it has 'image'"
    Path("x-labels-idx1-ubyte").write_bytes(idx(np.zeros(4, np.uint8)))
    assert problem(files=name, **IMAGE) == (
        f"{name} has 5 images, x-labels-idx1-ubyte has 4 labels; give the file of labels that belongs to the images "
        "as data.read.labels"
    )
    Path("x-labels-idx1-ubyte").write_bytes(idx(np.zeros(5, np.uint8)))
    assert problem(files=name, read={"labels": "nope"}, **IMAGE) == (
        f"data.read.labels=nope: no such file beside {name}; correct it"
    )
    Path(name).write_bytes(idx(images)[:-7])
    assert problem(files=name, **IMAGE) == f"{name}: cannot be read as IDX: it ends 7 bytes too early; fetch it again"
    Path(name).write_bytes(b"x,y\n1,2\n")
    assert problem(files=name, **IMAGE) == (
        f"{name}: cannot be read as IDX: it starts with bytes 782c790a, expected 0000, a type and a number of axes"
    )
    Path(name).write_bytes(idx(images) + b"more")
    assert problem(files=name, **IMAGE) == f"{name}: cannot be read as IDX: it is longer than its header says"
    Path(f"{name}.gz").write_bytes(gzip.compress(idx(images))[:-3])
    assert problem(files=f"{name}.gz", read={"labels": "x-labels-idx1-ubyte"}, **IMAGE) == (
        f"{name}.gz: cannot be read as IDX: Truncated compressed stream"
    )


def write_image(name: str, size: tuple[int, int] = (4, 6), kind: str = "PNG") -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(encoded(size, kind=kind))


def test_image_folders(load: Load) -> None:
    for name in ("d/cat/1.png", "d/cat/2.png", "d/dog/1.png"):
        write_image(name)
    Path("d/SHA256SUMS").write_text("not an image")
    rows = load(files="d", **IMAGE).columns
    assert (rows["image"].shape, rows["image"].dtype) == ((3, 6, 4, 3), np.uint8)
    assert rows["image"][0, 0, 0].tolist() == [200, 0, 0]
    assert rows["label"].tolist() == ["cat", "cat", "dog"]


@pytest.mark.parametrize(("channels", "pixel"), [(1, [60]), (3, [200, 0, 0]), (4, [200, 0, 0, 255])])
def test_images_are_resized(load: Load, channels: int, pixel: list[int]) -> None:
    write_image("d/a/1.png")
    write_image("d/a/2.jpg", (400, 300), "JPEG")
    rows = load(files="d", read={"height": 5, "width": 3, "channels": channels}, **IMAGE).columns
    assert rows["image"].shape == (2, 5, 3, channels)
    assert rows["image"][0, 0, 0].tolist() == pixel
    np.testing.assert_allclose(rows["image"][1, 0, 0].astype(int), pixel, atol=3)


def test_images_that_cannot_be_used(problem: Problem, load: Load) -> None:
    write_image("d/a/1.png")
    write_image("d/a/2.png", (5, 5))
    assert problem(files="d", **IMAGE) == (
        "d/a/2.png: is 5 x 5 pixels, the first image 4 x 6; give data.read.height and data.read.width to resize them"
    )
    write_image("d/a/2.png")
    write_image("d/b/3.jpg", (64, 64), "JPEG")
    Path("d/b/3.jpg").write_bytes(Path("d/b/3.jpg").read_bytes()[:-20])
    read = {"height": 6, "width": 4}
    assert problem(files="d", read=read, **IMAGE).startswith("d/b/3.jpg: cannot be decoded: image file is truncated")
    Path("d/b/4.png").write_bytes(b"")
    rows = load(files="d", read=read, bad_rows="skip", **IMAGE)
    assert rows.columns["label"].tolist() == ["a", "a"]
    assert rows.skipped.count == 2
    assert rows.skipped.examples[1].endswith("d/b/4.png: is not an image: the file is empty")


def test_a_json_array_after_a_mark_and_blank_lines(load: Load, problem: Problem) -> None:
    Path("a.json").write_text('\ufeff\n  \n[{"x": 1, "y": "a"},\n\n{"x": 2, "y": "b"}]\n', encoding="utf-8")
    assert load(files="a.json").columns["x"].tolist() == [1, 2]
    Path("a.json").write_text('\n[{"x": 1, "y": "a"},\n\n{"x": 2,}]\n')
    assert problem(files="a.json").startswith("a.json, line 4: is not a JSON array: ")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "its values are nested too deeply"),
        ('{"x": 1, "x": 2, "y": 1}', "it has the key 'x' twice"),
        ('{"x": ' + "1" * 5000 + "}", "Exceeds the limit (4300 digits)"),
    ],
)
def test_json_that_python_cannot_hold(problem: Problem, load: Load, text: str, reason: str) -> None:
    Path("a.jsonl").write_text(f'{{"x": 1, "y": 1}}\n\n{text}\n{{"x": 2, "y": 1}}\n')
    message = problem(files="a.jsonl")
    assert message.startswith(f"a.jsonl, row 2 (line 3): is not a JSON object: {reason}")
    assert message.endswith("; write each object on one line, or all in one array")
    rows = load(files="a.jsonl", bad_rows="skip")
    assert [rows.place(row)[1] for row in range(2)] == [1, 3]
