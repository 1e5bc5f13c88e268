"""TFRecord files as TensorFlow writes them, and as nothing writes them."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.sources import Loaded
from orchestrator.sources.crc32c import crc32c, crc32c_of_few

Load = Callable[..., Loaded]
Problem = Callable[..., str]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        # The examples of RFC 3720, appendix B.4, and the usual check value.
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_checksums_that_others_publish(data: bytes, expected: int) -> None:
    assert crc32c([data]).tolist() == [expected]
    assert crc32c_of_few(data) == expected


def plain_crc32c(data: bytes) -> int:
    checksum = 0xFFFFFFFF
    for byte in data:
        checksum ^= byte
        for _ in range(8):
            checksum = (checksum >> 1) ^ (0x82F63B78 if checksum & 1 else 0)
    return checksum ^ 0xFFFFFFFF


@settings(deadline=None)  # the first call makes the tables
@given(st.lists(st.binary(max_size=300), max_size=6))
def test_checksums_of_many_strings_are_those_of_each(strings: list[bytes]) -> None:
    assert crc32c(strings).tolist() == [plain_crc32c(string) for string in strings]


@pytest.fixture(scope="module")
def tf() -> Any:
    return pytest.importorskip("tensorflow")


def feature(tf: Any, value: Any) -> Any:
    values = value if isinstance(value, list) else [value]
    if isinstance(values[0], bytes | str):
        data = [one.encode() if isinstance(one, str) else one for one in values]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=data))
    if isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def write(tf: Any, name: str, rows: list[dict[str, Any]], compression: str | None = None) -> None:
    with tf.io.TFRecordWriter(name, compression) as writer:
        for row in rows:
            features = tf.train.Features(feature={key: feature(tf, value) for key, value in row.items()})
            writer.write(tf.train.Example(features=features).SerializeToString())


@pytest.mark.parametrize("compression", [None, "GZIP"])
def test_what_tensorflow_writes(tf: Any, load: Load, compression: str | None) -> None:
    rows = [
        {"x": number / 4, "n": -number, "c": f"é{number}", "v": [1.0, 2.0, float(number)], "y": "ab"[number % 2]}
        for number in range(500)
    ]
    rows[7].pop("c")
    rows[8].pop("x")
    name = "a.tfrecord.gz" if compression else "a.tfrecord-00000-of-00001"
    write(tf, name, rows, compression)
    features = {"x": "number", "n": "number", "c": "category", "v": "tensor"}
    read = load(files=name, features=features).columns
    assert read["n"].tolist() == [-number for number in range(500)]
    assert read["c"].tolist() == [row.get("c") for row in rows]
    assert read["y"].tolist() == [row["y"] for row in rows]
    np.testing.assert_array_equal(read["x"], [row.get("x", np.nan) for row in rows])
    np.testing.assert_array_equal(read["v"], [row["v"] for row in rows])


def test_pictures_in_examples(tf: Any, load: Load, problem: Problem) -> None:
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    picture = tf.io.encode_png(pixels).numpy()
    write(tf, "a.tfrecord", [{"image": picture, "label": 3}, {"image": picture[:-20], "label": 4}])
    job: dict[str, Any] = {"features": {"image": "image"}, "target": {"column": "label"}}
    assert problem(files="a.tfrecord", **job).startswith("a.tfrecord, row 2: column 'image' cannot be decoded: ")
    read = load(files="a.tfrecord", bad_rows="skip", **job).columns
    np.testing.assert_array_equal(read["image"], [pixels])


def test_files_that_are_damaged(tf: Any, load: Load, problem: Problem) -> None:
    write(tf, "a.tfrecord", [{"x": float(number), "y": "a"} for number in range(3)])
    whole = Path("a.tfrecord").read_bytes()
    size = len(whole) // 3

    def becomes(content: bytes, name: str = "a.tfrecord") -> str:
        Path(name).write_bytes(content)
        return problem(files=name)

    assert becomes(whole[:-5]) == "a.tfrecord, record 3: is cut off; fetch or write the file again"
    assert becomes(whole[: size + 4]) == "a.tfrecord, record 2: is cut off; fetch or write the file again"
    length = (
        "a.tfrecord, record 1: its length does not have its checksum; the file is damaged, compressed without a "
        "suffix such as .gz, or no TFRecord file"
    )
    assert becomes(b"\xff" + whole[1:]) == length
    assert becomes(gzip.compress(whole)) == length
    assert becomes(b"") == "data.files has no rows; a job needs at least a few to train on"
    truncated = "b.tfrecord.gz: cannot be read as TFRecord: Truncated compressed stream"
    assert becomes(gzip.compress(whole)[:-9], "b.tfrecord.gz") == truncated
    flipped = bytearray(whole)
    flipped[size + 20] ^= 1
    assert becomes(bytes(flipped)) == "a.tfrecord, record 2: does not have its checksum; the file is damaged"
    rows = load(files="a.tfrecord", bad_rows="skip")
    assert (rows.columns["x"].tolist(), rows.skipped.count) == ([0, 2], 1)


def test_an_empty_file_among_others(tf: Any, load: Load, problem: Problem) -> None:
    write(tf, "a.tfrecord", [{"x": 1.0, "y": "a"}])
    Path("b.tfrecord").write_bytes(b"")
    assert problem(files="*.tfrecord") == "b.tfrecord: the file is empty"
    assert load(files="*.tfrecord", bad_rows="skip").parts == {"train": 1}


def test_records_that_are_no_examples(tf: Any, problem: Problem) -> None:
    with tf.io.TFRecordWriter("a.tfrecord") as writer:
        writer.write(b"\xff\xff not an example")
    assert problem(files="a.tfrecord").startswith("a.tfrecord, record 1: is no tf.train.Example: ")
    write(tf, "a.tfrecord", [{"x": 1.0, "z": 1}])
    assert problem(files="a.tfrecord") == "a.tfrecord has no column 'y'; it has 'x', 'z'"
    write(tf, "a.tfrecord", [{"x": 1.0, "y": b"\xff"}])
    assert problem(files="a.tfrecord") == (
        "a.tfrecord, record 1: feature 'y' is not UTF-8 text; use it as kind image, or leave it out"
    )
