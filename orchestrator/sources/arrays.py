"""NumPy arrays in files: MNIST's IDX, and `.npz` -> columns."""

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa

from configs.errors import DataError, one_line
from configs.preprocessing.raw import of_numpy
from orchestrator.sources.blocks import BLOCK_BYTES, Block, Reading
from orchestrator.sources.places import COMPRESSIONS, File

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
        with _naming(file), _bytes_of(file) as data, _opened(data) as archive:
            members = {}
            for name in reading.choose(archive.files, file.name):
                with _naming(file, name):
                    members[name] = _Member(archive, name)
                if not members[name].shape:
                    raise DataError(f"{file.name}: array {name!r} is one value, expected a value per row")
            yield from _npz_rows(members, file, reading)


def _npz_rows(members: "dict[str, _Member]", file: File, reading: Reading) -> Iterator[Block]:
    lengths = {name: member.shape[0] for name, member in members.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{file.name}: its arrays differ in length: {lengths}; every row needs a value of each")
    rows = next(iter(lengths.values()), 0)
    row_bytes = sum(member.row_bytes for member in members.values())
    step = max(1, rows if reading.whole else BLOCK_BYTES // max(row_bytes, 1))
    for start in range(0, rows, step):
        columns = {}
        for name, member in members.items():
            with _naming(file, name):
                columns[name] = of_numpy(member.take(min(step, rows - start)))
        yield Block(columns, file.name, start + 1)


def _bytes_of(file: File) -> Any:
    """An open file that can be read from the middle, as an archive is; one that is compressed as a whole cannot."""
    return io.BytesIO(file.read()) if file.base.lower().endswith(COMPRESSIONS) else file.seekable()


def _opened(data: Any) -> Any:
    """A numpy.lib.npyio.NpzFile. The arrays in it are not read yet."""
    archive = np.load(data, allow_pickle=False)
    if isinstance(archive, np.ndarray):
        raise ValueError("it is one array without a name, as in .npy; save it with numpy.savez")
    return archive


class _Member:
    """An array of an `.npz` file: the shape from its header, then rows in order."""

    def __init__(self, archive: Any, name: str) -> None:
        member = name if name in archive.zip.namelist() else f"{name}.npy"
        self._stream = archive.zip.open(member)
        self._whole: np.ndarray | None = None
        version = np.lib.format.read_magic(self._stream)
        if version in HEADERS:
            self.shape, by_columns, self._type = HEADERS[version](self._stream)
        if version not in HEADERS or by_columns or self._type.hasobject or not self._type.itemsize:
            self._whole = archive[name]
            self.shape, self._type = self._whole.shape, self._whole.dtype
        self.row_bytes = math.prod(self.shape[1:]) * self._type.itemsize
        missing = math.prod(self.shape) * self._type.itemsize - (
            archive.zip.getinfo(member).file_size - self._stream.tell()
        )
        if self._whole is None and missing > 0:
            raise ValueError(f"it ends {missing} bytes too early; save it again")

    def take(self, rows: int) -> np.ndarray:
        """The next rows."""
        if self._whole is not None:
            taken, self._whole = self._whole[:rows], self._whole[rows:]
            return taken
        array = np.empty((rows, *self.shape[1:]), self._type)
        left = array.reshape(-1).view(np.uint8).data
        while left:
            count = self._stream.readinto(left[:READ_BYTES])
            if not count:
                raise ValueError(f"it ends {len(left)} bytes too early; save it again")
            left = left[count:]
        return array


HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
READ_BYTES = 2**20


@contextmanager
def _naming(file: File, name: str = "") -> Iterator[None]:
    """Raise DataError naming file and array where one cannot be read."""
    where = f"array {name!r} of {file.name}" if name else file.name
    try:
        yield
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, pa.ArrowException) as error:
        if "allow_pickle" in str(error):
            raise DataError(f"{where}: holds Python objects, which are never loaded; save numbers or texts") from error
        raise DataError(f"{where}: cannot be read as npz: {one_line(error)}") from error


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
