"""How a camera was held: the orientation that is noted in a picture, and the picture upright."""

from io import BytesIO
from typing import Any

import numpy as np
from PIL import ExifTags, Image

SIDEWAYS = frozenset({5, 6, 7, 8})
"""Orientations that swap height and width."""
HEAD_BYTES = 2**17
"""So far from the start of a JPEG a note is looked for."""


def orientation_of(image: Any) -> int:
    """1 to 8 as in EXIF (or XMP); 1, upright, where there is no note or it is damaged, and for TIFFs, which Pillow
    turns itself."""
    if image.format == "TIFF":
        return 1
    try:
        found = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # Pillow raises whatever a damaged note leads to
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def orientation_in(data: bytes) -> int:
    """Of the bytes of a JPEG."""
    head = data[:HEAD_BYTES]
    if b"Exif\0\0" not in head and b"tiff:Orientation" not in head:
        return 1
    try:
        with Image.open(BytesIO(data), formats=["JPEG"]) as image:
            return orientation_of(image)
    except Exception:  # whoever decodes the picture says what is wrong with it
        return 1


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(height, width, channels) as the picture was stored -> as it was seen."""
    turned = pixels.swapaxes(0, 1) if orientation in SIDEWAYS else pixels
    if orientation in {3, 4, 7, 8}:
        turned = turned[::-1]
    if orientation in {2, 3, 6, 7}:
        turned = turned[:, ::-1]
    return turned
