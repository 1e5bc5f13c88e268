"""`ringmaster predict`: a file of raw rows -> a CSV of predictions, by the code that the endpoint runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from configs.errors import DataError
from configs.preprocessing import BadValue, Preprocessing, exact_texts
from deploy.models import download, find_version
from deploy.predictor import Predictor
from orchestrator.sources import BadRows, Block, Reading, blocks_of, joined_blocks
from orchestrator.sources.blocks import column_kind
from orchestrator.sources.images import FILE
from orchestrator.sources.places import Found, find, format_of
from orchestrator.tracking import connect_existing

ROW = "row"
ARRAYS = frozenset({"npz", "idx", "tfrecord"})
"""Formats whose rows nobody sees as lines."""


@dataclass(frozen=True)
class Written:
    """What was written, and by which model. told: lines on the files that were left out."""

    model: str
    version: int
    rows: int
    told: tuple[str, ...] = ()


def predict_file(reference: str, source: Path, output: Path, *, folder: Path, uri: str | None) -> Written:
    """Predict the rows of `source` and write the id column (if the job named one) and the target column to `output`.

    Where the job has no id, the columns `file` (the path below `source`) and `row` (from 1) say which row each line
    belongs to: of pictures the file, of several files both, of windows and of arrays the row.
    Raises DataError, DeployError or TrackingError; `output` is written only when all rows were predicted.
    """
    if not source.exists():
        raise DataError(f"--input {source}: no such file")
    _require_place(output, source)
    model = find_version(reference, connect_existing(uri, folder))
    predictor = Predictor.load(download(model))
    rows = 0
    try:
        with _written_at_last(output) as file:
            found = _found(source, predictor.preprocessing)
            for block in _blocks(found, source, predictor.preprocessing):
                answers = _answers(predictor, block, found)
                answers.to_csv(file, index=False, header=not rows)
                rows += len(answers)
    except OSError as error:
        raise DataError(f"--output {output}: cannot be written: {error}") from error
    return Written(model.name, model.version, rows, found.told)


@contextmanager
def _written_at_last(output: Path) -> Iterator[IO[str]]:
    """A file that takes the name of the output when all is written; a pipe or a device is written to as it is."""
    if output.exists() and not output.is_file():
        with output.open("w", encoding="utf-8") as file:
            yield file
        return
    partial = output.with_name(f".{output.name}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            yield file
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)


def _answers(predictor: Predictor, block: Block, found: Found) -> pd.DataFrame:
    """The id column and the labels. Raises DataError naming file and row."""
    fitted = predictor.preprocessing
    try:
        examples, last = fitted.examples_of(block.columns)
        given = predictor.predict(examples)
        ids = _identity(fitted, block, last, found)
        return pd.DataFrame({**ids, **fitted.target.answers(given.labels, given.scores)})
    except BadValue as error:
        file, row = block.place(error.row - 1)
        raise error.at(row - error.row + 1, file) from None


def _blocks(found: Found, source: Path, fitted: Preprocessing) -> Iterator[Block]:
    """The raw rows of a file, which may be larger than memory; those of a series all at once. Raises DataError."""
    if fitted.window is not None:
        yield Block(read_rows(source, fitted), str(source), 1)
        return
    blocks = (block for block in _read(found, fitted, whole=False) if len(block))
    first = next(blocks, None)
    if first is None:
        raise DataError(f"{source} has no rows; give at least one")
    yield from chain([first], blocks)


def read_rows(source: Path, fitted: Preprocessing) -> dict[str, np.ndarray]:
    """The raw columns of a file, or a folder, of the kind that the model was trained on. Raises DataError."""
    blocks = [block for block in _read(_found(source, fitted), fitted, whole=True) if len(block)]
    if not blocks:
        raise DataError(f"{source} has no rows; give at least one")
    return joined_blocks(blocks, Reading())


def _found(source: Path, fitted: Preprocessing) -> Found:
    return find((str(source),), Path.cwd(), fitted.format or (None if format_of(source.name) else "csv"), "--input")


def _read(found: Found, fitted: Preprocessing, *, whole: bool) -> Iterator[Block]:
    kinds = {name: column_kind(feature.kind) for name, feature in fitted.features.items()}
    # A column to sort a series by may hold dates or numbers, and keeps its type.
    texts = [fitted.id, fitted.window.group if fitted.window else None, *fitted.dates]
    kinds |= {name: "text" for name in texts if name and name not in fitted.features}
    reading = Reading(
        fitted.read, kinds, wanted=(*fitted.columns, *_asked(fitted, found.format)), bad=BadRows(), whole=whole
    )
    reading = replace(reading, blank_lines=True)  # each line has its prediction
    readings, names = [reading], fitted.read.names or ()
    targets = fitted.target.columns or (fitted.target.column,)
    if set(targets) & set(names):
        # A file without a header lacks the target, or has it.
        others = tuple(name for name in names if name not in targets)
        readings.append(replace(reading, read=fitted.read.model_copy(update={"names": others})))
    problems: list[DataError] = []
    for each in readings:
        blocks = blocks_of(found, each)
        try:
            return chain(list(islice(blocks, 1)), blocks)
        except DataError as error:
            problems.append(error)
    raise problems[0]


def _identity(fitted: Preprocessing, block: Block, last: np.ndarray, found: Found) -> dict[str, Any]:
    """The columns that say which row of the block each prediction belongs to; none where line stands beside line."""
    if fitted.id is not None:
        return {fitted.id: exact_texts(fitted.id, block.columns[fitted.id], fitted.read)[last]}
    if _asked(fitted, found.format):
        return {FILE: block.columns[FILE][last]}
    several = len(found.files) > 1 and fitted.window is None  # windows are made of the rows of all files
    below = {file.name: file.below for file in found.files} if several else {}
    files = {FILE: below.get(block.file, block.file)} if several else {}
    if several or fitted.window is not None or found.format in ARRAYS:
        return {**files, ROW: np.asarray(block.rows)[last]}
    return {}


def _asked(fitted: Preprocessing, kind: str) -> tuple[str, ...]:
    a_row_each = kind == "images" or (kind == "text" and fitted.read.rows == "file")
    return (FILE,) if a_row_each and fitted.id is None else ()


def _require_place(output: Path, source: Path) -> None:
    """Raise DataError where the output cannot be written, or would replace the input, before the model is loaded."""
    if output.is_dir():
        raise DataError(f"--output {output}: is a folder; name a file in it")
    if not output.parent.is_dir():
        raise DataError(f"--output {output}: the folder {output.parent} does not exist; create it first")
    if output.exists() and output.samefile(source):
        raise DataError(f"--output {output}: is the input file too; name another")
