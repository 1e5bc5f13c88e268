"""Folders of images -> the columns `image` and `label`, the name of the folder that an image lies in."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pyarrow as pa
from PIL import Image

from configs.errors import DataError
from configs.source import ReadSpec
from orchestrator.sources.blocks import BLOCK_BYTES, Block, Reading
from orchestrator.sources.places import File

COLUMNS = ("image", "label")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def blocks(files: Sequence[File], reading: Reading) -> Iterator[Block]:
    """Give images as (rows, height, width, channels) uint8, decoded and resized.

    Raises DataError naming the file that is no image, or that has another size than the first where none is given.
    """
    names = reading.choose(COLUMNS, files[0].name)
    size = _size(files[0], reading.read) if reading.read.height is None else None
    height, width = size or (reading.read.height, reading.read.width)
    step = max(1, BLOCK_BYTES // (int(height or 1) * int(width or 1) * reading.read.channels))
    # Pillow decodes and resizes outside the interpreter's lock.
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, len(files), step):
            some = files[start : start + step]
            decoded = list(threads.map(lambda file: _decode_file(file, reading.read, size), some))
            yield from _block(some, decoded, names, reading, start + 1)


def _block(
    files: Sequence[File], decoded: list[np.ndarray | str], names: list[str], reading: Reading, first: int
) -> Iterator[Block]:
    images, labels = [], []
    for file, image in zip(files, decoded, strict=True):
        if isinstance(image, str):
            reading.bad.add(image)
            continue
        images.append(image)
        labels.append(file.folder)
    if images:
        columns = {"image": np.stack(images), "label": np.array(labels, object)}
        yield Block({name: columns[name] for name in names}, files[0].name, first)


def _size(file: File, read: ReadSpec) -> tuple[int, int]:
    image = _decode_file(file, read, None)
    if isinstance(image, str):
        raise DataError(image)
    return image.shape[0], image.shape[1]


def _decode_file(file: File, read: ReadSpec, size: tuple[int, int] | None) -> np.ndarray | str:
    """The pixels, or what is wrong."""
    try:
        pixels = decode(file.read(), read)
    except (pa.ArrowException, OSError) as error:
        return f"{file.name}: cannot be read: {' '.join(str(error).split())}"
    except ValueError as error:
        return f"{file.name}: {error}"
    if size is not None and pixels.shape[:2] != size:
        return (
            f"{file.name}: is {pixels.shape[1]} x {pixels.shape[0]} pixels, the first image {size[1]} x {size[0]}; "
            "give data.read.height and data.read.width to resize them"
        )
    return pixels


def decode(data: bytes, read: ReadSpec) -> np.ndarray:
    """The bytes of an image file -> (height, width, channels) uint8. Raises ValueError for bytes that are no image."""
    mode = MODES[read.channels]
    try:
        with Image.open(BytesIO(data)) as image:
            if read.height is None or read.width is None:
                return _pixels(image.convert(mode))
            # A JPEG can be decoded at a half, a quarter or an eighth of its size, which saves most of the work.
            image.draft(mode, (2 * read.width, 2 * read.height))
            resized = image.convert(mode).resize((read.width, read.height), Image.Resampling.BILINEAR)
            return _pixels(resized)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "the file is empty" if not data else " ".join(str(error).split())
        raise ValueError(f"is no image that can be decoded: {reason}") from error


def _pixels(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels
