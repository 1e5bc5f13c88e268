"""Columns that hold pictures: the bytes of image files, or paths of them -> arrays of pixels."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from configs.errors import DataError, one_line
from configs.source import is_url
from orchestrator.sources.blocks import BLOCK_BYTES, Block, Reading
from orchestrator.sources.images import in_threads
from orchestrator.sources.pixels import Note, decode
from orchestrator.sources.places import File, file_system

FIRST_ROWS = 16
"""Rows that are decoded at first, when it is not known how large they are."""


def decoded(blocks: Iterable[Block], reading: Reading, files: Iterable[File]) -> Iterator[Block]:
    """Decode the columns used as arrays that hold bytes of image files, and those of kind image that hold their paths.

    A path is relative to the file that it stands in; it may be absolute, or a URL. A block becomes several, so that
    each is of bounded memory, unless all rows are held together anyway. Raises DataError naming the row of an image
    that cannot be read, unless bad rows are left out.
    """
    by_name = {file.name: file for file in files}
    for block in blocks:
        names = [name for name in block.columns if _holds_images(block.columns[name], reading, name)]
        yield from _in_parts(block, names, reading, by_name.get(block.file)) if names else [block]


def _holds_images(values: np.ndarray, reading: Reading, name: str) -> bool:
    if reading.kinds.get(name) not in {"array", "image"} or values.dtype != object:
        return False
    first = next((value for value in values if value is not None), None)
    return isinstance(first, bytes) or (isinstance(first, str) and reading.kinds[name] == "image")


def _in_parts(block: Block, names: list[str], reading: Reading, file: File | None) -> Iterator[Block]:
    start, rows = 0, len(block) if reading.whole else FIRST_ROWS
    while start < len(block):
        part = {name: values[start : start + rows] for name, values in block.columns.items()}
        found = _decode_part(Block(part, block.file, block.first_row + start), names, reading, file)
        start += rows
        if len(found):
            yield found
            size = sum(found.columns[name][0].nbytes for name in names)
            rows = max(1, BLOCK_BYTES // max(1, size))


def _decode_part(block: Block, names: list[str], reading: Reading, file: File | None) -> Block:
    columns, good = dict(block.columns), np.ones(len(block), bool)
    for name in names:
        columns[name], fine = _decode_column(name, block, reading, _opener(file))
        good &= fine
    if not good.all():
        columns = {name: values[good] for name, values in columns.items()}
    return Block(columns, block.file, block.first_row)


def _opener(file: File | None) -> Callable[[Any], bytes]:
    """Gives the bytes of a cell: as they are, or of the file that it names. Raises ValueError where there is none."""

    def content(cell: Any) -> bytes:
        if isinstance(cell, bytes):
            return cell
        if not isinstance(cell, str) or not cell.strip():
            raise ValueError("is missing; give the path of an image file")
        place = _beside(cell, file)
        try:
            return place.read()
        except (pa.ArrowException, OSError) as error:
            reason = "there is no such file" if isinstance(error, FileNotFoundError) else one_line(error)
            raise ValueError(f"{cell!r} cannot be read: {reason} ({place.name})") from error

    return content


def _beside(cell: str, file: File | None) -> File:
    """The file that a path names, seen from the file that it stands in."""
    if is_url(cell):
        system, path = file_system(cell)
        return File(cell, path, system)
    if file is None or Path(cell).is_absolute():
        there = Path(cell).expanduser()
        return File(str(there), str(there.absolute()), pa.fs.LocalFileSystem())
    folder = file.path.rpartition("/")[0]
    prefix = file.name.removesuffix(file.path)
    path = f"{folder}/{cell.removeprefix('./')}"
    return File(f"{prefix}{path}" if file.name.endswith(file.path) else path, path, file.system)


def _decode_column(
    name: str, block: Block, reading: Reading, content: Callable[[Any], bytes]
) -> tuple[np.ndarray, np.ndarray]:
    """(rows, height, width, channels) uint8, and which rows hold an image."""
    values, found = block.columns[name], dict[int, np.ndarray]()
    rows = [f"{block.file}, row {block.first_row + place}" for place in range(len(values))]

    def decode_row(place: int, note: Note) -> str:
        try:
            cell = values[place]
            # Bytes that are missing are said to be empty.
            data = b"" if cell is None and isinstance(next(filter(None, values), None), bytes) else content(cell)
            found[place] = decode(data, reading.read, note)
        except ValueError as error:
            cell = (
                f" ({values[place]!r})"
                if isinstance(values[place], str) and "cannot be read" not in str(error)
                else ""
            )
            return f"{rows[place]}: column {name!r}{cell} {error}"
        return ""

    problems = in_threads(decode_row, rows, reading)
    shape = found[min(found)].shape if found else (0, 0, 0)
    images = np.zeros((len(values), *shape), np.uint8)
    for place in sorted(found):
        pixels = found.pop(place)
        if pixels.shape != shape:
            raise DataError(
                f"{rows[place]}: column {name!r} is {pixels.shape[1]} x {pixels.shape[0]} pixels, the first image "
                f"{shape[1]} x {shape[0]}; give data.read.height and data.read.width to resize them"
            )
        images[place] = pixels
    return images, np.array([not problem for problem in problems])
