"""ZIP archives of one file, and files whose first bytes say that they are something else than text."""

import codecs
import zipfile
from typing import IO, Any

from configs.errors import DataError

SIGNATURES = {
    b"PK\x03\x04": "is an Excel workbook or a ZIP archive; save the sheet as CSV, or let the name end in .zip",
    b"\xd0\xcf\x11\xe0": "is an old Excel workbook; save the sheet as CSV",
    b"\x1f\x8b": "is compressed by gzip; let its name end in .gz",
    b"BZh91AY&SY": "is compressed by bzip2; let its name end in .bz2",
    b"\x28\xb5\x2f\xfd": "is compressed by zstd; let its name end in .zst",
    b"PAR1\x15": "is a Parquet file; give data.files with data.format: parquet",
    b"%PDF-": "is a PDF document; save its table as CSV",
}
"""What a file is that starts with these bytes, and what to do."""
UNICODE_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def require_text(start: bytes, name: str, encoding: str) -> None:
    """Raise DataError where a file that starts with these bytes is not text of the encoding, but something known."""
    told = next((told for mark, told in SIGNATURES.items() if start.startswith(mark)), "")
    if not told and not encoding.startswith(("utf-16", "utf-32", "utf_16", "utf_32")):
        known = next((known for mark, known in UNICODE_MARKS.items() if start.startswith(mark)), _without_mark(start))
        told = f"is {known.upper()} text; give data.read.encoding: {known}" if known else ""
    if told:
        raise DataError(f"{name} {told}")


def _without_mark(start: bytes) -> str:
    """The encoding of Latin letters that have a zero byte each."""
    if len(start) >= 4 and all(start[:4:2]) and not any(start[1:4:2]):
        return "utf-16-le"
    return "utf-16-be" if len(start) >= 4 and all(start[1:4:2]) and not any(start[:4:2]) else ""


def open_only_member(archive: Any, name: str) -> IO[bytes]:
    """The bytes of the one file that a ZIP archive holds. Raises DataError where it holds none or several.

    archive: a seekable binary file. name: of the archive, for error messages.
    """
    try:
        zipped = zipfile.ZipFile(archive)
        members = [info for info in zipped.infolist() if not info.is_dir() and not _is_note(info.filename)]
        if len(members) != 1:
            shown = ", ".join(info.filename for info in members[:3]) + (", ..." if len(members) > 3 else "")
            held = f"{len(members)} files ({shown})" if members else "no file"
            raise DataError(f"{name} holds {held}, expected one; unpack it and name the files in data.files")
        if members[0].flag_bits & 1:
            raise DataError(f"{name}: {members[0].filename} is encrypted; unpack it with its password first")
        return zipped.open(members[0])
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(f"{name}: is not a whole ZIP archive ({error}); copy it again, or unpack it") from error


def _is_note(name: str) -> bool:
    """Whether a member says something about others, as macOS adds them."""
    return name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith(".")


def member_name(archive: Any, name: str) -> str:
    """The name of the one file that a ZIP archive holds. Raises DataError as `open_only_member` does."""
    with open_only_member(archive, name) as member:
        return str(member.name)
