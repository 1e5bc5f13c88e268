"""The text of a CSV file -> its head and its records, read strictly: quotes enclose values, or are an error.

Records are numbered from 1. The header, blank lines and comments are not records; what cannot be read is one.
"""

import csv
import io
import re
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from configs.errors import DataError
from configs.source import ReadSpec
from orchestrator.sources.blocks import encoding_fix

csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # as long as Arrow's; the default refuses values over 128 KiB
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[\r\n]*')
"""How Excel names the separator in the first line."""


@dataclass(frozen=True)
class Head:
    """What stands before the first record.

    names: of the columns, "" for one without a name. lines: how many lines of the file the head takes.
    """

    names: tuple[str, ...]
    lines: int
    separator: str


class Lines:
    """The lines of a file, counted; those between two records that are comments are left out."""

    def __init__(self, lines: Iterable[str], comment: str | None, count: int = 0) -> None:
        """count: lines of the file that were taken before."""
        self._lines, self._comment = lines, comment
        self.count = count
        self.record: list[str] = []
        """Those of the record that is being read; whoever reads records empties it before each."""

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.count += 1
            if self.record or self._comment is None or not line.startswith(self._comment):
                self.record.append(line)
                yield line


def read_head(lines: Iterable[str], read: ReadSpec, separator: str) -> Head:
    """Find the names of the columns; none where there is no header line. Raises csv.Error where it is not CSV."""
    rest = iter(lines)
    taken = sum(1 for _ in islice(rest, read.skip_lines))
    first = next(rest, "")
    told = SEPARATOR_LINE.fullmatch(first)
    if told:
        separator, taken = read.separator or told[1], taken + 1
    if not read.has_header:
        return Head(read.names or (), taken, separator)
    counted = Lines(rest if told else chain([first], rest), read.comment, taken)
    names = _first_record(counted, read, separator)
    return Head(read.names or tuple(names), counted.count, separator)


def _first_record(lines: Lines, read: ReadSpec, separator: str) -> list[str]:
    records: Iterator[list[str]] = _reader(lines, read, separator)
    record = next((record for record in records if any(map(str.strip, record))), [])
    return [name.strip() for name in record] if read.trim else record


def _reader(lines: Iterable[str], read: ReadSpec, separator: str) -> Any:
    if read.trim and read.quote is not None:
        lines = _without_spaces_after_quotes(lines, separator, read.quote)
    return csv.reader(
        lines,
        delimiter=separator,
        quotechar=read.quote,
        quoting=csv.QUOTE_NONE if read.quote is None else csv.QUOTE_MINIMAL,
        escapechar=read.escape,
        skipinitialspace=read.trim,
        strict=True,
    )


def _without_spaces_after_quotes(lines: Iterable[str], separator: str, quote: str) -> Iterator[str]:
    """Spaces between a closing quote and the end of the value are around the value, which `strict` would not allow."""
    mark, end = re.escape(quote), re.escape(separator)
    spaces = re.compile(rf"((?:^|{end})[ \t]*{mark}{mark}|(?<!{mark}){mark})[ \t]+(?=$|[\r\n]|{end})")
    for line in lines:
        yield spaces.sub(r"\1", line) if f"{quote} " in line or f"{quote}\t" in line else line


OnBad = Callable[[int, str, str], None]
"""Is told the number of each record that cannot be read, what is wrong, and what to do unless it may be left out."""
SKIP = "correct it, or leave such rows out with data.bad_rows: skip"


