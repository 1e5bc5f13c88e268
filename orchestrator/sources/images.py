"""Folders of images -> the columns `image` and `label`, the name of the folder that an image lies in."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import chain

import numpy as np
import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from configs.errors import DataError, one_line
from configs.source import ReadSpec
from orchestrator.sources.blocks import BLOCK_BYTES, Block, Reading
from orchestrator.sources.places import File

COLUMNS = ("image", "label")
PER_TASK = 32
"""Images that a thread decodes in a row: small ones take less time than handing one over."""
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
            tasks = [some[place : place + PER_TASK] for place in range(0, len(some), PER_TASK)]
            done = threads.map(lambda task: [_decode_file(file, reading.read, size) for file in task], tasks)
            decoded = list(chain.from_iterable(done))
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
        return f"{file.name}: cannot be read: {one_line(error)}"
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
    except UnidentifiedImageError as error:
        raise ValueError(
            f"is no image: {'the file is empty' if not data else 'its bytes are of no known kind'}"
        ) from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot be decoded: {one_line(error)}") from error


def without_bad_images(block: Block, reading: Reading) -> Block:
    """Decode the columns that hold the bytes of image files and are used as arrays.

    Raises DataError naming the row of an image that cannot be decoded, unless bad rows are left out.
    """
    columns, good = dict(block.columns), np.ones(len(block), bool)
    for name, values in block.columns.items():
        if reading.kinds.get(name) != "array" or not (len(values) and isinstance(values[0], bytes)):
            continue
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            decoded = list(threads.map(lambda data: _attempt(data, reading.read), values))
        for place, pixels in enumerate(decoded):
            if isinstance(pixels, str):
                reading.bad.add(f"{block.file}, row {block.first_row + place}: column {name!r} {pixels}")
                good[place] = False
        shape = next((pixels.shape for pixels in decoded if not isinstance(pixels, str)), (0, 0, 0))
        for place, pixels in enumerate(decoded):
            if not isinstance(pixels, str) and pixels.shape != shape:
                raise DataError(
                    f"{block.file}, row {block.first_row + place}: column {name!r} is {pixels.shape[1]} x "
                    f"{pixels.shape[0]} pixels, the first image {shape[1]} x {shape[0]}; give data.read.height and "
                    "data.read.width to resize them"
                )
        blank = np.zeros(shape, np.uint8)
        columns[name] = np.stack([blank if isinstance(pixels, str) else pixels for pixels in decoded])
    if not good.all():
        columns = {name: values[good] for name, values in columns.items()}
    return Block(columns, block.file, block.first_row)


def _attempt(data: bytes | None, read: ReadSpec) -> np.ndarray | str:
    try:
        return decode(data or b"", read)
    except ValueError as error:
        return str(error)


def _pixels(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels
