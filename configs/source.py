"""`SourceSpec`: where the rows of a job come from, and how they are read."""

import codecs
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from configs.names import ImportPath
from configs.rules import ValueRules
from configs.secrets import masked
from configs.spec import Spec, UserPath, expand_home

Format = Literal["csv", "parquet", "json", "tfrecord", "npz", "idx", "images", "text"]


def is_url(place: str) -> bool:
    """Whether a place is on another machine (or is named as if it were), such as s3://bucket/folder."""
    return "://" in place


def _expand_places(value: Any) -> Any:
    """One place stands for a list of one; `~` is the home folder."""
    places = [value] if isinstance(value, str) else value
    if not isinstance(places, list | tuple) or not all(isinstance(place, str) for place in places):
        return value
    if not places or not all(places):
        raise ValueError("expected a file, a folder, a glob, or a list of them; got nothing")
    return tuple(place if is_url(place) else str(expand_home(Path(place))) for place in places)


Places = Annotated[tuple[str, ...], BeforeValidator(_expand_places)]
"""Files, folders and globs, on this machine or as URLs."""


class ReadSpec(ValueRules):
    """How files are to be understood. An option that says nothing about the format at hand is ignored."""

    separator: str | None = None
    """CSV: the character between two values; a comma by default, a tab for `.tsv`."""
    names: tuple[str, ...] | None = None
    """CSV: the columns, for files without a header line."""
    header: bool | None = None
    """CSV: whether the first line holds names. By default it does, unless there are `names`; they win over it."""
    quote: str | None = '"'
    """CSV: the character around a value that holds separators; null where quotes are characters like any other."""
    comment: str | None = None
    """CSV: lines that start with this are not rows."""
    escape: str | None = None
    r"""CSV: the character that makes the next one part of the value, such as the backslash of \" in dumps of MySQL; a
    doubled quote needs none."""
    skip_lines: NonNegativeInt = 0
    """CSV: so many lines before the header (or the first row) are left out, such as a title. A line `sep=;`, as Excel
    writes it, is understood."""
    encoding: str = "utf-8"
    """CSV, text and JSON."""
    rows: Literal["line", "file"] = "line"
    """Text: what one row is."""
    labels: str | dict[str, str] | None = None
    """Images and text: `first`, the default, is the first folder below what `files` names, `parent` the folder that a
    file lies in, `place` the folder that `files` names; or a mapping of file, folder or suffix to label.
    IDX: the file of labels, or one for each file of images; by default `x-labels-idx1-y` beside `x-images-idx3-y`."""
    height: PositiveInt | None = None
    """Images: resize to this; by default every image must have the size of the first one."""
    width: PositiveInt | None = None
    """Images: see `height`."""
    channels: Literal[1, 3, 4] = 3
    """Images: 1 is grey, 3 is red, green, blue, 4 adds transparency, which is laid on white otherwise."""
    exif_orientation: bool = True
    """Images: turn each upright as its camera noted."""
    max_value: PositiveFloat | None = None
    """Images of grey with more than 8 bits (TIFFs of 32 bits or fractions too): the value that becomes 255; by default
    65535 where there are 16 bits."""

    @field_validator("separator", "quote", "comment", "escape")
    @classmethod
    def _one_character(cls, value: str | None, info: Any) -> str | None:
        if value is not None and (not value or (info.field_name != "comment" and len(value.encode()) > 1)):
            raise ValueError(f"got {value!r}, expected one character")
        return value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            return codecs.lookup(value).name
        except LookupError:
            raise ValueError(f"{value!r} is not an encoding; use a name such as utf-8, latin-1 or cp1252") from None

    @model_validator(mode="after")
    def _fits_together(self) -> "ReadSpec":
        if self.header is False and self.names is None:
            raise ValueError("header: false needs names, the columns in their order")
        if self.escape is not None and self.escape in (self.quote, self.separator):
            raise ValueError(f"escape is {self.escape!r}, as quote or separator is; a doubled quote needs no escape")
        twice = next((name for name in self.names or () if (self.names or ()).count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"names has {twice!r} twice; every column needs a name of its own")
        if (self.height is None) != (self.width is None):
            raise ValueError("height and width go together; give both")
        return self

    @property
    def has_header(self) -> bool:
        """Whether the first line of a CSV file holds names."""
        return self.names is None if self.header is None else self.header


class SourceSpec(Spec):
    """Files or a Python function that give raw columns."""

    csv: UserPath | None = None
    """A CSV file; short for `files` with `format: csv`. A relative path is looked for in the working folder, then
    beside the YAML file."""
    files: Places | None = None
    """A file, a folder or a glob, or a list of them: local, s3://, gs://, hdfs://, or what fsspec knows."""
    valid_files: Places | None = None
    """Files whose rows choose the best epoch; then the rows of `files` are not split for it."""
    test_files: Places | None = None
    """Files whose rows only the finished model sees."""
    format: Format | None = None
    """By default told from the files' names (`.gz` and other compressions are looked through)."""
    read: ReadSpec = ReadSpec()
    function: ImportPath | None = None
    """`package.module:function` that returns the columns: a dict of arrays (rows first), a pandas frame, an Arrow
    table or a ray.data.Dataset."""
    params: dict[str, Any] = {}
    """Keyword parameters of `function`."""
    bad_rows: Literal["raise", "skip"] = "raise"
    """What a row that cannot be read, or holds no usable value, does: end the job, or be left out and counted."""

    @model_validator(mode="before")
    @classmethod
    def _csv_at_a_url(cls, value: Any) -> Any:
        """A URL is no path: `csv: s3://bucket/x.csv` is `files: s3://bucket/x.csv` with `format: csv`."""
        if isinstance(value, dict) and isinstance(value.get("csv"), str) and is_url(value["csv"]):
            rest = {key: given for key, given in value.items() if key != "csv"}
            if rest.get("files") is None:
                return rest | {"files": value["csv"], "format": rest.get("format") or "csv"}
        return value

    @model_validator(mode="after")
    def _one_source(self) -> "SourceSpec":
        given = [name for name in ("csv", "files", "function") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of csv, files and function; got {' and '.join(given) or 'none'}")
        if self.params and self.function is None:
            raise ValueError(f"params goes with function; {'a csv takes' if self.csv else 'files take'} none")
        if self.csv is not None and self.format not in (None, "csv"):
            raise ValueError(f"format={self.format} does not go with csv; name the file in files")
        of_files = [name for name in ("valid_files", "test_files", "format") if getattr(self, name) is not None]
        of_files += [
            f"read.{name}" for name in sorted(self.read.model_fields_set) if name not in ValueRules.model_fields
        ]
        if self.function is not None and of_files:
            raise ValueError(f"{of_files[0]} goes with csv or files; function returns all rows")
        return self

    @property
    def source(self) -> str:
        """The rows' source as the YAML file names it, without credentials."""
        return self.function or masked(", ".join(self.places["train"]))

    @property
    def places(self) -> dict[str, tuple[str, ...]]:
        """Where the rows of each part stand: `train`, and where they have files of their own `valid` and `test`."""
        train = (str(self.csv),) if self.csv is not None else self.files
        named = {"train": train, "valid": self.valid_files, "test": self.test_files}
        return {part: given for part, given in named.items() if given}
