"""What the readers of all formats share: a block of rows, what is to be read, and the rows that cannot be."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from configs.data import DataSpec
from configs.errors import DataError
from configs.features import EVERY_OTHER
from configs.preprocessing.raw import objects, of_arrow, of_lists, of_values
from configs.source import ReadSpec

Kind = Literal["text", "number", "array", "image"]
BLOCK_BYTES = 16 * 2**20
"""About how much of a file a reader holds at once; decoded rows may take several times as much."""
BLOCK_ROWS = 65_536
SHOWN = 5
"""So many of the rows that were left out are named."""
NAMES_SHOWN = 20


@dataclass(frozen=True)
class Block:
    """Some rows of a file: arrays with the rows as first axis, by column.

    first_row: the number of its first row in the file, from 1. Whatever its format, a file's rows are numbered by what
    could be a row: those that cannot be read count, headers, comments and blank lines of CSV and JSON do not.
    numbers: (rows,) the number of each, where some in between are left out. files: of each row, where a file
    is a row.
    """

    columns: dict[str, np.ndarray]
    file: str
    first_row: int
    files: tuple[str, ...] = ()
    numbers: np.ndarray | None = None

    @classmethod
    def numbered(cls, columns: dict[str, np.ndarray], file: str, numbers: Sequence[int] | np.ndarray) -> "Block":
        """numbers: of each row, rising."""
        if not len(numbers):
            return cls(columns, file, 1)
        together = numbers[-1] - numbers[0] + 1 == len(numbers)
        return cls(columns, file, int(numbers[0]), numbers=None if together else np.array(numbers, np.int64))

    @property
    def rows(self) -> Sequence[int] | np.ndarray:
        """The number of each row in the file."""
        return range(self.first_row, self.first_row + len(self)) if self.numbers is None else self.numbers

    def place(self, row: int) -> tuple[str, int]:
        """(file, row from 1 in it) of a row of the block, from 0."""
        if self.files:
            return self.files[row], 1
        return self.file, self.first_row + row if self.numbers is None else int(self.numbers[row])

    @property
    def places(self) -> list[tuple[str, Sequence[int] | np.ndarray]]:
        """(file, numbers in it) of the rows one after the other."""
        return [(file, range(1, 2)) for file in self.files] or [(self.file, self.rows)]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0


@dataclass
class BadRows:
    """Rows that cannot be read: the first ends the job, or all are left out, counted, and the first few named."""

    skip: bool = False
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, problem: str, fix: str = "") -> None:
        """problem: names the file, the row and what is wrong; fix: what to do, where the row is not left out.

        Raises DataError unless bad rows are to be left out.
        """
        if not self.skip:
            raise DataError(f"{problem}; {fix}" if fix else problem)
        self.count += 1
        if len(self.examples) < SHOWN:
            self.examples.append(problem)

    def merged(self, other: "BadRows") -> "BadRows":
        """Those of two readers together."""
        return BadRows(self.skip, self.count + other.count, [*self.examples, *other.examples][:SHOWN])

    def told(self) -> list[str]:
        """One line for the log where rows were left out."""
        if not self.count:
            return []
        more = "; ..." if self.count > len(self.examples) else ""
        return [f"left out {self.count} row(s) that cannot be read: {'; '.join(self.examples)}{more}"]


@dataclass
class Notes:
    """What was done to pictures and texts that a user may not expect: how often, and the first of them."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, what: str, example: str, count: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + count
        self.examples.setdefault(what, example)

    def update(self, other: "Notes") -> None:
        """Add those of another reader."""
        for what, count in other.counts.items():
            self.add(what, other.examples[what], count)

    def told(self) -> list[str]:
        """One line for the log for each kind."""
        return [f"{count:,} {what}, such as {self.examples[what]}" for what, count in self.counts.items()]


