"""The head of a CSV file: its columns, and what to do where it lacks one that is asked for."""

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterable
from typing import Any

from configs.errors import DataError
from configs.source import ReadSpec
from orchestrator.sources.archives import require_text
from orchestrator.sources.blocks import encoding_fix
from orchestrator.sources.csv_records import Head, read_head
from orchestrator.sources.places import COMPRESSIONS, READ_ERRORS, File

SEPARATORS = {",": "commas", ";": "';'", "\t": "tabs", "|": "'|'"}
SHOWN_LINES = 40
"""So many lines are searched for the header where the first one is not it."""


def attempt(file: File, read: ReadSpec, call: Callable[[], Any]) -> Any:
    """Call, and raise DataError with the file's name and a fix for what a file can have wrong."""
    try:
        return call()
    except (*READ_ERRORS, csv.Error) as error:
        raise unreadable(file, read, error) from error


def unreadable(file: File, read: ReadSpec, error: BaseException) -> DataError:
    """The error for a file as a whole."""
    text = " ".join(str(error).split())
    if isinstance(error, UnicodeError):
        return DataError(f"{file.name} is not {read.encoding} text ({text}); {encoding_fix(read.encoding)}")
    compressed = file.path.lower().endswith(COMPRESSIONS)
    fix = "; copy it again, or correct its name if it is not compressed" if compressed else ""
    return DataError(f"{file.name}: cannot be read as CSV: {text or type(error).__name__}{fix}")


def open_text(file: File, read: ReadSpec) -> io.TextIOWrapper:
    """The text of a file with its line ends. What is not of the encoding is kept, so that its row can be named."""
    encoding = "utf-8-sig" if read.encoding == "utf-8" else read.encoding  # a byte order mark is not text
    return io.TextIOWrapper(file.stream(), encoding=encoding, errors="surrogateescape", newline="")


def head_of(file: File, read: ReadSpec) -> Head:
    """What stands before the rows. Raises DataError where the file is empty, or not text."""

    def found() -> Head:
        with file.stream() as stream:
            require_text(bytes(stream.read(16)), file.name, read.encoding)
        with open_text(file, read) as lines:
            return read_head(lines, read, separator_of(file, read))

    head: Head = attempt(file, read, found)
    if not any(head.names):
        skipped = f"nothing stands after data.read.skip_lines: {read.skip_lines}"
        where = skipped if read.skip_lines else "the file is empty"
        raise DataError(f"{file.name}: {where}; give one that has a header line and rows")
    if any("\udc80" <= letter <= "\udcff" for letter in "".join(head.names)):
        raise DataError(f"{file.name}: the header is not {read.encoding} text; {encoding_fix(read.encoding)}")
    return head


def separator_of(file: File, read: ReadSpec) -> str:
    """The separator of values, unless the file names another."""
    return read.separator or ("\t" if ".tsv" in file.base.lower() else ",")


def header_fix(file: File, read: ReadSpec, head: Head, needed: Iterable[str]) -> str:
    """What to do where the header lacks a column: the options with which it has all of them, if there are such."""
    wanted = dict.fromkeys(needed).keys()
    with open_text(file, read) as lines:
        start = list(itertools.islice(lines, read.skip_lines + SHOWN_LINES))
    for changes in _changes(read, head.separator, len(start)):
        if wanted <= _names(start, read.model_copy(update=changes), head.separator):
            given = " and ".join(f"data.read.{key}: {json.dumps(value)}" for key, value in changes.items())
            return f". {_reason(changes)}: give {given}"
    lower = {name.strip().lower(): name for name in head.names}
    missing = next(name for name in wanted if name not in head.names)
    alike = lower.get(missing.strip().lower())
    if alike is not None:
        return f". Did you mean {alike!r}?"
    if any(_is_number(name) for name in head.names):
        return ". If the first line holds no names, give data.read.names, the columns in their order"
    return ""


def _changes(read: ReadSpec, separator: str, lines: int) -> list[dict[str, Any]]:
    """Options that might make the header right; the fewest first."""
    marks = [{"separator": mark} for mark in SEPARATORS if mark != separator]
    skips = [{"skip_lines": count} for count in range(lines) if count != read.skip_lines]
    choices: list[list[dict[str, Any]]] = [[{}, *skips], [{}, *marks], [{}] if read.trim else [{}, {"trim": True}]]
    together = [{**a, **b, **c} for a, b, c in itertools.product(*choices)]
    return sorted(together[1:], key=len)


def _names(start: list[str], read: ReadSpec, separator: str) -> set[str]:
    try:
        return set(read_head(start, read, read.separator or separator).names)
    except csv.Error:
        return set()


def _reason(changes: dict[str, Any]) -> str:
    if "skip_lines" in changes:
        return "Other lines stand before its header"
    if "separator" in changes:
        return f"It seems to be separated by {SEPARATORS[changes['separator']]}"
    return "Spaces stand around its names"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
