"""JPEGs: the pixels are those of Pillow, whoever decodes them, and what Pillow refuses is refused."""

import io
from itertools import product
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from configs.source import ReadSpec
from orchestrator.sources.jpegs import decode_jpeg
from orchestrator.sources.pixels import decode

SIZES = [(1, 1), (5, 5), (8, 9), (33, 47), (7, 100), (300, 401)]


def jpeg(height: int, width: int, mode: str = "RGB", seed: int = 0, **how: Any) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 255, (max(2, height // 6), max(2, width // 6), 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(coarse).resize((width, height)).convert(mode).save(data, "JPEG", **how)
    return data.getvalue()


def by_pillow(data: bytes, read: ReadSpec) -> np.ndarray:
    """What a folder of images gave before anything but Pillow decoded it."""
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[read.channels]
    with Image.open(io.BytesIO(data)) as image:
        if read.height and read.width:
            image.draft(mode, (2 * read.width, 2 * read.height))
            image = image.convert(mode).resize((read.width, read.height), Image.Resampling.BILINEAR)
        return np.asarray(image.convert(mode)).reshape(*image.size[::-1], read.channels)


WAYS: list[dict[str, Any]] = [
    {"subsampling": 0},
    {"subsampling": 1, "quality": 95},
    {"subsampling": 2, "optimize": True},
    {"subsampling": "4:1:1"},
    {"progressive": True},
    {"restart_marker_blocks": 1},
    {"keep_rgb": True},
    {"mode": "L"},
    {"mode": "CMYK"},
]


@pytest.mark.parametrize("how", WAYS, ids=str)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_pixels_are_those_of_pillow(how: dict[str, Any], channels: int) -> None:
    for (height, width), wanted in product(SIZES, [None, (1, 1), (2, 3), (20, 20), (75, 100), (400, 500)]):
        sizes = {} if wanted is None else {"height": wanted[0], "width": wanted[1]}
        read = ReadSpec.model_validate({"channels": channels, **sizes})
        data = jpeg(height, width, **how)
        np.testing.assert_array_equal(decode(data, read), by_pillow(data, read), f"{height} x {width} to {wanted}")


def test_who_decodes() -> None:
    colour, grey, ink = (jpeg(40, 40, mode) for mode in ("RGB", "L", "CMYK"))
    small = {"height": 10, "width": 10}
    ours = [(colour, {}), (colour, small), (grey, {"channels": 1}), (colour, {"channels": 1, **small})]
    for data, read in ours:
        assert decode_jpeg(data, ReadSpec.model_validate(read)) is not None
    png = io.BytesIO()
    Image.new("RGB", (4, 4)).save(png, "PNG")
    for data, read in [(ink, {}), (colour, {"channels": 1}), (png.getvalue(), {}), (colour[:-9], {}), (b"", {})]:
        assert decode_jpeg(data, ReadSpec.model_validate(read)) is None


@pytest.mark.parametrize("held", [0, *range(1, 9), 9])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("size", [{}, {"height": 20, "width": 10}])
def test_the_orientation_that_a_camera_notes_is_applied(held: int, kind: str, size: dict[str, int]) -> None:
    note = Image.Exif()
    note[274] = held
    stored = Image.open(io.BytesIO(jpeg(20, 30)))
    data = io.BytesIO()
    stored.save(data, kind, exif=note, **({"lossless": True} if kind == "WEBP" else {}))
    with Image.open(io.BytesIO(data.getvalue())) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    found = decode(data.getvalue(), ReadSpec.model_validate(size))
    if size:
        assert found.shape == (20, 10, 3)
        expected = np.asarray(Image.fromarray(expected).resize((10, 20), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(found.astype(int), expected, atol=2)  # it is resized before it is turned
        return
    np.testing.assert_array_equal(found, expected)
    as_stored = decode(data.getvalue(), ReadSpec(exif_orientation=False))
    assert kind == "TIFF" or as_stored.shape == (20, 30, 3)


def test_a_damaged_note_is_ignored() -> None:
    good = jpeg(20, 30, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12")
    np.testing.assert_array_equal(decode(good, ReadSpec()), decode(jpeg(20, 30), ReadSpec()))


@pytest.mark.parametrize("how", [{}, {"progressive": True}, {"restart_marker_blocks": 3}, {"mode": "L"}], ids=str)
def test_a_jpeg_cut_off_anywhere_is_found(how: dict[str, Any]) -> None:
    data = jpeg(32, 32, **how)
    for end in range(3, len(data)):
        with pytest.raises(ValueError, match="cannot be decoded: |is not an image: "):
            decode(data[:end], ReadSpec())


def test_damaged_bytes_give_what_pillow_gives() -> None:
    good = jpeg(24, 24)
    draw = np.random.default_rng(0)
    refused = 0
    for _ in range(500):
        data = bytearray(good)
        for place in draw.integers(3, len(good), draw.integers(1, 4)):
            data[place] = draw.integers(256)
        try:
            expected = by_pillow(bytes(data), ReadSpec())
        except (OSError, SyntaxError):
            refused += 1
            with pytest.raises(ValueError, match="cannot be decoded: |is not an image: "):
                decode(bytes(data), ReadSpec())
        else:
            np.testing.assert_array_equal(decode(bytes(data), ReadSpec()), expected)
    assert 20 < refused < 400


def test_a_picture_of_too_many_pixels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"cannot be decoded: it has more than 200 pixels; make it smaller"):
        decode(jpeg(20, 20), ReadSpec())
