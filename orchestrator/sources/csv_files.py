"""CSV files -> columns, whole or in blocks. Arrow reads them; what it has no option for is rewritten on the way."""

import csv
import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from configs.errors import DataError
from configs.preprocessing.number_texts import read_texts
from configs.source import ReadSpec
from orchestrator.sources.blocks import BLOCK_BYTES, Block, Reading, from_arrow, separator_hint
from orchestrator.sources.places import File, local_file


def read_csv(path: Path, texts: Iterable[str]) -> dict[str, np.ndarray]:
    """Read a CSV file with a header: float64 (missing as NaN) or object columns with None. Raises DataError."""
    reading = Reading(kinds=dict.fromkeys(texts, "text"), whole=True)
    return next(blocks([local_file(path)], reading)).columns


def blocks(files: Sequence[File], reading: Reading) -> Iterator[Block]:
    """Give the rows of all files. Raises DataError naming the file and the row.

    In blocks, a column whose kind the job does not tell comes as text; in a whole file as numbers where all are.
    """
    for file in files:
        table = _Table(file, reading)
        names = reading.choose(table.names(), file.name)
        yield from table.whole(names) if reading.whole else table.blocks(names)


OnBad = Callable[[str], None]
"""Is told of each row that is left out."""


@dataclass(frozen=True)
class _Table:
    file: File
    reading: Reading

    def names(self) -> list[str]:
        """The columns of the file, as its header or `read.names` has them."""
        options = self._convert([], {})
        return list(self._attempt(lambda: self._open(options, lambda problem: None).schema.names))

    def whole(self, names: list[str]) -> Iterator[Block]:
        """All rows as one block."""
        skipped: list[str] = []
        try:
            table = self._read(self._texts(names), skipped.append, threads=True)
        except (pa.ArrowInvalid, OSError, UnicodeError):
            # Once more by one thread, which can say which row is ragged.
            skipped.clear()
            table = self._attempt(lambda: self._read(self._texts(names), skipped.append, threads=False))
        for problem in skipped:
            self.reading.bad.add(problem)
        yield Block({name: self._typed(name, table[name]) for name in names}, self.file.name, 1)

    def blocks(self, names: list[str]) -> Iterator[Block]:
        """The rows in blocks of bounded memory."""
        reader = self._attempt(lambda: self._open(self._texts(names), self.reading.bad.add))
        row = 1
        while (batch := self._attempt(lambda: next(reader, None))) is not None:
            if batch.num_rows:
                columns = {name: self._typed(name, batch.column(name)) for name in names}
                yield Block(columns, self.file.name, row)
            row += batch.num_rows

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

    def _texts(self, names: list[str]) -> pa.csv.ConvertOptions:
        return self._convert(names, dict.fromkeys(names, pa.string()))

    def _convert(self, names: list[str], types: dict[str, pa.DataType]) -> pa.csv.ConvertOptions:
        return pa.csv.ConvertOptions(
            column_types=types,
            include_columns=names,
            strings_can_be_null=True,
            null_values=[""],  # what other texts mean is for preprocessing to say
        )

    def _read(self, convert: pa.csv.ConvertOptions, on_bad: OnBad, *, threads: bool) -> pa.Table:
        skips = self.reading.bad.skip  # only one thread can say which row it was
        with self._source() as source:
            return pa.csv.read_csv(source, self._options(threads and not skips), self._parse(on_bad), convert)

    def _open(self, convert: pa.csv.ConvertOptions, on_bad: OnBad) -> Any:
        return pa.csv.open_csv(self._source(), self._options(False), self._parse(on_bad), convert)

    def _options(self, threads: bool) -> pa.csv.ReadOptions:
        read = self.reading.read
        return pa.csv.ReadOptions(
            use_threads=threads,
            block_size=BLOCK_BYTES if not self.reading.whole else None,
            column_names=list(read.names) if read.names else None,
            skip_rows=1 if read.names and read.has_header else 0,
            encoding="utf8" if self._rewritten else read.encoding.replace("utf-8", "utf8"),
        )

    def _parse(self, on_bad: OnBad) -> pa.csv.ParseOptions:
        read = self.reading.read
        quote = '"' if self._rewritten else read.quote

        def skip(row: Any) -> str:
            counts = f"expected {row.expected_columns} columns, got {row.actual_columns}"
            on_bad(f"{self.file.name}, row {row.number}: {counts}")
            return "skip"

        return pa.csv.ParseOptions(
            delimiter="," if self._rewritten else self._separator,
            quote_char=quote or False,
            newlines_in_values=quote is not None,
            invalid_row_handler=skip if self.reading.bad.skip else None,
        )

    @property
    def _separator(self) -> str:
        tabs = ".tsv" in self.file.base.lower()
        return self.reading.read.separator or ("\t" if tabs else ",")

    @property
    def _rewritten(self) -> bool:
        """Arrow knows neither comments nor spaces around values."""
        return self.reading.read.trim or self.reading.read.comment is not None

    def _source(self) -> Any:
        if not self._rewritten:
            return _open_stream(self.file)
        lines = io.TextIOWrapper(_open_stream(self.file), encoding=_with_mark(self.reading.read.encoding), newline="")
        return pa.PythonFile(_Rewriting(lines, self.reading.read, self._separator), mode="r")

    def _attempt(self, call: Callable[[], Any]) -> Any:
        """Call, and raise DataError with the file's name for what a file can have wrong."""
        try:
            return call()
        except (pa.ArrowException, OSError, EOFError, UnicodeError, csv.Error) as error:
            text = " ".join(str(error).split())
            raise DataError(f"{self.file.name}: cannot be read as CSV: {text}{self._fix(text)}") from error

    def _fix(self, problem: str) -> str:
        if "utf" in problem.lower():
            return "; save it as UTF-8, or give data.read.encoding, such as latin-1"
        return separator_hint(self._first_line()) if self.reading.read.separator is None else ""

    def _first_line(self) -> str:
        try:
            with _open_stream(self.file) as stream:
                return bytes(stream.read(10_000)).split(b"\n")[0].decode(errors="replace")
        except (pa.ArrowException, OSError):
            return ""


