"""Which files a folder or a glob stands for, found level by level, and which of them are left out."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import fsspec  # type: ignore[import-untyped]
import pyarrow.fs as fs

JUNK = re.compile(
    r"(thumbs\.db|desktop\.ini|__macosx|\$recycle\.bin|@eadir|_success|_temporary|_tmp|_metadata|_common_metadata"
    r"|_delta_log|_spark_metadata|_(started|committed)_\d+|.*_\$folder\$)",
    re.IGNORECASE,
)
"""Names of files and folders that operating systems, and programs that write tables, leave beside the data."""
MAGIC = re.compile(r"[*?\[]")


@dataclass
class LeftOut:
    """Files that are there and are not read: how many for each reason, and one of them."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, example: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1
        self.examples.setdefault(reason, example)

    def __str__(self) -> str:
        """Such as `2 hidden (such as cat/.DS_Store), 1 named .md (such as notes.md)`."""
        return ", ".join(
            f"{count} {reason} (such as {self.examples[reason]})" for reason, count in self.counts.items()
        )

    def told(self, place: str) -> list[str]:
        """One line for the log where files were left out."""
        return [f"left out {sum(self.counts.values())} file(s) of {place}: {self}"] if self.counts else []


@dataclass(frozen=True)
class Listed:
    """What a path stands for.

    root: the folder below which it was looked for. infos: the pyarrow.fs.FileInfo of each file, by path.
    chosen: whether each file was named or matched by a glob, and not merely found in a folder.
    """

    root: str
    infos: list[Any]
    chosen: bool


def listed(system: Any, path: str, left_out: LeftOut) -> Listed | None:
    """The files that a path stands for, without junk; None where nothing is there."""
    info = system.get_file_info(path)
    if info.type == fs.FileType.File:
        return Listed(path.rpartition("/")[0], [info], True)
    if info.type == fs.FileType.Directory:
        return Listed(path.rstrip("/"), _kept(path, walked(system, path, left_out), left_out), False)
    if not MAGIC.search(path):
        return None
    root = MAGIC.split(path)[0].rpartition("/")[0]
    found = list(_matches(system, root, path[len(root) :].strip("/").split("/")))
    files = _kept(root, [one for one in found if one.type == fs.FileType.File], left_out)
    if files:
        return Listed(root, files, True)
    folders = [one.path for one in found if one.type == fs.FileType.Directory and not _junk(one.path, root)]
    below = [one for folder in sorted(folders) for one in walked(system, folder, left_out)]
    return Listed(root, _kept(root, below, left_out), False) if folders else None


def _matches(system: Any, folder: str, parts: Sequence[str]) -> Iterator[Any]:
    """The FileInfo of what matches a glob below a folder; folders that it does not reach into are not listed."""
    part, *rest = parts
    if "**" in part or system.type_name == "gcs":  # whose listing of one level lacks the folders
        matches = re.compile(fsspec.utils.glob_translate("/".join(parts))).match
        for info in walked(system, folder, LeftOut()):
            if matches(_below(info.path, folder)):
                yield info
        return
    if not MAGIC.search(part):
        yield from _named(system, f"{folder}/{part}" if folder else part, rest)
        return
    matches = re.compile(fsspec.utils.glob_translate(part)).match
    found = [info for info in _children(system, folder) if matches(info.path.rstrip("/").rpartition("/")[2])]
    if not rest:
        yield from found
        return
    for info in found:
        if info.type == fs.FileType.Directory:
            yield from _matches(system, info.path.rstrip("/"), rest)


def _named(system: Any, path: str, rest: Sequence[str]) -> Iterator[Any]:
    """What matches below a part of the glob that is no pattern: whether it is there shows at the end."""
    if rest:
        yield from _matches(system, path, rest)
        return
    info = system.get_file_info(path)
    if info.type != fs.FileType.NotFound:
        yield info


def walked(system: Any, folder: str, left_out: LeftOut) -> list[Any]:
    """All files below a folder. Folders behind links belong to it; what is no file that can be read is left out."""
    if isinstance(system, fs.LocalFileSystem):
        return list(_walked_here(folder, folder, (), left_out))
    found = system.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
    return [info for info in found if info.type == fs.FileType.File and not info.path.endswith("/")]


def _walked_here(folder: str, root: str, above: tuple[tuple[int, int], ...], left_out: LeftOut) -> Iterator[Any]:
    here = os.stat(folder)
    if (here.st_dev, here.st_ino) in above:
        return  # a link to a folder that it lies in
    with os.scandir(folder) as found:
        entries = list(found)
    for entry in entries:
        path = f"{folder.rstrip('/')}/{entry.name}"
        if entry.is_dir():
            yield from _walked_here(path, root, (*above, (here.st_dev, here.st_ino)), left_out)
        elif entry.is_file():
            yield fs.FileInfo(path, fs.FileType.File, size=entry.stat().st_size)
        else:
            left_out.add("broken links or devices", _below(path, root))


def _children(system: Any, folder: str) -> list[Any]:
    """What lies in a folder, by name; nothing where there is none."""
    selector = fs.FileSelector(folder, allow_not_found=True)
    try:
        found = system.get_file_info(selector)
    except NotADirectoryError:
        return []
    return sorted(found, key=lambda info: str(info.path))


def _kept(root: str, infos: list[Any], left_out: LeftOut) -> list[Any]:
    """The files that are not junk, by path."""
    kept = []
    for info in sorted(infos, key=lambda info: str(info.path)):
        reason = _junk(info.path, root)
        if reason:
            left_out.add(reason, _below(info.path, root))
        else:
            kept.append(info)
    return kept


def _below(path: str, root: str) -> str:
    return path[len(root.rstrip("/")) :].lstrip("/") if root else path


def _junk(path: str, root: str) -> str:
    """Why a file is left out whatever it holds; empty where it is not. Only what lies below the root is asked."""
    parts = _below(path, root).split("/")
    if any(part.startswith(".") for part in parts):
        return "hidden"
    return "that other programs leave behind" if any(JUNK.fullmatch(part) for part in parts) else ""
