"""`DataSpec` -> raw columns of the job's files or function. Knows nothing about preprocessing or splits."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from configs.data import DataSpec
from configs.errors import DataError
from configs.features import EVERY_OTHER
from configs.job import JobSpec
from configs.preprocessing import BadValue, as_numbers, with_target
from configs.preprocessing.raw import concatenated
from configs.rules import ValueRules
from orchestrator.sources import arrays, csv_files, images, json_lines, parquet_files, texts, tfrecords
from orchestrator.sources.blocks import BadRows, Block, Reading, require_columns
from orchestrator.sources.functions import call_source
from orchestrator.sources.labels import classes_told
from orchestrator.sources.pictures import decoded
from orchestrator.sources.places import File, Found, find, find_file

READERS: dict[str, Callable[[Sequence[File], Reading], Iterator[Block]]] = {
    "csv": csv_files.blocks,
    "parquet": parquet_files.blocks,
    "json": json_lines.blocks,
    "tfrecord": tfrecords.blocks,
    "npz": arrays.npz_blocks,
    "idx": arrays.idx_blocks,
    "images": images.blocks,
    "text": texts.blocks,
}
"""For each format a function that gives the rows of files of it, block by block, in bounded memory."""


@dataclass(frozen=True)
class Loaded:
    """The raw columns of all rows: those to be split, then those of parts with files of their own.

    parts: how many rows each part has that was given, in the order of the rows: `train` (those to be split) first.
    skipped: rows that could not be read; they are not among the columns.
    blocks: (file, numbers in it) of the rows one after the other; none of a function's.
    """

    columns: dict[str, np.ndarray]
    parts: dict[str, int]
    skipped: BadRows = field(default_factory=BadRows)
    blocks: tuple[tuple[str, Sequence[int] | np.ndarray], ...] = ()
    told: tuple[str, ...] = ()
    """Lines on files that were left out, and on what was done to pictures."""

    def place(self, row: int) -> tuple[str, int]:
        """(file, row from 1 in it) of a row of the columns, from 0; without a file where the rows are a function's."""
        for file, numbers in self.blocks:
            if row < len(numbers):
                return file, int(numbers[row])
            row -= len(numbers)
        return "", row + 1

    def given(self, source_rows: np.ndarray) -> dict[str, int]:
        """How many of these rows (numbers in the columns, from 0, rising) are of each part with files of its own.

        Raises DataError where they are in another order.
        """
        if len(self.parts) > 1 and np.any(np.diff(source_rows) < 0):
            raise DataError(
                "data.window with order or group mixes the rows of data.files with those of data.valid_files and "
                "data.test_files; put all into data.files and use data.split"
            )
        bounds = np.searchsorted(source_rows, np.cumsum([0, *self.parts.values()]))
        counts = dict(zip(self.parts, np.diff(bounds).tolist(), strict=True))
        return {part: count for part, count in counts.items() if part != "train"}


def load_columns(spec: JobSpec, found: Mapping[str, Found] | None = None) -> Loaded:
    """Read the columns that the job uses; found: what `found_files` gives, where it was asked already.

    Raises DataError when one is missing or there are no rows.
    """
    data = spec.data
    if data.function is not None:
        return from_function(spec, call_source(data, spec.home))
    bad = BadRows(data.bad_rows == "skip")
    reading = Reading.of(data, bad, whole=True)
    found = found or found_files(spec)
    parts = {part: list(blocks_of(each, reading)) for part, each in found.items()}
    for part, files in parts.items():
        if not sum(map(len, files)):
            place = str(find_file(data.csv, spec.home)) if part == "train" and data.csv else _key(part)
            raise DataError(f"{place} has no rows; a job needs at least a few to train on")
    counts = {part: sum(map(len, files)) for part, files in parts.items()}
    blocks = [block for files in parts.values() for block in files]
    places = tuple(place for block in blocks for place in block.places)
    told = (*files_told(data, found), *reading.notes.told())
    return Loaded(with_target(joined_blocks(blocks, reading), data.target), counts, bad, places, told)


def files_told(data: DataSpec, found: Mapping[str, Found]) -> list[str]:
    """Lines on the files that were left out, and on the labels that others have by where they lie."""
    told = [line for each in found.values() for line in each.told]
    if data.target.column == "label" and found["train"].format in {"images", "text"}:
        told += classes_told(found["train"], data.read.labels)
    return told


def from_function(spec: JobSpec, columns: Mapping[str, np.ndarray]) -> Loaded:
    """The columns that the job uses of those of its function. Raises DataError as `load_columns` does."""
    data, source = spec.data, f"data.function {spec.data.function}"
    require_columns(columns, data.columns, source)
    wanted = [*columns] if EVERY_OTHER in data.features else data.columns
    rows = len(columns[data.target.source_columns[0]])
    if rows == 0:
        raise DataError(f"{source} has no rows; a job needs at least a few to train on")
    return Loaded(with_target({name: columns[name] for name in wanted}, data.target), {"train": rows})


def found_files(spec: JobSpec) -> dict[str, Found]:
    """The files of each part that the job names. Raises DataError where one is not there."""
    data, found = spec.data, {}
    for part, places in spec.data.places.items():
        if part == "train" and data.csv is not None:
            places = (str(find_file(Path(data.csv), spec.home)),)
            found[part] = find(places, spec.home, "csv", "data.csv")
        else:
            # One format for all parts: what `files` are, `test_files` are too.
            kind = data.format or ("csv" if data.csv is not None else None)
            found[part] = find(places, spec.home, kind, _key(part))
    return found


def _key(part: str) -> str:
    return "data.files" if part == "train" else f"data.{part}_files"


def blocks_of(found: Found, reading: Reading) -> Iterator[Block]:
    """Give the rows of files, block by block. Raises DataError naming file and row."""
    blocks = READERS[found.format](_not_empty(found, reading), reading)
    return blocks if found.format == "images" else decoded(blocks, reading, found.files)


def _not_empty(found: Found, reading: Reading) -> list[File]:
    """The files that hold bytes. Where none does, all: their reader says what is missing."""
    a_row_each = found.format == "images" or (found.format == "text" and reading.read.rows == "file")
    if a_row_each or len(found.files) == 1:
        return found.files
    empty = [not file.size for file in found.files]
    if all(empty):
        return found.files
    for file in itertools.compress(found.files, empty):
        reading.bad.add(f"{file.name}: the file is empty")
    return [file for file, without in zip(found.files, empty, strict=True) if not without]


def joined_blocks(blocks: list[Block], reading: Reading) -> dict[str, np.ndarray]:
    """One array per column. Raises DataError where blocks do not go together."""
    for block in blocks:
        require_columns(block.columns, blocks[0].columns, block.file)
    blocks = [block for block in blocks if len(block)] or blocks[:1]  # columns without rows have no type
    if len(blocks) == 1:
        return blocks[0].columns
    return {name: _column(name, blocks, reading) for name in blocks[0].columns}


def _column(name: str, blocks: list[Block], reading: Reading) -> np.ndarray:
    arrays_ = [block.columns[name] for block in blocks]
    kinds = {array.dtype == object for array in arrays_}
    as_they_are = reading.bad.skip or reading.kinds.get(name) == "text" or any(a.dtype.kind in "mM" for a in arrays_)
    if len(kinds) == 1 or as_they_are:
        _require_shape(name, blocks)
        return concatenated(arrays_)
    return np.concatenate([_as_number_column(name, block, blocks, reading.read) for block in blocks])


def _as_number_column(name: str, block: Block, blocks: list[Block], rules: ValueRules) -> np.ndarray:
    """A column that holds numbers in one file and texts in another: numbers after all, or an error."""
    try:
        return as_numbers(name, block.columns[name], rules)
    except BadValue as error:
        other = next(one.file for one in blocks if one.columns[name].dtype != object)
        raise DataError(
            f"{error.at(block.place(error.row - 1)[1] - error.row + 1, block.file)}, as in {other}"
        ) from error


def _require_shape(name: str, blocks: list[Block]) -> None:
    shape = blocks[0].columns[name].shape[1:]
    for block in blocks:
        if block.columns[name].shape[1:] != shape:
            raise DataError(
                f"column {name!r} has shape {block.columns[name].shape[1:]} per row in {block.file}, "
                f"{shape} in {blocks[0].file}; make them equal"
            )
