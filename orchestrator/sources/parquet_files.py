"""Parquet files -> columns, in batches of rows."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from configs.errors import DataError, one_line
from orchestrator.sources.blocks import BLOCK_ROWS, Block, Reading, from_arrow
from orchestrator.sources.images import without_bad_images
from orchestrator.sources.places import File


def blocks(files: Sequence[File], reading: Reading) -> Iterator[Block]:
    """Give the rows of all files. Raises DataError naming the file that is cut off or lacks a column."""
    for file in files:
        batches = _batches(file, reading)
        row = 1
        while (batch := _attempt(file, lambda: next(batches, None))) is not None:  # noqa: B023 (called at once)
            columns = {name: _column(file, name, batch.column(name), reading) for name in batch.schema.names}
            if batch.num_rows:
                yield without_bad_images(Block(columns, file.name, row), reading)
            row += batch.num_rows


def _batches(file: File, reading: Reading) -> Iterator[Any]:
    with file.seekable() as source:
        parquet = pa.parquet.ParquetFile(source)
        names = reading.choose(parquet.schema_arrow.names, file.name)
        if reading.whole:
            yield parquet.read(names)
        else:
            yield from parquet.iter_batches(BLOCK_ROWS, columns=names)


def _attempt(file: File, call: Any) -> Any:
    try:
        return call()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file.name}: cannot be read as Parquet: {one_line(error)}; fetch it again") from error


def _column(file: File, name: str, column: Any, reading: Reading) -> np.ndarray:
    try:
        return from_arrow(column)
    except (pa.ArrowException, UnicodeError) as error:
        raise DataError(f"{file.name}: column {name!r} of type {column.type}: {one_line(error)}") from error
