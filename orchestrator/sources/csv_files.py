"""CSV files -> columns, whole or in blocks.

Arrow reads what is regular; all else is read record by record and rewritten for it (`csv_records`), which finds the
same values, or the row that cannot be read.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from configs.preprocessing.number_texts import read_texts
from orchestrator.sources.blocks import BLOCK_BYTES, Block, Reading, from_arrow
from orchestrator.sources.csv_header import attempt, head_of, header_fix, open_text, unreadable
from orchestrator.sources.csv_quotes import Irregular, Watched
from orchestrator.sources.csv_records import Head, Records, Rewriting
from orchestrator.sources.places import READ_ERRORS, File, local_file

LARGEST_VALUE = 2**30
"""Bytes of the longest value that can be read."""
ENCODINGS = {"utf-8": "utf8", "ascii": "utf8", "iso8859-1": "iso8859-1", "cp1252": "cp1252"}
"""What Arrow calls the encodings in which commas and quotes are the bytes of ASCII."""


def read_csv(path: Path, texts: Iterable[str]) -> dict[str, np.ndarray]:
    """Read a CSV file with a header: float64 (missing as NaN) or object columns with None. Raises DataError."""
    reading = Reading(kinds=dict.fromkeys(texts, "text"), whole=True)
    return next(blocks([local_file(path)], reading)).columns


def blocks(files: Sequence[File], reading: Reading) -> Iterator[Block]:
    """Give the rows of all files. Raises DataError naming the file and the row.

    In blocks, a column whose kind the job does not tell comes as text; in a whole file as numbers where all are.
    """
    for file in files:
        head = head_of(file, reading.read)
        named = [name for name in head.names if name]
        names = reading.choose(named, file.name, _Fix(file, reading, head))
        table = _Table(file, reading, head, names)
        yield from table.whole() if reading.whole else table.blocks()


@dataclass(frozen=True)
class _Fix:
    file: File
    reading: Reading
    head: Head

    def __call__(self) -> str:
        return header_fix(self.file, self.reading.read, self.head, self.reading.needed)


@dataclass(frozen=True)
class _Input:
    """What Arrow is to read.

    columns: its names for all columns of the stream. wanted: its name for each column of the table.
    numbers: of the rows in the file, filled while they are read; None where no row is left out.
    """

    stream: Any
    options: pa.csv.ReadOptions
    parse: pa.csv.ParseOptions
    wanted: dict[str, str]
    numbers: "array[int] | None" = None


@dataclass(frozen=True)
class _Table:
    file: File
    reading: Reading
    head: Head
    names: list[str]

    def whole(self) -> Iterator[Block]:
        """All rows as one block."""
        problem = Exception()
        for strictly, block_bytes in self._ways(None):
            try:
                input_ = self._input(strictly, block_bytes)
                with input_.stream as stream:
                    table = pa.csv.read_csv(stream, input_.options, input_.parse, self._convert(input_))
                columns = {name: self._typed(name, table[place]) for name, place in input_.wanted.items()}
                yield Block.numbered(columns, self.file.name, input_.numbers or range(1, table.num_rows + 1))
                return
            except (*READ_ERRORS, Irregular) as error:
                problem = error
        raise unreadable(self.file, self.reading.read, problem)

    def blocks(self) -> Iterator[Block]:
        """The rows in blocks of bounded memory; what is not a number stays a text."""
        given, problem = 0, Exception()
        for strictly, block_bytes in self._ways(BLOCK_BYTES):
            try:
                for block in self._blocks(self._input(strictly, block_bytes), given):
                    given += len(block)
                    yield block
                return
            except (*READ_ERRORS, Irregular) as error:
                problem = error
        raise unreadable(self.file, self.reading.read, problem)

    def _blocks(self, input_: _Input, given: int) -> Iterator[Block]:
        """given: so many rows were given before."""
        reader = pa.csv.open_csv(input_.stream, input_.options, input_.parse, self._convert(input_))
        read = 0
        for batch in reader:
            numbers = _taken(input_.numbers, batch.num_rows, read + 1)
            late = max(0, given - read)
            read += batch.num_rows
            if late >= batch.num_rows:
                continue
            some = batch.slice(late)
            columns = {name: self._typed(name, some.column(place)) for name, place in input_.wanted.items()}
            yield Block.numbered(columns, self.file.name, numbers[late:])

    def _typed(self, name: str, texts: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """Numbers where the job uses numbers, or (of a whole file) does not say and all are; else texts as they are,
        so that an error can quote them."""
        kind, rules = self.reading.kinds.get(name), self.reading.read
        if kind != "number" and (kind is not None or not self.reading.whole):
            return from_arrow(texts)
        try:
            missing = pc.is_in(texts, pa.array(sorted(rules.missing_in_numbers)))
            known = pc.if_else(missing, None, texts)
            if kind is None and known.null_count == len(known):
                return from_arrow(known)
            if kind is None and not known.null_count and rules.plain_numbers:
                with suppress(pa.ArrowInvalid):
                    return from_arrow(known.cast(pa.int64()))
            numbers, wrong = read_texts(known, rules)
        except pa.ArrowInvalid:
            return from_arrow(texts)
        return from_arrow(texts) if wrong.any() else numbers

    @staticmethod
    def _convert(input_: _Input) -> pa.csv.ConvertOptions:
        places = list(input_.wanted.values())
        return pa.csv.ConvertOptions(
            column_types=dict.fromkeys(places, pa.string()),
            include_columns=places,
            strings_can_be_null=True,
            null_values=[""],  # what other texts mean is for preprocessing to say
        )

    def _ways(self, block_bytes: int | None) -> list[tuple[bool, int | None]]:
        """Whether to read strictly, and in blocks of what size. Each way reads what the one before it could not."""
        read = self.reading.read
        plain = not read.trim and read.comment is None and read.escape is None and read.encoding in ENCODINGS
        return [(False, block_bytes)] * plain + [(True, BLOCK_BYTES), (True, LARGEST_VALUE)]

    def _input(self, strictly: bool, block_bytes: int | None) -> _Input:
        input_: _Input = attempt(
            self.file, self.reading.read, lambda: (self._strict if strictly else self._plain)(block_bytes)
        )
        return input_

    def _plain(self, block_bytes: int | None) -> _Input:
        """The bytes as they are."""
        read, separator = self.reading.read, self.head.separator
        stream = self.file.stream()
        if read.quote is not None:
            stream = pa.PythonFile(Watched(stream, read.quote, separator), mode="r")
        columns = [str(place) for place in range(len(self.head.names))]
        options = pa.csv.ReadOptions(
            block_size=block_bytes,
            column_names=columns,
            skip_rows=self.head.lines,
            encoding=ENCODINGS[read.encoding],
        )
        wanted = {name: columns[self.head.names.index(name)] for name in self.names}
        return _Input(stream, options, _parse_options(separator, read.quote), wanted)

    def _strict(self, block_bytes: int | None) -> _Input:
        """The records that can be read, rewritten."""
        read = self.reading.read
        records = Records(open_text(self.file, read), self.head, read, self.file.name, self._bad)
        rows = Rewriting(records, [self.head.names.index(name) for name in self.names], self.names, read)
        wanted = {name: str(place) for place, name in enumerate(self.names)}
        options = pa.csv.ReadOptions(use_threads=False, block_size=block_bytes)
        return _Input(pa.PythonFile(rows, mode="r"), options, _parse_options(",", '"'), wanted, rows.numbers)

    @cached_property
    def _told(self) -> set[int]:
        """Rows that were told to be bad: one that is read again is counted once."""
        return set()

    def _bad(self, number: int, problem: str, fix: str) -> None:
        if number not in self._told:
            self.reading.bad.add(problem, fix)
            self._told.add(number)


def _parse_options(separator: str, quote: str | None) -> pa.csv.ParseOptions:
    return pa.csv.ParseOptions(delimiter=separator, quote_char=quote or False, newlines_in_values=quote is not None)


def _taken(numbers: "array[int] | None", count: int, first: int) -> Sequence[int]:
    """The next numbers of rows, which are taken out; without any, those from the first on."""
    if numbers is None:
        return range(first, first + count)
    some = numbers[:count]
    del numbers[:count]
    return some
