"""JPEGs, several times as fast as Pillow decodes them, where the pixels are the same."""

import math
from collections.abc import Callable

import numpy as np
import simplejpeg  # type: ignore[import-untyped]
from PIL import Image

from configs.source import ReadSpec
from orchestrator.sources.turning import SIDEWAYS, orientation_in, upright

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's names of the pixels, by the number of channels."""


def decode_jpeg(data: bytes, read: ReadSpec, turned: Callable[[], None] = lambda: None) -> np.ndarray | None:
    """(height, width, channels) uint8, the very pixels that Pillow gives; None for whatever is left to Pillow.

    turned: is called where the picture was turned upright.

    That are other files, colours that are converted, and broken JPEGs: Pillow says what is wrong with them.
    """
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if not _is_plain(height, width, colours, read):
            return None
        held = orientation_in(data) if read.exif_orientation else 1
        wanted = stored_size(read, held)
        scale = _scale(height, width, wanted)
        size = {"min_height": -(-height // scale), "min_width": -(-width // scale)} if scale > 1 else {}
        pixels = simplejpeg.decode_jpeg(data, COLOURS[read.channels], **size)
    except ValueError:
        return None
    if wanted is not None and pixels.shape[1::-1] != wanted:
        pixels = as_array(to_size(Image.fromarray(pixels[..., 0] if read.channels == 1 else pixels), wanted))
    if held != 1:
        turned()
    return np.ascontiguousarray(upright(pixels, held))


COLOURS = {1: "GRAY", 3: "RGB", 4: "RGBA"}


def _is_plain(height: int, width: int, colours: str, read: ReadSpec) -> bool:
    """Whether both libraries give the same pixels. Pillow refuses, or warns of, pictures of very many pixels."""
    if colours not in {"Gray", "YCbCr"} or height * width > (Image.MAX_IMAGE_PIXELS or math.inf):
        return False
    # Pillow works grey out from red, green and blue, unless it resizes; of tiny pictures the scale is ambiguous.
    same_grey = read.channels != 1 or colours == "Gray" or read.height is not None
    return same_grey and (read.height is None or min(height, width) >= EIGHTHS)


EIGHTHS = 8
"""libjpeg-turbo scales by eighths: from so many pixels on, each scale gives another size."""


def _scale(height: int, width: int, wanted: tuple[int, int] | None) -> int:
    """The part of its size, 1 / 1 to 1 / 8, that a JPEG is decoded at: still twice as large as it is wanted."""
    if wanted is None:
        return 1
    spare = min(height // (2 * wanted[1]), width // (2 * wanted[0]))
    return next(scale for scale in (8, 4, 2, 1) if spare >= scale or scale == 1)


def stored_size(read: ReadSpec, held: int) -> tuple[int, int] | None:
    """(width, height) to resize to before a picture is turned upright; None where it keeps its size."""
    if read.height is None or read.width is None:
        return None
    return (read.height, read.width) if held in SIDEWAYS else (read.width, read.height)


def to_size(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The image in the size, (width, height)."""
    return image.resize(size, Image.Resampling.BILINEAR)


def as_array(image: Image.Image) -> np.ndarray:
    """(height, width, channels) uint8."""
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels
