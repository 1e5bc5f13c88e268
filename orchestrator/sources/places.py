"""Files, folders and globs, on this machine and elsewhere -> the files that hold rows, in a stable order."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fsspec  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.fs

from configs.errors import DataError, one_line
from configs.source import Format, is_url


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

    def stream(self) -> Any:
        """A pyarrow.NativeFile of the bytes from the start, decompressed where the name says so."""
        return self.system.open_input_stream(self.path)

    def seekable(self) -> Any:
        """The bytes in any order, as they are: a pyarrow.NativeFile."""
        return self.system.open_input_file(self.path)

    def read(self) -> bytes:
        """All bytes, decompressed."""
        with self.stream() as stream:
            return bytes(stream.read())

    @property
    def base(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """The name of the folder it lies in."""
        return self.path.rpartition("/")[0].rpartition("/")[2]


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


COMPRESSIONS = (".gz", ".bz2", ".zst", ".lz4", ".br")
FORMATS: dict[str, str] = {
    "csv": r"\.(csv|tsv)",
    "parquet": r"\.(parquet|pq)",
    "json": r"\.(jsonl|ndjson|json)",
    "tfrecord": r"\.tfrecords?(-\d+-of-\d+)?",
    "npz": r"\.npz",
    "idx": r"([-.]idx\d-ubyte|\.idx)",
    "images": r"\.(jpe?g|png|bmp|gif|webp|tiff?)",
    "text": r"\.txt",
}
"""How the name of a file of each format ends."""


def format_of(name: str) -> str | None:
    """The format that a file's name tells; None where it tells none."""
    plain = name.lower()
    for compression in COMPRESSIONS:
        plain = plain.removesuffix(compression)
    return next((kind for kind, ending in FORMATS.items() if re.search(f"{ending}$", plain)), None)


@dataclass(frozen=True)
class Found:
    """Files of one format."""

    files: list[File]
    format: str


def find(places: Sequence[str], home: Path, given: Format | None, key: str) -> Found:
    """Resolve what `data.files` and its kin name, each place in the order given and the files of one by name.

    key: the setting, for error messages. Raises DataError where a place is not there or cannot be reached, a glob or
    folder holds no file, or the files are of several formats.
    """
    files: list[File] = []
    for place in places:
        try:
            files += _at_url(place, given, key) if is_url(place) else _on_this_machine(place, home, given, key)
        except (OSError, pa.ArrowException, ImportError, ValueError) as error:
            raise DataError(f"{key}={place}: {_reason(place, error)}") from error
    kinds = {given or format_of(file.base): file for file in files}
    if len(kinds) > 1:
        first, second = list(kinds.items())[:2]
        raise DataError(
            f"{key}: {first[1].name} is {first[0] or 'of an unknown format'}, {second[1].name} is "
            f"{second[0] or 'of an unknown format'}; name files of one format, or give data.format"
        )
    (kind, file), *_ = kinds.items()
    if kind is None:
        raise DataError(f"{key}: the name of {file.name} tells no format; give data.format ({', '.join(FORMATS)})")
    return Found(files, kind)


def _reason(place: str, error: Exception) -> str:
    text = one_line(error)
    if any(sign in text for sign in ("ACCESS_DENIED", "HTTP status 403", "PermissionDenied", "credentials")):
        fix = FIXES.get(place.partition("://")[0], "give credentials that may read it")
        return f"access is denied; {fix} ({text})"
    return f"cannot be reached: {text}"


FIXES = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, for an account that may read it",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS for an account that may read it",
}
"""What to do where access is denied, by the scheme of the URL. Credentials never stand in a YAML file."""


def _on_this_machine(place: str, home: Path, given: str | None, key: str) -> list[File]:
    system = pa.fs.LocalFileSystem()
    candidates = [str(candidate) for candidate in _candidates(Path(place), home)]
    for candidate in candidates:
        found = _files_at(system, candidate, given)
        if found is not None:
            return [File(info.path, info.path, system, info.size) for info in _require_some(found, place, key)]
    places = " or ".join(str(Path(candidate).parent) for candidate in candidates)
    raise DataError(f"{key}={place}: no such file, folder or match in {places}; correct it")


def _at_url(place: str, given: str | None, key: str) -> list[File]:
    system, path = file_system(place)
    prefix = place[: len(place) - len(path)] if place.endswith(path) else f"{place.partition('://')[0]}://"
    found = _files_at(system, path, given)
    if found is None:
        raise DataError(f"{key}={place}: no such file, folder or match; correct it")
    return [File(prefix + info.path, info.path, system, info.size) for info in _require_some(found, place, key)]


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


def _require_some(found: list[Any], place: str, key: str) -> list[Any]:
    if not found:
        raise DataError(f"{key}={place}: is a folder without a file of a known format; give data.format")
    return found


def _files_at(system: Any, path: str, given: str | None) -> list[Any] | None:
    """The pyarrow.fs.FileInfo of each file that a path stands for, sorted; None where nothing is there."""
    info = system.get_file_info(path)
    if info.type == pa.fs.FileType.File:
        return [info]
    if info.type == pa.fs.FileType.Directory:
        return _of_format(_files_under(system, path), given)
    if not re.search(r"[*?\[]", path):
        return None
    root = re.split(r"[*?\[]", path)[0].rpartition("/")[0]
    matches = re.compile(fsspec.utils.glob_translate(path)).match
    found = [info for info in _files_under(system, root, missing_is_empty=True) if matches(info.path)]
    return found or None


def _files_under(system: Any, folder: str, *, missing_is_empty: bool = False) -> list[Any]:
    """All files below a folder, but those that are hidden (.name) or notes of the writer (_name)."""
    selector = pa.fs.FileSelector(folder, recursive=True, allow_not_found=missing_is_empty)
    infos = [info for info in system.get_file_info(selector) if info.type == pa.fs.FileType.File]
    below = len(folder.rstrip("/")) + 1
    infos.sort(key=lambda info: info.path)
    return [info for info in infos if not _hidden(info.path[below:].split("/"))]


def _hidden(parts: Iterable[str]) -> bool:
    return any(part.startswith((".", "_")) for part in parts)


def _of_format(infos: list[Any], given: str | None) -> list[Any]:
    """Of a folder's files those whose name tells the format; where none does, all that tell no other one."""
    told = [(info, format_of(info.path)) for info in infos]
    chosen = [info for info, kind in told if kind is not None and given in (None, kind)]
    return chosen if chosen or given is None else [info for info, kind in told if kind is None]
