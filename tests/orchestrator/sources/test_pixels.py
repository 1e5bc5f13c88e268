"""Pixels keep their contrast whatever the file holds, and what is done to them is noted."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from configs.source import ReadSpec
from orchestrator.sources.pixels import DARK, DEEP, FIRST, ON_WHITE, SCALED, decode

RAMP = np.linspace(0, 65535, 32).astype(np.uint16)[None].repeat(4, 0)


def encoded(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **how)
    return data.getvalue()


def noted(data: bytes, **read: Any) -> tuple[np.ndarray, list[str]]:
    notes: list[str] = []
    return decode(data, ReadSpec.model_validate(read), notes.append), notes


def deep_png(values: np.ndarray, colour: int) -> bytes:
    """A PNG of 16 bits a channel, which Pillow does not write in colour."""
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=20))
def test_grey_of_16_bits_is_scaled_by_1_257(values: list[int]) -> None:
    row = np.array([values], np.uint16)
    for kind in ("PNG", "TIFF", "PPM"):
        found, notes = noted(encoded(Image.fromarray(row), kind), channels=1)
        assert np.abs(found[0, :, 0] - row[0] / 257).max() <= 0.5
        assert notes == [DARK if max(values) < 4096 else DEEP]


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_colour_of_16_bits(colour: int, channels: int) -> None:
    values = np.stack([RAMP] * channels, -1)
    if channels != 3:
        values[..., -1] = 65535
    found, notes = noted(deep_png(values, colour))
    assert np.abs(found[..., 0] - RAMP / 257).max() <= 1
    assert notes == [DEEP]


def test_the_value_that_is_white() -> None:
    dark = encoded(Image.fromarray(RAMP // 16), "TIFF")
    found, notes = noted(dark, max_value=4095)
    assert (found.max(), notes) == (255, [SCALED])
    found, _ = noted(encoded(Image.fromarray((RAMP / 65535).astype(np.float32)), "TIFF"), max_value=1)
    assert np.abs(found[..., 0] - RAMP / 257).max() <= 0.6
    with pytest.raises(
        ValueError, match=r"^holds values from 0 to 65535, expected 0 to 4095; correct data\.read\.max"
    ):
        noted(encoded(Image.fromarray(RAMP)), max_value=4095)
    with pytest.raises(
        ValueError, match=r"^holds numbers with a fraction from 0 to 9; give the value that is white as"
    ):
        noted(encoded(Image.fromarray(np.linspace(0, 9, 8, dtype=np.float32)[None]), "TIFF"))


def test_one_bit() -> None:
    found, notes = noted(encoded(Image.fromarray(np.array([[True, False]]))), channels=1)
    assert (found[0, :, 0].tolist(), notes) == ([255, 0], [])


CLEAR = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
CLEAR.putpixel((1, 0), (10, 20, 30, 255))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA"])
def test_transparency_is_laid_on_white(mode: str) -> None:
    if mode in {"P", "PA"}:
        data = encoded(CLEAR.quantize(), "PNG")
    else:
        data = encoded(CLEAR.convert(mode), "PNG")
    found, notes = noted(data)
    assert found[0, 0].tolist() == [255, 255, 255]
    assert (found[0, 1].max() < 40, notes) == (True, [ON_WHITE])
    found, notes = noted(data, channels=4)
    assert (found[0, :, 3].tolist(), notes) == ([0, 255], [])


def test_a_channel_that_is_opaque_is_not_noted() -> None:
    assert noted(encoded(Image.new("RGBA", (2, 2), (1, 2, 3, 255))))[1] == []


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_of_several_frames_the_first_is_read(kind: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("white", "black")]
    found, notes = noted(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert (found.min() > 250, notes) == (True, [FIRST])


def test_a_format_that_is_not_named_is_not_opened() -> None:
    with pytest.raises(ValueError, match=r"^is not an image: its bytes are of none of JPEG, PNG"):
        noted(encoded(Image.new("RGB", (4, 4)), "TGA"))
    with pytest.raises(ValueError, match=r"^is not an image: its bytes are of none of JPEG, PNG"):
        noted(b"not a picture at all")
