"""JSON files -> columns: an object per line, or one array of objects."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from configs.errors import DataError
from orchestrator.sources.blocks import Block, Reading, from_values
from orchestrator.sources.places import File
from orchestrator.sources.texts import numbered_lines

Rows = dict[int, dict[str, Any]]
"""Objects by their number in the file, from 1; blank lines are not counted."""


def blocks(files: Sequence[File], reading: Reading) -> Iterator[Block]:
    """Give the objects as rows; a key that some lack is missing there. Raises DataError naming file and line."""
    for file in files:
        names: list[str] | None = None
        found: dict[str, None] = {}
        parts = _together(file, reading) if reading.whole else _objects(file, reading)
        for rows in parts:
            found |= dict.fromkeys(key for row in rows.values() for key in row)
            if names is None:
                # In blocks, what is asked for may come later in the file.
                late = reading.wanted is not None and not reading.whole
                names = list(reading.wanted or ()) if late else reading.choose(found, file.name)
            values = {name: [row.get(name) for row in rows.values()] for name in names}
            columns = {name: from_values(column, reading.kinds.get(name)) for name, column in values.items()}
            yield Block.numbered(columns, file.name, list(rows))
        if names is not None:
            reading.choose(found, file.name)


def _together(file: File, reading: Reading) -> Iterator[Rows]:
    rows: Rows = {}
    for some in _objects(file, reading):
        rows |= some
    if rows:
        yield rows


def _objects(file: File, reading: Reading) -> Iterator[Rows]:
    number, before = 0, 0  # the last row, and the blank lines at the start
    parts = numbered_lines(file, reading)
    for lines in parts:
        found = {line: text for line, text in lines.items() if text.strip()}
        if not number and not found:
            before += len(lines)
            continue
        if not number and next(iter(found.values())).lstrip().startswith("["):
            text = "\n".join([*[""] * before, *lines.values(), *(line for part in parts for line in part.values())])
            yield from _array(file, text, reading)
            return
        rows: Rows = {}
        for line, text in found.items():
            number += 1
            row = _object(f"{file.name}, row {number} (line {line})", text, reading)
            rows |= {} if row is None else {number: row}
        if rows:
            yield rows


FIX = "write each object on one line, or all in one array"


def _object(place: str, text: str, reading: Reading) -> dict[str, Any] | None:
    try:
        row = _parsed(text)
    except (ValueError, RecursionError) as error:
        reading.bad.add(f"{place}: is not a JSON object: {_reason(error)}", FIX)
        return None
    if not isinstance(row, dict) or not row:
        reading.bad.add(f"{place}: got {text!r:.60}, expected an object with values", FIX)
        return None
    return row


def _parsed(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_without_repeated_keys)


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"it has the key {next(key for key in keys if keys.count(key) > 1)!r} twice")
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "its values are nested too deeply"
    return f"{error.msg} (column {error.colno})" if isinstance(error, json.JSONDecodeError) else str(error)


def _array(file: File, text: str, reading: Reading) -> Iterator[Rows]:
    try:
        elements = _parsed(text)
    except (ValueError, RecursionError) as error:
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(f"{file.name}{line}: is not a JSON array: {_reason(error)}; correct it") from error
    rows: Rows = {}
    for number, row in enumerate(elements, 1):
        if isinstance(row, dict) and row:
            rows[number] = row
        else:
            reading.bad.add(f"{file.name}, row {number}: got {row!r:.60}, expected an object with values")
    if rows:
        yield rows
