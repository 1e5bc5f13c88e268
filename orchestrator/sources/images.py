"""Folders of images -> the columns `image` and `label`, the name of the folder that an image lies in."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from configs.errors import DataError, one_line
from configs.source import ReadSpec
from orchestrator.sources.blocks import BLOCK_BYTES, Block, Reading
from orchestrator.sources.jpegs import MODES, as_array, decode_jpeg, to_size
from orchestrator.sources.places import File

COLUMNS = ("image", "label")
PER_TASK = 64
"""Images that a thread decodes in a row: small ones take less time than handing one over."""


def blocks(files: Sequence[File], reading: Reading) -> Iterator[Block]:
    """Give images as (rows, height, width, channels) uint8, decoded and resized.

    Raises DataError naming the file that is no image, or that has another size than the first where none is given.
    """
    names, read = reading.choose(COLUMNS, files[0].name), reading.read
    if "image" not in names:  # to count rows, none need be decoded
        yield Block({"label": np.array([file.folder for file in files], object)}, files[0].name, 1)
        return
    size = reading.image_size or image_size(files[0], read)
    shape = (*size, read.channels)
    step = len(files) if reading.whole else max(1, BLOCK_BYTES // math.prod(shape))
    for start in range(0, len(files), step):
        columns = _decode_files(files[start : start + step], shape, reading)
        if len(columns["label"]):
            yield Block({name: columns[name] for name in names}, files[start].name, start + 1)


def _decode_files(files: Sequence[File], shape: tuple[int, int, int], reading: Reading) -> dict[str, np.ndarray]:
    images = np.empty((len(files), *shape), np.uint8)
    problems = _in_threads(lambda place: _decode_file(files[place], reading.read, images[place]), len(files), reading)
    columns = {"image": images, "label": np.array([file.folder for file in files], object)}
    good = np.array([not problem for problem in problems])
    return columns if good.all() else {name: values[good] for name, values in columns.items()}


def _in_threads(work: Callable[[int], str], count: int, reading: Reading) -> list[str]:
    """What `work` says is wrong with each of so many images. Raises DataError unless bad rows are left out."""
    problems: list[str] = []
    tasks = [range(start, min(start + PER_TASK, count)) for start in range(0, count, PER_TASK)]
    # Decoding and resizing happen outside the interpreter's lock.
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        try:
            for some in threads.map(lambda places: [work(place) for place in places], tasks):
                problems += some
                for problem in filter(None, some):
                    reading.bad.add(problem)
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
    return problems


def image_size(file: File, read: ReadSpec) -> tuple[int, int]:
    """(height, width) that images are resized to, or else that of a file. Raises DataError."""
    if read.height and read.width:
        return read.height, read.width
    pixels = _pixels_of(file, read)
    if isinstance(pixels, str):
        raise DataError(pixels)
    return pixels.shape[0], pixels.shape[1]


def _decode_file(file: File, read: ReadSpec, image: np.ndarray) -> str:
    """Fill in the pixels, or say what is wrong."""
    pixels = _pixels_of(file, read)
    if isinstance(pixels, str):
        return pixels
    if pixels.shape != image.shape:
        return (
            f"{file.name}: is {pixels.shape[1]} x {pixels.shape[0]} pixels, the first image {image.shape[1]} x "
            f"{image.shape[0]}; give data.read.height and data.read.width to resize them"
        )
    image[:] = pixels
    return ""


def _pixels_of(file: File, read: ReadSpec) -> np.ndarray | str:
    """The pixels, or what is wrong."""
    try:
        return decode(file.read(), read)
    except (pa.ArrowException, OSError) as error:
        return f"{file.name}: cannot be read: {one_line(error)}"
    except ValueError as error:
        return f"{file.name}: {error}"


def decode(data: bytes, read: ReadSpec) -> np.ndarray:
    """The bytes of an image file -> (height, width, channels) uint8. Raises ValueError for bytes that are no image."""
    pixels = decode_jpeg(data, read)
    return _decode_any(data, read) if pixels is None else pixels


def _decode_any(data: bytes, read: ReadSpec) -> np.ndarray:
    mode = MODES[read.channels]
    try:
        with Image.open(BytesIO(data)) as image:
            if read.height is None or read.width is None:
                return as_array(image.convert(mode))
            # A JPEG can be decoded at a half, a quarter or an eighth of its size, which saves most of the work.
            image.draft(mode, (2 * read.width, 2 * read.height))
            return as_array(to_size(image.convert(mode), read))
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
        if reading.kinds.get(name) == "array" and len(values) and isinstance(values[0], bytes):
            columns[name], fine = _decode_column(name, block, reading)
            good &= fine
    if not good.all():
        columns = {name: values[good] for name, values in columns.items()}
    return Block(columns, block.file, block.first_row)


def _decode_column(name: str, block: Block, reading: Reading) -> tuple[np.ndarray, np.ndarray]:
    """(rows, height, width, channels) uint8, and which rows hold an image."""
    values, decoded = block.columns[name], {}

    def decode_row(place: int) -> str:
        try:
            decoded[place] = decode(values[place] or b"", reading.read)
        except ValueError as error:
            return f"{block.file}, row {block.first_row + place}: column {name!r} {error}"
        return ""

    problems = _in_threads(decode_row, len(values), reading)
    shape = decoded[min(decoded)].shape if decoded else (0, 0, 0)
    images = np.zeros((len(values), *shape), np.uint8)
    for place in sorted(decoded):
        pixels = decoded.pop(place)
        if pixels.shape != shape:
            raise DataError(
                f"{block.file}, row {block.first_row + place}: column {name!r} is {pixels.shape[1]} x "
                f"{pixels.shape[0]} pixels, the first image {shape[1]} x {shape[0]}; give data.read.height and "
                "data.read.width to resize them"
            )
        images[place] = pixels
    return images, np.array([not problem for problem in problems])
