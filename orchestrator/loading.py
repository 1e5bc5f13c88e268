"""Whether the rows of a job are held in memory or streamed from disk: as the job says, or as they fit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from configs.errors import SpecError
from configs.job import JobSpec
from configs.source import is_url
from orchestrator.sources import found_files
from orchestrator.sources.places import COMPRESSIONS, Found

GROWTH = {"csv": 6, "parquet": 6, "json": 8, "tfrecord": 6, "npz": 3, "idx": 4, "images": 20, "text": 8}
"""Bytes in memory for a byte of a file, while rows are loaded: raw values, texts as Python objects among them, and
preprocessed ones."""
COMPRESSED = 4
SHARE = 0.5
"""Of the free memory that rows may take."""


@dataclass(frozen=True)
class Loading:
    """How rows get to the workers, and why so. files: of each part; none where a function gives the rows."""

    streams: bool
    why: str
    files: Mapping[str, Found] = field(default_factory=dict)

    @property
    def anywhere(self) -> bool:
        """Whether every host sees the files: they have URLs."""
        return all(is_url(file.name) for found in self.files.values() for file in found.files)

    def __str__(self) -> str:
        return f"loading: {'streaming' if self.streams else 'indexed'}, {self.why}"


def choose_loading(spec: JobSpec) -> Loading:
    """Raises DataError where a file is not there, SpecError where streaming is asked of what cannot be streamed."""
    data = spec.data
    if data.function is not None:
        if data.loading == "streaming":
            raise SpecError("data.loading=streaming needs files, but data.function gives arrays; write them to files")
        return Loading(False, f"as {data.function} gives all rows at once")
    files = found_files(spec)
    if data.loading != "auto":
        return Loading(data.loading == "streaming", f"as data.loading={data.loading}", files)
    if data.window is not None:
        return Loading(False, "as windows need all rows", files)
    needed, free = sum(map(_memory, files.values())), free_memory()
    sizes = f"as the rows need about {_size(needed)} and {_size(int(SHARE * free))} of memory is for them"
    return Loading(needed > SHARE * free, sizes, files)


def _memory(found: Found) -> int:
    """Bytes that the rows of files will take."""
    return sum(
        file.size * GROWTH[found.format] * (COMPRESSED if file.base.lower().endswith(COMPRESSIONS) else 1)
        for file in found.files
    )


def free_memory() -> int:
    """Bytes that this process may still take: of the machine, or of the container that it runs in."""
    free = psutil.virtual_memory().available
    for limit, used in CGROUPS:
        try:
            free = min(free, int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # no such file, or the limit is "max"
            continue
    return max(free, 0)


CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