class Records:
    """The records after the head, each with as many values as there are columns.

    number: of the record that was read last. Raises DataError where a quote is never closed.
    """

    def __init__(self, lines: Iterable[str], head: Head, read: ReadSpec, file: str, bad: OnBad) -> None:
        """lines: of the whole file, whose name is for messages."""
        rest = iter(lines)
        for _ in islice(rest, head.lines):
            pass
        self._lines = Lines(rest, read.comment, head.lines)
        self._reader = _reader(self._lines, read, head.separator)
        self._head, self._read, self._file = head, read, file
        self._tell = bad
        self._width = len(head.names)
        self._named = max((place for place, name in enumerate(head.names, 1) if name), default=self._width)
        self.number = 0

    def __iter__(self) -> Iterator[list[str]]:
        while True:
            self._lines.record.clear()
            try:
                record = next(self._reader, None)
            except csv.Error as error:
                self.number += 1
                self._tell_quote(error)
                continue
            if record is None:
                return
            if not record or (len(record) == 1 < self._width and not record[0].strip()):
                continue
            self.number += 1
            if (values := self._fitted(record)) is not None:
                yield values

    def bad(self, problem: str, fix: str = "") -> None:
        """The last record cannot be read."""
        self._tell(self.number, f"{self._place()}{problem}", fix)

    def _place(self) -> str:
        return f"{self._file}, row {self.number} (line {self._lines.count - len(self._lines.record) + 1})"

    def _fitted(self, record: list[str]) -> list[str] | None:
        """As many values as there are columns: what is empty after the last column, or missing without a name, is
        what spreadsheets write of columns that were emptied."""
        more = len(record) - self._width
        if more > 0 and not any(map(str.strip, record[self._width :])):
            return record[: self._width]
        if more < 0 and len(record) >= self._named:
            return record + [""] * -more
        if more:
            why = self._why(len(record))
            self.bad(f": expected {self._width} values, got {len(record)}{why}", "" if why else SKIP)
            return None
        return record

    def _why(self, count: int) -> str:
        """What may have given a record another number of values, and the option for it; empty where nothing shows."""
        text, read = "".join(self._lines.record), self._read
        if fix := self._escape_fix(text):
            return fix
        if read.quote and not read.trim and f"{self._head.separator} {read.quote}" in text:
            return "; spaces stand before its quotes: give data.read.trim: true"
        if count > self._width and self.number == 1 and read.names is None:
            return "; quote values that hold separators, or name all columns: data.read.names, with header: true"
        return ""

    def _escape_fix(self, text: str) -> str:
        told = self._read.escape is None and self._read.quote and f"\\{self._read.quote}" in text
        return f"; quotes are written as \\{self._read.quote} there: give data.read.escape: \\" if told else ""

    def _tell_quote(self, error: csv.Error) -> None:
        text = "".join(self._lines.record)
        fix = self._escape_fix(text)
        if "unexpected end" in str(error):
            # All rows to the end of the file would go as one: not even bad_rows: skip may do that.
            fix = fix or "; close it, or give data.read.quote: null if quotes are characters like any other"
            raise DataError(f"{self._place()}: a quote is opened that is never closed{fix}")
        fix = fix or '; double it (""), or give data.read.quote: null if quotes are characters like any other'
        self.bad(f": a quote stands inside a quoted value{fix}")


class Rewriting(io.RawIOBase):
    """Columns of the records as plain CSV: commas, double quotes, no spaces around, UTF-8.

    numbers: of each record that was given, in the file.
    """

    def __init__(self, records: Records, columns: Sequence[int], names: Sequence[str], read: ReadSpec) -> None:
        """columns, names: which of the records' values, and what they are called."""
        self._records, self._columns, self._names, self._read = records, columns, names, read
        self._rows = self._kept()
        self.numbers = array("q")
        # A header of its own: Arrow takes nothing at all for an error, though all rows may be left out.
        self._left = (",".join(map(str, range(len(columns)))) + "\n").encode()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not self._left:
            self._left = self._next_rows()
        taken, self._left = (self._left, b"") if size < 0 else (self._left[:size], self._left[size:])
        return taken

    def readinto(self, buffer: Any) -> int:
        taken = self.read(len(buffer))
        buffer[: len(taken)] = taken
        return len(taken)

    def _kept(self) -> Iterator[list[str]]:
        for record in self._records:
            values = [record[place] for place in self._columns]
            if self._read.trim:
                values = [value.strip() for value in values]
            if self._is_decoded(values):
                self.numbers.append(self._records.number)
                yield values

    def _is_decoded(self, values: list[str]) -> bool:
        try:
            "".join(values).encode("utf-8")
        except UnicodeEncodeError:
            odd = next(name for name, value in zip(self._names, values, strict=True) if not _is_text(value))
            encoding = self._read.encoding
            self._records.bad(f": column {odd!r} is not {encoding} text; {encoding_fix(encoding)}")
            return False
        return True

    def _next_rows(self, count: int = 2000) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerows(islice(self._rows, count))
        return text.getvalue().encode("utf-8")


def _is_text(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
