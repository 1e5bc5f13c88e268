"""JSON files -> columns: an object per line, or one array of objects."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from configs.errors import DataError
from orchestrator.sources.blocks import Block, Reading, from_values
from orchestrator.sources.places import File
from orchestrator.sources.texts import numbered_lines

Rows = dict[int, dict[str, Any]]
"""Objects by the number of the line, or of the element of the array, that they stand in."""


def blocks(files: Sequence[File], reading: Reading) -> Iterator[Block]:
    """Give the objects as rows; a key that some lack is missing there. Raises DataError naming file and line."""
    for file in files:
        names: list[str] | None = None
        found: dict[str, None] = {}
        first = 1
        parts = _together(file, reading) if reading.whole else _objects(file, reading)
        for rows in parts:
            found |= dict.fromkeys(key for row in rows.values() for key in row)
            if names is None:
                # In blocks, what is asked for may come later in the file.
                late = reading.wanted is not None and not reading.whole
                names = list(reading.wanted or ()) if late else reading.choose(found, file.name)
            values = {name: [row.get(name) for row in rows.values()] for name in names}
            columns = {name: from_values(column, reading.kinds.get(name)) for name, column in values.items()}
            yield Block(columns, file.name, first)
            first += len(rows)
        if names is not None:
            reading.choose(found, file.name)


def _together(file: File, reading: Reading) -> Iterator[Rows]:
    rows: Rows = {}
    for some in _objects(file, reading):
        rows |= some
    if rows:
        yield rows


def _objects(file: File, reading: Reading) -> Iterator[Rows]:
    parts = numbered_lines(file, reading)
    for lines in parts:
        (number, text), *_ = lines.items()
        if number == 1 and text.lstrip().startswith("["):
            yield _array(file, "\n".join([*lines.values(), *(line for part in parts for line in part.values())]))
            return
        rows = {number: row for number, text in lines.items() if (row := _object(file, number, text, reading))}
        if rows:
            yield rows


def _object(file: File, number: int, text: str, reading: Reading) -> dict[str, Any] | None:
    try:
        row = json.loads(text)
    except ValueError as error:
        reading.bad.add(f"{file.name}, line {number}: is no JSON object: {_reason(error)}")
        return None
    if not isinstance(row, dict) or not row:
        reading.bad.add(f"{file.name}, line {number}: got {text!r:.60}, expected an object")
        return None
    return row


def _reason(error: ValueError) -> str:
    return f"{error.msg} (column {error.colno})" if isinstance(error, json.JSONDecodeError) else str(error)


def _array(file: File, text: str) -> Rows:
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise DataError(f"{file.name}: is no JSON array: {' '.join(str(error).split())}") from error
    wrong = next((number for number, row in enumerate(rows, 1) if not isinstance(row, dict)), None)
    if wrong is not None:
        raise DataError(f"{file.name}, element {wrong}: got {rows[wrong - 1]!r:.60}, expected an object")
    return dict(enumerate(rows, 1))
