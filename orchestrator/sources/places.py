"""Files, folders and globs, on this machine and elsewhere -> the files that hold rows, in a stable order."""

import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fsspec  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.fs

from configs.errors import DataError, one_line
from configs.secrets import masked
from configs.source import Format, is_url
from orchestrator.sources.archives import member_name, open_only_member
from orchestrator.sources.listing import LeftOut, Listed, listed

READ_ERRORS = (pa.ArrowException, OSError, EOFError, UnicodeError, zlib.error, zipfile.BadZipFile)
"""What may be raised while a file is read: it is damaged, or not what its name says."""


@dataclass(frozen=True)
class File:
    """A file that can be read."""

    name: str
    """As a user knows it: an absolute path, or a URL."""
    path: str
    """As its file system knows it."""
    system: Any
    """A pyarrow.fs.FileSystem."""
    size: int = 0
    """Bytes, as far as they are known."""
    row_groups: tuple[int, ...] | None = None
    """Of a Parquet file those that are to be read; None for all."""
    below: str = ""
    """Its path below the folder, or the fixed part of the glob, that the job names; the last part for a named file."""
    branch: str = ""
    """The first folder of `below`; where the place is a class folder itself, one of several, its name; else empty."""

    def stream(self) -> Any:
        """A pyarrow.NativeFile of the bytes from the start, decompressed where the name says so."""
        if self.is_zip:
            return pa.PythonFile(open_only_member(self.seekable(), self.name), mode="r")
        if isinstance(self.system, pa.fs.LocalFileSystem):
            # Of a folder, this says that it is one; the file system would speak of an input/output error.
            return pa.input_stream(self.path)
        return self.system.open_input_stream(self.path)

    def seekable(self) -> Any:
        """The bytes in any order, as they are: a pyarrow.NativeFile."""
        return self.system.open_input_file(self.path)

    def read(self) -> bytes:
        """All bytes, decompressed."""
        with self.stream() as stream:
            return bytes(stream.read())

    @property
    def is_zip(self) -> bool:
        """Whether it is an archive, of one file."""
        return self.path.lower().endswith(".zip")

    @property
    def base(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """The name of the folder it lies in."""
        return self.path.rpartition("/")[0].rpartition("/")[2]

    @property
    def place(self) -> str:
        """The name of the folder below which the job has it found."""
        return self.path.removesuffix(self.below).rstrip("/").rpartition("/")[2]


def local_file(path: Path) -> File:
    """A file on this machine."""
    return File(str(path), str(path.absolute()), pa.fs.LocalFileSystem(), path.stat().st_size)


def find_file(path: Path, home: Path) -> Path:
    """Return the first that exists of: the path seen from the working folder, and from the YAML file's folder."""
    candidates = _candidates(path, home)
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    places = " or ".join(str(candidate.parent) for candidate in candidates)
    raise DataError(
        f"data.csv={path}: no such file in {places}. Correct it, or give data.csv=PATH after the YAML file"
    )


def _candidates(path: Path, home: Path) -> list[Path]:
    return list(dict.fromkeys([path.absolute(), (home / path).absolute()]))


COMPRESSIONS = (".gz", ".bz2", ".zst", ".lz4", ".br", ".zip")
FORMATS: dict[str, str] = {
    "csv": r"\.(csv|tsv)",
    "parquet": r"\.(parquet|pq)",
    "json": r"\.(jsonl|ndjson|json)",
    "tfrecord": r"\.tfrecords?(-\d+-of-\d+)?",
    "npz": r"\.npz",
    "idx": r"([-.]idx\d-ubyte|\.idx)",
    "images": r"\.(jpe?g|jpe|jfif|a?png|bmp|gif|webp|tiff?|p[pgbn]m)",
    "text": r"\.txt",
}
"""How the name of a file of each format ends."""


def format_of(name: str) -> str | None:
    """The format that a file's name tells; None where it tells none."""
    plain = name.lower()
    for compression in COMPRESSIONS:
        plain = plain.removesuffix(compression)
    return next((kind for kind, ending in FORMATS.items() if re.search(f"{ending}$", plain)), None)


def _format_of_content(file: File) -> str | None:
    """The format that the name of a file tells, or that of the file in an archive."""
    told = format_of(file.base)
    return format_of(member_name(file.seekable(), file.name)) if told is None and file.is_zip else told


@dataclass(frozen=True)
class Found:
    """Files of one format. told: lines on the files beside them that are left out."""

    files: list[File]
    format: str
    told: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Place:
    """A file, folder or glob as the job names it. key: the setting, for error messages; given: data.format."""

    text: str
    home: Path
    given: Format | None
    key: str
    several: bool
    left_out: LeftOut = field(default_factory=LeftOut)

    def __str__(self) -> str:
        return f"{self.key}={masked(self.text)}"


def find(places: Sequence[str], home: Path, given: Format | None, key: str) -> Found:
    """Resolve what `data.files` and its kin name, each place in the order given and the files of one by name.

    key: the setting, for error messages. Raises DataError where a place is not there or cannot be reached, a glob or
    folder holds no file, or the files are of several formats.
    """
    files: list[File] = []
    told: list[str] = []
    for text in places:
        place = _Place(text, home, given, key, len(places) > 1)
        try:
            files += _at_url(place) if is_url(text) else _on_this_machine(place)
        except (OSError, pa.ArrowException, ImportError, ValueError) as error:
            raise DataError(f"{place}: {_reason(text, error)}") from error
        told += place.left_out.told(str(place))
    return Found(files, _one_format(files, given, key), tuple(told))


def _one_format(files: list[File], given: Format | None, key: str) -> str:
    kinds = {given or _format_of_content(file): file for file in files}
    if len(kinds) > 1:
        first, second = list(kinds.items())[:2]
        raise DataError(
            f"{key}: {first[1].name} is {first[0] or 'of an unknown format'}, {second[1].name} is "
            f"{second[0] or 'of an unknown format'}; name files of one format, or give data.format"
        )
    (kind, file), *_ = kinds.items()
    if kind is None:
        raise DataError(f"{key}: the name of {file.name} tells no format; give data.format ({', '.join(FORMATS)})")
    return kind


def _reason(place: str, error: Exception) -> str:
    text = masked(one_line(error))
    if any(sign in text for sign in ("ACCESS_DENIED", "HTTP status 403", "PermissionDenied", "credentials")):
        fix = FIXES.get(place.partition("://")[0], "give credentials that may read it")
        return f"access is denied; {fix} ({text})"
    return f"cannot be reached: {text}"


FIXES = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, for an account that may read it",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS for an account that may read it",
}
"""What to do where access is denied, by the scheme of the URL. Credentials never stand in a YAML file."""


