"""Parquet files -> columns, in batches of rows."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from configs.errors import DataError, one_line
from orchestrator.sources.blocks import BLOCK_BYTES, BLOCK_ROWS, Block, Reading, from_arrow
from orchestrator.sources.places import File


def blocks(files: Sequence[File], reading: Reading) -> Iterator[Block]:
    """Give the rows of all files. Raises DataError naming the file that is cut off or lacks a column."""
    for file in files:
        batches = _batches(file, reading)
        row = 1 + _attempt(file, lambda: next(batches))  # noqa: B023 (called at once)
        while (batch := _attempt(file, lambda: next(batches, None))) is not None:  # noqa: B023 (called at once)
            columns = {name: _column(file, name, batch.column(name), reading, row) for name in batch.schema.names}
            if batch.num_rows:
                yield Block(columns, file.name, row)
            row += batch.num_rows


def _batches(file: File, reading: Reading) -> Iterator[Any]:
    """The number of rows before the first that is read, then the batches."""
    with file.seekable() as source:
        # Not buffered ahead: a row group may be larger than what a reader should hold.
        parquet = pa.parquet.ParquetFile(source, pre_buffer=reading.whole)
        names = reading.choose(parquet.schema_arrow.names, file.name)
        groups = range(parquet.num_row_groups) if file.row_groups is None else file.row_groups
        yield sum(parquet.metadata.row_group(number).num_rows for number in range(min(groups, default=0)))
        if reading.whole and file.row_groups is None:
            yield parquet.read(names)
        else:
            yield from parquet.iter_batches(_batch_rows(parquet.metadata), row_groups=list(groups), columns=names)


def _batch_rows(metadata: Any) -> int:
    """BLOCK_ROWS, or fewer where rows are as large as images."""
    size = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    return int(max(1, min(BLOCK_ROWS, 4 * BLOCK_BYTES * metadata.num_rows // max(size, 1))))


def row_count(file: File) -> int:
    """Rows of the file. Raises DataError for a file that is not a Parquet file."""

    def rows() -> int:
        with file.seekable() as source:
            return int(pa.parquet.ParquetFile(source).metadata.num_rows)

    return int(_attempt(file, rows))


def row_groups(file: File) -> list[int]:
    """Uncompressed bytes of each row group. Raises DataError for a file that is no Parquet file."""

    def sizes() -> list[int]:
        with file.seekable() as source:
            metadata = pa.parquet.ParquetFile(source).metadata
            return [metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups)]

    return list(_attempt(file, sizes))


def _attempt(file: File, call: Any) -> Any:
    try:
        return call()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file.name}: cannot be read as Parquet: {one_line(error)}; fetch it again") from error


def _column(file: File, name: str, column: Any, reading: Reading, first_row: int) -> np.ndarray:
    try:
        if reading.kinds.get(name) == "text" and _holds_bytes(column.type):
            return _texts(file, name, column.to_pylist(), first_row)
        return from_arrow(column, reading.kinds.get(name))
    except (pa.ArrowException, UnicodeError) as error:
        raise DataError(f"{file.name}: column {name!r} of type {column.type}: {one_line(error)}") from error


def _holds_bytes(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def _texts(file: File, name: str, values: list[bytes | None], first_row: int) -> np.ndarray:
    texts = np.empty(len(values), object)
    for place, value in enumerate(values):
        try:
            texts[place] = None if value is None else value.decode()
        except UnicodeDecodeError as error:
            raise DataError(
                f"{file.name}, row {first_row + place}: column {name!r} is not UTF-8 text; write it as text, or leave "
                "it out"
            ) from error
    return texts
