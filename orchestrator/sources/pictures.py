"""Columns that hold pictures: the bytes of image files, or paths of them -> arrays of pixels."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from configs.data import DataSpec
from configs.errors import DataError, one_line
from configs.secrets import masked
from configs.source import is_url
from orchestrator.sources import csv_files, json_lines, parquet_files
from orchestrator.sources.blocks import BLOCK_BYTES, BadRows, Block, Reading
from orchestrator.sources.images import in_threads
from orchestrator.sources.pixels import Note, decode
from orchestrator.sources.places import COMPRESSIONS, File, Found, file_system

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


def pixel_bytes(data: DataSpec, found: Found) -> int:
    """About how many bytes of pixels the columns of paths in files stand for; 0 where there are none.

    The number of rows is worked out from the length of the first ones.
    """
    names = [name for name, feature in data.features.items() if feature.kind == "image"]
    if not names or found.format not in {"csv", "json", "parquet"}:
        return 0
    file = max(found.files, key=lambda file: file.size)
    reading = Reading(data.read, wanted=tuple(names), bad=BadRows(skip=True))
    first = next(iter(READERS[found.format]([file], reading)), None)
    if first is None or not any(isinstance(first.columns[name][0], str) for name in names):
        return 0
    return _rows(found, file, len(first)) * sum(_row_bytes(first, name, data, file) for name in names)


def _rows(found: Found, file: File, rows: int) -> int:
    """Of all files, where the first block of one has so many."""
    if found.format == "parquet":
        return sum(map(parquet_files.row_count, found.files))
    growth = 4 if file.base.lower().endswith(COMPRESSIONS) else 1
    return max(rows, rows * growth * sum(file.size for file in found.files) // max(1, min(file.size, BLOCK_BYTES)))


def _row_bytes(block: Block, name: str, data: DataSpec, file: File) -> int:
    """Of the first picture that can be read."""
    if data.read.height and data.read.width:
        return data.read.height * data.read.width * data.read.channels
    content = _opener(file)
    for cell in block.columns[name][:FIRST_ROWS]:
        with suppress(ValueError):
            return decode(content(cell), data.read).nbytes
    return 0


READERS = {"csv": csv_files.blocks, "json": json_lines.blocks, "parquet": parquet_files.blocks}


def _in_parts(block: Block, names: list[str], reading: Reading, file: File | None) -> Iterator[Block]:
    start, rows = 0, len(block) if reading.whole else FIRST_ROWS
    while start < len(block):
        part = {name: values[start : start + rows] for name, values in block.columns.items()}
        numbers = np.asarray(block.rows[start : start + rows])
        found, good = _decode_part(Block.numbered(part, block.file, numbers), names, reading, file)
        for first, end in _runs(good):  # apart, so that the rows keep their numbers
            columns = {name: values[first:end] for name, values in found.items()}
            yield Block.numbered(columns, block.file, numbers[first:end])
        start += rows
        if good.any():
            size = sum(found[name][:1].nbytes for name in names)
            rows = max(1, BLOCK_BYTES // max(1, size))


def _runs(good: np.ndarray) -> list[list[int]]:
    """[first, end] of each run of True."""
    edges = np.diff(np.concatenate([[False], good, [False]]).astype(np.int8))
    return np.flatnonzero(edges).reshape(-1, 2).tolist()


def _decode_part(
    block: Block, names: list[str], reading: Reading, file: File | None
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The columns, and which rows hold an image in each of them."""
    columns, good = dict(block.columns), np.ones(len(block), bool)
    for name in names:
        columns[name], fine = _decode_column(name, block, reading, _opener(file))
        good &= fine
    return columns, good


def _opener(file: File | None) -> Callable[[Any], bytes]:
    """Gives the bytes of a cell: as they are, or of the file that it names. Raises ValueError where there is none."""

    def content(cell: Any) -> bytes:
        if isinstance(cell, bytes):
            return cell
        if not isinstance(cell, str) or not cell.strip():
            raise ValueError("is missing; give the path of an image file")
        places = _places(cell, file)
        for place in places:
            try:
                return place.read()
            except FileNotFoundError:
                continue
            except (pa.ArrowException, OSError) as error:
                raise ValueError(f"cannot be read: {masked(one_line(error))}") from error
        raise ValueError(f"cannot be read: there is no file {' or '.join(place.name for place in places)}")

    return content


def _places(cell: str, file: File | None) -> list[File]:
    """Where the file that a path names may be: seen from the file that it stands in, then from the job's place."""
    if is_url(cell):
        return [_at_url(cell)]
    if file is None or Path(cell).expanduser().is_absolute():
        path = str(Path(cell).expanduser().absolute())
        return [File(path, path, pa.fs.LocalFileSystem())]
    prefix = file.name.removesuffix(file.path) if file.name.endswith(file.path) else ""
    folders = [file.path.rpartition("/")[0], file.path.removesuffix(file.below).rstrip("/")]
    paths = [f"{folder}/{cell.removeprefix('./')}" for folder in dict.fromkeys(folders)]
    return [File(prefix + path, path, file.system) for path in paths]


def _at_url(url: str) -> File:
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    if any(mark in url for mark in "%?"):
        system, path = file_system(url)
        return File(masked(url), path, system)
    system, root = _system(f"{scheme}://{host}/")
    return File(masked(url), f"{root.rstrip('/')}/{path}", system)


@lru_cache(64)
def _system(root: str) -> tuple[Any, str]:
    """Connecting takes longer than reading a picture."""
    return file_system(root)


def _decode_column(
    name: str, block: Block, reading: Reading, content: Callable[[Any], bytes]
) -> tuple[np.ndarray, np.ndarray]:
    """(rows, height, width, channels) uint8, and which rows hold an image."""
    values, found = block.columns[name], dict[int, np.ndarray]()
    holds_bytes = any(isinstance(value, bytes) for value in values)
    rows = [f"{block.file}, row {row}" for row in block.rows]

    def decode_row(place: int, note: Note) -> str:
        cell = values[place]
        try:
            # Bytes that are missing are said to be empty.
            found[place] = decode(b"" if cell is None and holds_bytes else content(cell), reading.read, note)
        except ValueError as error:
            shown = f" ({masked(cell)!r})" if isinstance(cell, str) else ""
            return f"{rows[place]}: column {name!r}{shown} {error}"
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
