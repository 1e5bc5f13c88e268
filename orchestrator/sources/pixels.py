"""The bytes of an image file -> 8-bit pixels, upright; what is done to them on the way is noted."""

import warnings
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from configs.errors import one_line
from configs.source import ReadSpec
from orchestrator.sources.jpegs import MODES, as_array, decode_jpeg, stored_size, to_size
from orchestrator.sources.turning import orientation_of, upright

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
"""The formats that are read; Pillow knows many more, whose readers are no business of untrusted files."""
TURNED = "turned upright, as the orientation noted in them says (data.read.exif_orientation: false leaves it)"
ON_WHITE = "with transparent pixels laid on white (data.read.channels: 4 keeps the transparency)"
DEEP = "of 16 bits scaled to 8 (65535 becomes 255)"
DARK = "of 16 bits without a value above 4095; where all have 12 bits, give data.read.max_value: 4095"
SCALED = "scaled to 8 bits (data.read.max_value becomes 255)"
FIRST = "with several frames or pages, of which the first is read"
Note = Callable[[str], None]

warnings.filterwarnings("ignore", module=r"PIL\.")  # what is wrong with a file is an error of ours, or does not matter


class _Refused(ValueError):
    """What the user is told, in our own words."""


def decode(data: bytes, read: ReadSpec, note: Note = lambda text: None) -> np.ndarray:
    """(height, width, channels) uint8. note: is told what was done to the picture.

    Raises ValueError for bytes that are not an image, or one that cannot be read.
    """
    pixels = decode_jpeg(data, read, lambda: note(TURNED))
    return _decode_any(data, read, note) if pixels is None else pixels


def _decode_any(data: bytes, read: ReadSpec, note: Note) -> np.ndarray:
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            return _pixels(image, read, note)
    except UnidentifiedImageError as error:
        what = (
            f"its bytes are of none of {', '.join(FORMATS)}, or damaged at the start" if data else "the file is empty"
        )
        raise ValueError(f"is not an image: {what}") from error
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise ValueError(f"cannot be decoded: it has more than {most:,} pixels; make it smaller") from error
    except _Refused:
        raise
    except Exception as error:  # Pillow raises whatever damaged bytes lead to
        raise ValueError(f"cannot be decoded: {one_line(error)}") from error


def _pixels(image: Any, read: ReadSpec, note: Note) -> np.ndarray:
    deep = _has_16_bits(image)
    if image.format != "MPO" and getattr(image, "is_animated", False):  # the others of an MPO are previews
        note(FIRST)
        image.seek(0)
    mode, held = MODES[read.channels], orientation_of(image) if read.exif_orientation else 1
    size = stored_size(read, held)
    if size is not None:
        # A JPEG can be decoded at a half, a quarter or an eighth of its size, which saves most of the work.
        image.draft(mode, (2 * size[0], 2 * size[1]))
    plain = _opaque(_eight_bits(image, deep, read, note), read, note).convert(mode)
    if held != 1:
        note(TURNED)
    return np.ascontiguousarray(upright(as_array(plain if size is None else to_size(plain, size)), held))


def _has_16_bits(image: Any) -> bool:
    """Of an image that is not loaded yet."""
    stored = str(image.tile[0].args) if image.tile and image.format in {"PNG", "TIFF"} else ""
    return ";16" in stored or image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")


def _eight_bits(image: Any, deep: bool, read: ReadSpec, note: Note) -> Any:
    """The image with 8 bits a channel."""
    if not image.mode.startswith(("I", "F")):
        if deep and read.max_value is not None:
            raise _Refused("has 16 bits in each of several channels, of which data.read.max_value cannot be given")
        if deep:
            note(DEEP)
        return image
    values = np.asarray(image)
    if read.max_value is None and not deep:
        kind = "numbers with a fraction" if image.mode == "F" else "numbers of 32 bits"
        raise _Refused(
            f"holds {kind} from {values.min():g} to {values.max():g}; give the value that is white as "
            "data.read.max_value"
        )
    white, low, high = read.max_value or 65535, values.min(), values.max()
    if not (low >= 0 and high <= white):
        raise _Refused(f"holds values from {low:g} to {high:g}, expected 0 to {white:g}; correct data.read.max_value")
    note(SCALED if read.max_value else DARK if high < 4096 else DEEP)
    grey = Image.fromarray(np.rint(values * (255 / white)).astype(np.uint8))
    if isinstance(image.info.get("transparency"), int):
        grey.putalpha(Image.fromarray(np.where(values == image.info["transparency"], 0, 255).astype(np.uint8)))
    return grey


def _opaque(image: Any, read: ReadSpec, note: Note) -> Any:
    """The image on white, where its transparency is not kept."""
    if not image.has_transparency_data:
        return image
    coloured = image.convert("RGBA")
    if read.channels == 4 or coloured.getchannel("A").getextrema()[0] == 255:
        return coloured
    note(ON_WHITE)
    return Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured)