@dataclass(frozen=True)
class Reading:
    """What a reader is asked for.

    kinds: how the job uses a column, where it says so; the others keep the type they have in the file.
    wanted: columns to read; None reads all. required: those that must be there then.
    whole: the rows will be held in memory together, so a block may be a whole file.
    image_size: (height, width) of images that are not resized; by default that of the first file.
    blank_lines: whether a blank line of a text file is a row, without a text.
    """

    read: ReadSpec = ReadSpec()
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    wanted: tuple[str, ...] | None = None
    required: tuple[str, ...] = ()
    bad: BadRows = field(default_factory=BadRows)
    whole: bool = False
    image_size: tuple[int, int] | None = None
    notes: Notes = field(default_factory=Notes)
    blank_lines: bool = False

    @classmethod
    def of(
        cls, data: DataSpec, bad: BadRows, *, whole: bool, more: Mapping[str, Kind] = MappingProxyType({})
    ) -> "Reading":
        """What a job reads from its files. more: kinds of columns whose kind the job does not tell."""
        wanted = None if EVERY_OTHER in data.features else tuple(data.columns)
        return cls(data.read, {**more, **column_kinds(data)}, wanted, tuple(data.columns), bad, whole)

    def choose(self, names: Iterable[str], source: str, hint: Callable[[], str] | None = None) -> list[str]:
        """The columns to read of those that are there. Raises DataError where one is missing, or used and there twice.

        hint: what to do where one is missing.
        """
        found = list(names)
        used = [name for name in found if self.wanted is None or name in self.wanted]
        twice = next((name for name in used if used.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"{source}: the header has column {twice!r} twice; rename one")
        require_columns(found, self.needed, source, hint)
        return used

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that must be there."""
        return self.wanted or self.required


def column_kind(kind: str) -> Kind:
    """How a feature of this kind uses its column."""
    return _KINDS[kind]


def column_kinds(data: DataSpec) -> dict[str, Kind]:
    """How the job uses each column that it names; a column of kind auto is not in it."""
    kinds: dict[str, Kind] = {name: _KINDS[spec.kind] for name, spec in data.features.items() if spec.kind in _KINDS}
    # An id or group of 007 stays 007; a column to sort or split by in time may hold dates or numbers.
    group = data.split.column if data.split.by == "group" else None
    names = [name for name in (data.id, group, data.window.group if data.window else None) if name]
    kinds |= {name: "text" for name in names if name not in data.features}
    kinds |= {name: "text" for name in data.columns if data.formats_of(name)}  # 01022024 keeps its zero
    # In a series the target may be a feature too, and is a number then.
    one: Kind = "number" if data.target.kind == "number" or data.target.columns else "text"
    kinds |= dict.fromkeys(data.target.source_columns, one)
    return kinds


_KINDS: dict[str, Kind] = {
    "number": "number",
    "category": "text",
    "date": "text",
    "text": "text",
    "image": "image",
    "tensor": "array",
}


def require_columns(
    columns: Iterable[str], wanted: Iterable[str], source: str, hint: Callable[[], str] | None = None
) -> None:
    """Raise DataError naming the first wanted column that is missing; hint: what to do then."""
    found = list(columns)
    for name in wanted:
        if name not in found:
            more = hint() if hint else _alike(name, found)
            raise DataError(f"{source} has no column {name!r}; it has {names_shown(found)}{more}")


def _alike(name: str, found: list[str]) -> str:
    """What to add to an error where a column has the name but for spaces and capitals."""
    alike = next((one for one in found if one.strip().lower() == name.strip().lower()), None)
    return "" if alike is None else f". Did you mean {alike!r}?"


def names_shown(names: Sequence[str]) -> str:
    """Names of columns in quotes, so that spaces can be seen; the first of many."""
    more = f", ... ({len(names)} in all)" if len(names) > NAMES_SHOWN else ""
    return ", ".join(f"{name!r:.60}" for name in names[:NAMES_SHOWN]) + more


def encoding_fix(encoding: str) -> str:
    """What to do about bytes that are not of the encoding."""
    others = "latin-1 or cp1252" if encoding == "utf-8" else "utf-8 or latin-1"
    return f"give data.read.encoding, such as {others}, or save the file as UTF-8"


def from_arrow(column: pa.Array | pa.ChunkedArray, kind: Kind | None = None) -> np.ndarray:
    """An Arrow column as a raw array; kind: how the job uses it, where it says so."""
    return of_arrow(column, as_number=kind == "number")


def from_values(values: list[Any], kind: Kind | None) -> np.ndarray:
    """Python values of a column -> an array: of numbers where all are, else of objects with None."""
    if kind in {"array", "image"} or (kind is None and values and all(isinstance(value, list) for value in values)):
        return of_lists(values)
    return objects(values) if kind == "text" else of_values(values)
