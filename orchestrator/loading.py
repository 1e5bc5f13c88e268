"""Whether the rows of a job are held in memory or streamed from disk: as the job says, or as they fit."""

import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from configs.errors import SpecError
from configs.job import JobSpec
from orchestrator.datasets import Learned, learn
from orchestrator.limits import free_memory
from orchestrator.memory import size_shown
from orchestrator.sources import found_files
from orchestrator.sources.functions import called_source
from orchestrator.sources.pictures import pixel_bytes
from orchestrator.sources.places import COMPRESSIONS, Found

GROWTH = {"csv": 6, "parquet": 6, "json": 8, "tfrecord": 6, "npz": 3, "idx": 4, "images": 20, "text": 8}
"""Bytes in memory for a byte of a file, while rows are loaded: raw values, texts as Python objects among them, and
preprocessed ones."""
COMPRESSED = 4
DECODED = 3
"""Bytes in memory for a byte of pixels that a column of paths stands for."""
SHARE = 0.5
"""Of the free memory that rows may take."""


@dataclass(frozen=True)
class Loading:
    """How rows get to the workers, and why so.

    files: of each part. columns: the rows that a function gave, which are in memory then. learned: what was read and
    learned to find out.
    """

    streams: bool
    why: str
    files: Mapping[str, Found] = field(default_factory=dict)
    columns: Mapping[str, np.ndarray] | None = None
    learned: Learned | None = None

    def __str__(self) -> str:
        return f"loading: {'streaming' if self.streams else 'indexed'}, {self.why}"


@contextmanager
def chosen_loading(spec: JobSpec) -> Iterator[Loading]:
    """Raises DataError where a file is not there, SpecError where streaming is asked of what cannot be streamed."""
    folder = stream_folder(spec)
    try:
        yield _of_files(spec) if spec.data.function is None else _of_function(spec, folder / "source")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            folder.parent.rmdir()  # the last one shuts the door


def stream_folder(spec: JobSpec) -> Path:
    """Where this process stores rows. Folders of processes of this host that were killed are removed first."""
    parent, host = spec.folder.absolute() / "stream", socket.gethostname()
    for left in parent.glob(f"{host}-*"):
        pid = left.name.removeprefix(f"{host}-")
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    return parent / f"{host}-{os.getpid()}"


def _of_files(spec: JobSpec) -> Loading:
    data, files = spec.data, found_files(spec)
    if data.loading != "auto":
        return Loading(data.loading == "streaming", f"as data.loading={data.loading}", files)
    if data.window is not None:
        return Loading(False, "as windows need all rows", files)
    pixels = sum(pixel_bytes(data, found) for found in files.values())
    by_files = _by_size(sum(map(_memory, files.values())) + DECODED * pixels)
    if by_files[0]:
        return Loading(*by_files, files)
    # What was read fits; what the model sees of it may be far more: one_hot, windows and words tell only now.
    learned = learn(spec, files)
    streams, why = _by_size(learned.nbytes)
    return Loading(streams, why, files, learned=None if streams else learned)


def _of_function(spec: JobSpec, folder: Path) -> Loading:
    data, found = spec.data, called_source(spec.data, spec.home, folder, _wants_disk(spec))
    if isinstance(found, Found):
        return Loading(True, f"as data.loading={data.loading}", {"train": found})
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