def _open_stream(file: File) -> Any:
    # Of a folder, this says that it is one; a file system would speak of an input/output error.
    local = isinstance(file.system, pa.fs.LocalFileSystem)
    return pa.input_stream(file.path) if local else file.stream()


def _with_mark(encoding: str) -> str:
    """The same encoding, with a byte order mark at the start taken for what it is."""
    return "utf-8-sig" if encoding == "utf-8" else encoding


class _Rewriting(io.RawIOBase):
    """CSV of a user's dialect, read as CSV of the plain one: commas, double quotes, no comments, no spaces around."""

    def __init__(self, lines: io.TextIOWrapper, read: ReadSpec, separator: str) -> None:
        self._lines = lines
        self._trim = read.trim
        kept = (line for line in lines if not line.startswith(read.comment)) if read.comment is not None else lines
        self._rows = csv.reader(
            kept,
            delimiter=separator,
            quotechar=read.quote,
            quoting=csv.QUOTE_NONE if read.quote is None else csv.QUOTE_MINIMAL,
            skipinitialspace=read.trim,
        )
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            self._left = self._next_rows()
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size

    def read(self, size: int = -1) -> bytes:
        if not self._left:
            self._left = self._next_rows()
        taken, self._left = (self._left, b"") if size < 0 else (self._left[:size], self._left[size:])
        return taken

    def close(self) -> None:
        self._lines.close()
        super().close()

    def _next_rows(self, count: int = 2000) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for row in itertools.islice(self._rows, count):
            if row:
                writer.writerow([value.strip() for value in row] if self._trim else row)
        return text.getvalue().encode("utf-8")
