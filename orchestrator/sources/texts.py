"""Text files -> the columns `text` and `label`: a row per line, or per file."""

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from configs.errors import DataError
from orchestrator.sources.archives import require_text
from orchestrator.sources.blocks import BLOCK_BYTES, Block, Reading, encoding_fix
from orchestrator.sources.labels import label_of, labelled
from orchestrator.sources.places import READ_ERRORS, File

COLUMNS = ("text", "label")
FILES = 1000
"""Files per block, where a file is a row."""


def blocks(files: Sequence[File], reading: Reading) -> Iterator[Block]:
    """Give the texts in order, without line ends, and the label of the file each stands in. A row's number is that of
    its line; blank lines are left out and counted, unless they are asked for.

    Raises DataError naming the file and the line that is not of the encoding.
    """
    asked = reading.read.rows == "file" and "file" in (reading.wanted or reading.required)
    names = reading.choose((*COLUMNS, "file") if asked else COLUMNS, files[0].name)
    files = labelled(files, reading) if "label" in names else files
    labels = {file.name: label_of(file, reading.read.labels) for file in files if "label" in names}
    paths = {file.name: file.below or file.base for file in files if asked}
    rows = _of_files(files, reading) if reading.read.rows == "file" else _of_lines(files, reading)
    for file, numbers, texts, owners in rows:
        columns = {"text": texts, "label": [labels.get(owner) for owner in owners]}
        columns["file"] = [paths.get(owner) for owner in owners]
        arrays = {name: np.array(columns[name], object) for name in names}
        a_file_each = reading.read.rows == "file"
        yield Block(arrays, file, 1, tuple(owners)) if a_file_each else Block.numbered(arrays, file, numbers)


Rows = tuple[str, list[int], list[str], list[str]]
"""Name of the file, numbers of the rows, texts, the name of the file of each."""


def _of_lines(files: Sequence[File], reading: Reading) -> Iterator[Rows]:
    for file in files:
        for lines in numbered_lines(file, reading):
            texts = {number: text for number, text in lines.items() if text or reading.blank_lines}
            if len(texts) < len(lines):
                blank = next(number for number, text in lines.items() if not text)
                reading.notes.add("blank line(s) left out", f"{file.name}, line {blank}", len(lines) - len(texts))
            if texts:
                yield file.name, list(texts), list(texts.values()), [file.name] * len(texts)


def numbered_lines(file: File, reading: Reading) -> Iterator[dict[int, str]]:
    """Give the lines by their number from 1, without their ends; about BLOCK_BYTES at a time.

    Raises DataError naming the line that is not of the encoding.
    """
    number = 1
    with _open(file, reading) as lines:
        while some := _attempt(file, lines.readlines, BLOCK_BYTES):
            texts = {place: text.rstrip("\r\n") for place, text in enumerate(some, number)}
            number += len(some)
            yield {place: text for place, text in texts.items() if not text or _is_good(file, place, text, reading)}


def _of_files(files: Sequence[File], reading: Reading) -> Iterator[Rows]:
    for start in range(0, len(files), FILES):
        texts, owners = [], []
        for file in files[start : start + FILES]:
            with _open(file, reading) as lines:
                text = _attempt(file, lines.read)
            bad = next((number for number, line in enumerate(text.split("\n"), 1) if not _decoded(line)), None)
            if bad is None or _is_good(file, bad, text, reading):
                texts.append(text)
                owners.append(file.name)
        if texts:
            yield files[start].name, [], texts, owners


def _open(file: File, reading: Reading) -> io.TextIOWrapper:
    encoding = "utf-8-sig" if reading.read.encoding == "utf-8" else reading.read.encoding

    def start() -> bytes:
        with file.stream() as stream:
            return bytes(stream.read(16))

    require_text(_attempt(file, start), file.name, reading.read.encoding)
    # What cannot be decoded is kept apart, so that the line it stands in can be named.
    return io.TextIOWrapper(_attempt(file, file.stream), encoding=encoding, errors="surrogateescape")


def _attempt(file: File, call: Any, *arguments: int) -> Any:
    try:
        return call(*arguments)
    except READ_ERRORS as error:
        text = " ".join(str(error).split()) or type(error).__name__
        fix = f"; {encoding_fix('')}" if isinstance(error, UnicodeError) else ""
        raise DataError(f"{file.name}: cannot be read as text: {text}{fix}") from error


def _decoded(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _is_good(file: File, line: int, text: str, reading: Reading) -> bool:
    if _decoded(text):
        return True
    encoding = reading.read.encoding
    reading.bad.add(f"{file.name}, line {line}: is not {encoding} text; {encoding_fix(encoding)}")
    return False
