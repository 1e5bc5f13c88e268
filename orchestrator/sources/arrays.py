"""NumPy arrays in files: MNIST's IDX, and `.npz` -> columns."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from configs.errors import DataError, one_line
from orchestrator.sources.blocks import BLOCK_BYTES, Block, Reading
from orchestrator.sources.places import File

IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def idx_blocks(files: Sequence[File], reading: Reading) -> Iterator[Block]:
    """Give the rows of IDX files: `image` and, where there is a file of labels, `label`.

    image: (rows, height, width, 1), or the file's own axes where they are not those of grey images.
    Raises DataError where a file is cut off, or images and labels differ in number.
    """
    for file in files:
        labels = _labels_of(file, reading.read.labels)
        with _Idx(file) as images:
            if labels is None:
                yield from _idx_rows({"label" if len(images.shape) == 1 else "image": images}, file, reading)
                continue
            with _Idx(labels) as answers:
                if images.shape[0] != answers.shape[0]:
                    raise DataError(
                        f"{file.name} has {images.shape[0]} images, {labels.name} has {answers.shape[0]} labels; "
                        "give the file of labels that belongs to the images as data.read.labels"
                    )
                yield from _idx_rows({"image": images, "label": answers}, file, reading)


def _idx_rows(parts: "dict[str, _Idx]", file: File, reading: Reading) -> Iterator[Block]:
    names = reading.choose(parts, file.name)
    rows = next(iter(parts.values())).shape[0]
    step = max(1, min(BLOCK_BYTES // max(part.row_bytes, 1) for part in parts.values()))
    for start in range(0, rows, step):
        count = min(step, rows - start)
        yield Block({name: parts[name].take(count) for name in names}, file.name, start + 1)
    for name in names:
        parts[name].require_end()


def npz_blocks(files: Sequence[File], reading: Reading) -> Iterator[Block]:
    """Give the rows of `.npz` files, a column per array. Raises DataError where arrays differ in length."""
    for file in files:
        columns = _npz(file, reading)
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"{file.name}: its arrays differ in length: {lengths}; every row needs a value of each")
        rows = next(iter(lengths.values()), 0)
        row_bytes = sum(column.nbytes for column in columns.values()) // max(rows, 1)
        step = max(1, rows if reading.whole else BLOCK_BYTES // max(row_bytes, 1))
        for start in range(0, rows, step):
            part = {name: column[start : start + step] for name, column in columns.items()}
            yield Block(part, file.name, start + 1)


def _npz(file: File, reading: Reading) -> dict[str, np.ndarray]:
    name = ""
    try:
        with np.load(io.BytesIO(file.read()), allow_pickle=False) as arrays:
            columns = {}
            for name in reading.choose(arrays.files, file.name):
                columns[name] = _plain(arrays[name])
                if columns[name].ndim == 0:
                    raise DataError(f"{file.name}: array {name!r} is one value, expected a value per row")
            return columns
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, pa.ArrowException) as error:
        where = f"array {name!r} of {file.name}" if name else file.name
        if "allow_pickle" in str(error):
            raise DataError(f"{where}: holds Python objects, which are never loaded; save numbers or texts") from error
        raise DataError(f"{where}: cannot be read as npz: {one_line(error)}") from error


def _plain(array: np.ndarray) -> np.ndarray:
    """Texts as objects, booleans as integers; numbers as they are."""
    if array.dtype.kind == "U":
        return array.astype(object)
    return array.astype(np.int64) if array.dtype.kind == "b" else array


class _Idx:
    """An open IDX file: the shape from its header, then rows in order."""

    def __init__(self, file: File) -> None:
        self._file = file
        try:
            self._stream: Any = file.stream()
        except (pa.ArrowException, OSError) as error:
            raise self._broken(str(error)) from error

    def __enter__(self) -> "_Idx":
        head = self._read(4)
        if head[:2] != b"\0\0" or head[2] not in IDX_TYPES:
            raise self._broken(f"it starts with bytes {head.hex()}, expected 0000, a type and a number of axes")
        self._type = np.dtype(IDX_TYPES[head[2]])
        self.shape: tuple[int, ...] = struct.unpack(f">{head[3]}I", self._read(4 * head[3]))
        if not self.shape:
            raise self._broken("it has no axis")
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    @property
    def row_bytes(self) -> int:
        return int(np.prod(self.shape[1:])) * self._type.itemsize

    def take(self, rows: int) -> np.ndarray:
        """The next rows, in the machine's byte order."""
        data = self._read(rows * self.row_bytes)
        array = np.frombuffer(data, self._type).reshape(rows, *self.shape[1:])
        if array.ndim == 1:
            return array.astype(np.int64 if array.dtype.kind in "iu" else np.float64)
        array = array.astype(self._type.newbyteorder("="), copy=False)
        return array[..., None] if array.ndim == 3 else array

    def require_end(self) -> None:
        """Raise DataError where bytes follow; also makes a decompressor check the last of them."""
        if self._read(1, whole=False):
            raise self._broken("it is longer than its header says")

    def _read(self, size: int, *, whole: bool = True) -> bytes:
        try:
            data = bytes(self._stream.read(size))
        except (pa.ArrowException, OSError) as error:
            raise self._broken(str(error)) from error
        if whole and len(data) < size:
            raise self._broken(f"it ends {size - len(data)} bytes too early; fetch it again")
        return data

    def _broken(self, why: str) -> DataError:
        return DataError(f"{self._file.name}: cannot be read as IDX: {why}")


def _labels_of(file: File, labels: Any) -> File | None:
    """The file of labels of a file of images: what the job says, or the one that is called alike."""
    if labels is None:
        base = file.base.replace("images-idx3", "labels-idx1").replace("images.idx3", "labels.idx1")
        found = _beside(file, base)
        return found if base != file.base and _is_there(found) else None
    given = labels if isinstance(labels, str) else labels.get(file.base)
    if given is None:
        raise DataError(f"data.read.labels names no file of labels for {file.base}; it has {', '.join(labels)}")
    found = _beside(file, given)
    if not _is_there(found):
        raise DataError(f"data.read.labels={given}: no such file beside {file.name}; correct it")
    return found


def _beside(file: File, name: str) -> File:
    return File(file.name[: -len(file.base)] + name, file.path[: -len(file.base)] + name, file.system)


def _is_there(file: File) -> bool:
    return bool(file.system.get_file_info(file.path).type == pa.fs.FileType.File)
