"""Files -> pieces that can be read apart from each other, each in a task of its own."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from configs.data import DataSpec
from orchestrator.sources import parquet_files
from orchestrator.sources.blocks import BadRows, Reading
from orchestrator.sources.places import File, Found

PIECE_BYTES = 64 * 2**20
"""About how much a piece has: enough that the start of a task does not count."""
PIECE_FILES = 4096


@dataclass(frozen=True)
class Piece:
    """Some files one after the other, or some row groups of one, of a part's files.

    part: `train` where the rows are still to be split, else the part that they are.
    numbers: columns that hold numbers, though the job does not say so. image_size: (height, width) of images that are
    not resized. Both are alike for all pieces.
    """

    part: str
    found: Found
    numbers: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None

    def reading(self, data: DataSpec, bad: BadRows) -> Reading:
        """How its files are read, block by block."""
        reading = Reading.of(data, bad, whole=False, more=dict.fromkeys(self.numbers, "number"))
        return replace(reading, image_size=self.image_size)


def pieces_of(found: Mapping[str, Found]) -> list[Piece]:
    """The files of all parts in their order; small files together, large Parquet files by their row groups."""
    return [
        Piece(part, replace(each, files=files)) for part, each in found.items() for files in _together(_divided(each))
    ]


def _divided(found: Found) -> Iterator[File]:
    for file in found.files:
        if found.format != "parquet" or file.size <= PIECE_BYTES:
            yield file
            continue
        groups: list[int] = []
        size = 0
        for number, group_bytes in enumerate(parquet_files.row_groups(file)):
            if groups and size + group_bytes > PIECE_BYTES:
                yield replace(file, row_groups=tuple(groups), size=size)
                groups, size = [], 0
            groups.append(number)
            size += group_bytes
        yield replace(file, row_groups=tuple(groups), size=size)


def _together(files: Iterator[File]) -> Iterator[list[File]]:
    some: list[File] = []
    size = 0
    for file in files:
        # An empty file goes with others, as what is said of it depends on whether there are any.
        if (size and file.size and size + file.size > PIECE_BYTES) or len(some) == PIECE_FILES:
            yield some
            some, size = [], 0
        some.append(file)
        size += file.size
    if some:
        yield some