def _on_this_machine(place: _Place) -> list[File]:
    system = pa.fs.LocalFileSystem()
    candidates = [str(candidate) for candidate in _candidates(Path(place.text), place.home)]
    for candidate in candidates:
        found = listed(system, candidate, place.left_out)
        if found is not None:
            return _files(place, found, system, "")
    places = " or ".join(str(Path(candidate).parent) for candidate in candidates)
    raise DataError(f"{place}: no such file, folder or match in {places}; correct it")


def _at_url(place: _Place) -> list[File]:
    system, path = file_system(place.text)
    found = listed(system, path, place.left_out)
    if found is None:
        raise DataError(f"{place}: no such file, folder or match; correct it")
    return _files(place, found, system, _prefix(place.text, path))


def _prefix(url: str, path: str) -> str:
    """What stands before a path of its file system in the URL, without credentials."""
    return masked(url[: len(url) - len(path)] if url.endswith(path) else f"{url.partition('://')[0]}://")


def _files(place: _Place, found: Listed, system: Any, prefix: str) -> list[File]:
    """The files of the format, each with its place below the root. Raises DataError where there is none."""
    infos = _not_of_others(found, place) if found.chosen else _of_format(found, place)
    if not infos:
        others = f"; it holds {place.left_out}" if place.left_out.counts else ""
        known = f"format {place.given}{others}" if place.given else f"a known format; give data.format{others}"
        raise DataError(f"{place}: is a folder without a file of {known}")
    start = len(found.root.rstrip("/")) + 1 if found.root else 0
    files = [File(prefix + one.path, one.path, system, one.size, below=one.path[start:]) for one in infos]
    named = found.chosen and len(files) == 1 and files[0].path.endswith(place.text.rpartition("/")[2])
    if named or (place.several and any("/" not in file.below for file in files)):
        return [replace(file, branch=file.place) for file in files]
    return [replace(file, branch=file.below.rpartition("/")[0].partition("/")[0]) for file in files]


def file_system(url: str) -> tuple[Any, str]:
    """The pyarrow file system of a URL and the path in it; through fsspec where pyarrow has none."""
    scheme = url.partition("://")[0]
    if scheme in {"s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss", "file"}:
        system, path = pa.fs.FileSystem.from_uri(_quoted(url))
        return system, path
    system, path = fsspec.url_to_fs(url)
    return pa.fs.PyFileSystem(pa.fs.FSSpecHandler(system)), path


def _quoted(url: str) -> str:
    """The URL with spaces and the marks of globs escaped; `?key=value` at its end stays what it is."""
    scheme, _, rest = url.partition("://")
    path, mark, options = rest.rpartition("?")
    if not mark or "=" not in options:
        path, mark, options = rest, "", ""
    return f"{scheme}://{quote(path, safe='/:@%')}{mark}{options}"


def _of_format(found: Listed, place: _Place) -> list[Any]:
    """Of a folder's files those whose name tells the format; where none does, all that tell no other one."""
    told = [(info, format_of(info.path.rpartition("/")[2])) for info in found.infos]
    chosen = [info for info, kind in told if kind is not None and place.given in (None, kind)]
    if not chosen and place.given is not None:
        chosen = [info for info, kind in told if kind is None]
    _count(found, chosen, place)
    return chosen


def _not_of_others(found: Listed, place: _Place) -> list[Any]:
    """Of files that a glob matches, where data.format says which are meant, those whose name tells no other one."""
    fit = [info for info in found.infos if format_of(info.path.rpartition("/")[2]) in (None, place.given)]
    if place.given is None or not fit:
        return found.infos
    _count(found, fit, place)
    return fit


def _count(found: Listed, kept: list[Any], place: _Place) -> None:
    """Count the files that are not kept."""
    paths = {info.path for info in kept}
    for info in found.infos:
        if info.path not in paths:
            place.left_out.add(_named(info.path), info.path[len(found.root) :].lstrip("/"))


def _named(path: str) -> str:
    """What the name of a file ends with, in words."""
    base = path.rpartition("/")[2]
    return f"named .{base.rpartition('.')[2].lower()}" if "." in base else "without a suffix"
