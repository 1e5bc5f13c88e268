"""Whether the rows of a job are held in memory or streamed from disk: as the job says, or as they fit."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import numpy as np
import psutil

from configs.errors import SpecError
from configs.job import JobSpec
from orchestrator.sources import found_files
from orchestrator.sources.functions import called_source
from orchestrator.sources.places import COMPRESSIONS, File, Found

GROWTH = {"csv": 6, "parquet": 6, "json": 8, "tfrecord": 6, "npz": 3, "idx": 4, "images": 20, "text": 8}
"""Bytes in memory for a byte of a file, while rows are loaded: raw values, texts as Python objects among them, and
preprocessed ones."""
COMPRESSED = 4
SHARE = 0.5
"""Of the free memory that rows may take."""


@dataclass(frozen=True)
class Loading:
    """How rows get to the workers, and why so.

    files: of each part. columns: the rows that a function gave, which are in memory then.
    """

    streams: bool
    why: str
    files: Mapping[str, Found] = field(default_factory=dict)
    columns: Mapping[str, np.ndarray] | None = None

    def __str__(self) -> str:
        return f"loading: {'streaming' if self.streams else 'indexed'}, {self.why}"


@contextmanager
def chosen_loading(spec: JobSpec) -> Iterator[Loading]:
    """Raises DataError where a file is not there, SpecError where streaming is asked of what cannot be streamed."""
    if spec.data.function is None:
        yield _of_files(spec)
        return
    folder = spec.folder.absolute() / "stream" / f"source-{uuid4().hex}"
    try:
        yield _of_function(spec, folder)
    finally:
        remove(folder)


def remove(folder: Path) -> None:
    """Remove a folder of stored rows, and the one it lies in with the last of them."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()


def _of_files(spec: JobSpec) -> Loading:
    data, files = spec.data, found_files(spec)
    if data.loading != "auto":
        return Loading(data.loading == "streaming", f"as data.loading={data.loading}", files)
    if data.window is not None:
        return Loading(False, "as windows need all rows", files)
    return Loading(*_by_size(sum(map(_memory, files.values()))), files)


def _of_function(spec: JobSpec, folder: Path) -> Loading:
    data, found = spec.data, called_source(spec.data, spec.home, folder, _wants_disk(spec))
    if isinstance(found, File):
        return Loading(True, f"as data.loading={data.loading}", {"train": Found([found], "parquet")})
    if data.loading == "streaming":
        raise SpecError(
            f"data.loading=streaming needs files or a ray.data.Dataset, but {data.function} gives rows in memory; "
            "write them to files, or leave data.loading out"
        )
    return Loading(False, f"as {data.function} gives all rows at once", columns=found)


def _wants_disk(spec: JobSpec) -> Callable[[int], bool]:
    """Whether a data set of so many bytes is to be streamed."""
    data = spec.data
    if data.loading == "auto" and data.window is None:
        return lambda size: _by_size(size * GROWTH["parquet"])[0]
    return lambda size: data.loading == "streaming"


def _by_size(needed: int) -> tuple[bool, str]:
    free = int(SHARE * free_memory())
    return needed > free, f"as the rows need about {size_shown(needed)}, and {size_shown(free)} of memory is for them"


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


def size_shown(count: int) -> str:
    """Bytes for a person."""
    unit, name = next(((unit, name) for unit, name in UNITS if count >= unit), UNITS[-1])
    return f"{count / unit:,.1f} {name}"


UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
