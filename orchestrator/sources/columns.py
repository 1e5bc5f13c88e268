"""`DataSpec` -> raw columns of the job's files or function. Knows nothing about preprocessing or splits."""

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from configs.data import DataSpec
from configs.errors import DataError, SpecError
from configs.features import EVERY_OTHER
from configs.job import JobSpec
from configs.preprocessing import MISSING_TEXTS, Columns


def load_columns(spec: JobSpec) -> dict[str, np.ndarray]:
    """Read the columns that the job uses. Raises DataError when one is missing or there are no rows."""
    data = spec.data
    if data.csv is not None:
        path = find_file(data.csv, spec.home)
        columns, source = read_csv(path, text_columns(data)), str(path)
    else:
        columns, source = call_source(data, spec.home), f"data.function {data.function}"
    wanted = [*columns] if EVERY_OTHER in data.features else data.columns
    require_columns(columns, data.columns, source)
    if len(columns[data.target.column]) == 0:
        raise DataError(f"{source} has no rows; a job needs at least a few to train on")
    return {name: columns[name] for name in wanted}


def find_file(path: Path, home: Path) -> Path:
    """Return the first that exists of: the path seen from the working folder, and from the YAML file's folder."""
    candidates = dict.fromkeys([path.absolute(), (home / path).absolute()])
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    places = " or ".join(str(candidate.parent) for candidate in candidates)
    raise DataError(
        f"data.csv={path}: no such file in {places}. Correct it, or give data.csv=PATH after the YAML file"
    )


def text_columns(data: DataSpec) -> set[str]:
    """Columns to be read as text, whatever their values look like."""
    texts = {name for name, feature in data.features.items() if feature.kind == "category"}
    texts |= {data.id} if data.id else set()  # 007 stays 007
    return texts | ({data.target.column} if data.target.kind == "class" else set())


def read_csv(path: Path, texts: Iterable[str]) -> dict[str, np.ndarray]:
    """Read a CSV file with a header: float64 (missing as NaN) or object columns with None. Raises DataError."""
    options = pa.csv.ConvertOptions(
        column_types={name: pa.string() for name in texts},
        strings_can_be_null=True,
        null_values=sorted(MISSING_TEXTS),
    )
    try:
        table = _read_table(path, options)
        names = table.column_names
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"{path}: the header has column {twice!r} twice; rename one")
        return {name: _to_numpy(table[name]) for name in names}
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError, UnicodeDecodeError) as error:
        text = " ".join(str(error).split())
        fix = "; save it as UTF-8" if "utf" in text.lower() else separator_hint(_header(path))
        raise DataError(f"{path}: cannot be read as CSV: {text}{fix}") from error


def _header(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.readline(10_000)
    except OSError:
        return ""


def separator_hint(header: str) -> str:
    """What to add to an error where the header holds no comma, but another usual separator."""
    found = next((name for mark, name in SEPARATORS.items() if mark in header), None)
    if found is None or "," in header:
        return ""
    return f". It seems to be separated by {found}; save it with commas"


SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}


def _read_table(path: Path, options: pa.csv.ConvertOptions) -> pa.Table:
    try:
        return pa.csv.read_csv(path, convert_options=options)
    except pa.ArrowInvalid:
        # Read by one thread, it can say which row is wrong.
        return pa.csv.read_csv(path, pa.csv.ReadOptions(use_threads=False), convert_options=options)


def _to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int64())
    if pa.types.is_null(column.type):
        return np.full(len(column), None, object)
    if pa.types.is_integer(column.type) and not column.null_count:
        return np.asarray(column.to_numpy())
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return np.asarray(column.cast(pa.float64()).to_numpy())
    if pa.types.is_string(column.type):
        return np.array(column.to_pylist(), object)
    return np.array(column.cast(pa.string()).to_pylist(), object)


def call_source(data: DataSpec, home: Path) -> dict[str, np.ndarray]:
    """Call data.function and return its columns. Raises SpecError when it raises or returns something else."""
    name = str(data.function)
    module_name, _, function_name = name.partition(":")
    if str(home.absolute()) not in sys.path:
        sys.path.insert(0, str(home.absolute()))
    try:
        result = getattr(importlib.import_module(module_name), function_name)(**data.params)
    except Exception as error:
        text = " ".join(str(error).split())
        raise SpecError(f"data.function {name} raised {type(error).__name__}: {text}") from error
    if isinstance(result, pd.DataFrame):
        twice = result.columns[result.columns.duplicated()]
        if len(twice):
            raise DataError(f"data.function {name} returned column {twice[0]!r} twice; rename one")
        result = {key: result[key].to_numpy() for key in result.columns}
    if not isinstance(result, dict):
        raise SpecError(
            f"data.function {name} returned {type(result).__name__}; it must return a dict of arrays or a pandas frame"
        )
    columns = {str(key): _as_array(str(key), value) for key, value in result.items()}
    lengths = {key: len(value) for key, value in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"data.function {name} returned columns of different lengths: {lengths}")
    return columns


def _as_array(column: str, values: Any) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(f"column {column!r}: its rows differ in shape; make them equal") from error
    if array.ndim == 0:
        raise DataError(f"column {column!r} is one {type(values).__name__}, expected an array with a value per row")
    if array.dtype == object and array.ndim == 1:
        array = array.copy()
        array[pd.isna(array)] = None  # pandas has several marks for a missing value
    return array


def require_columns(columns: Columns, wanted: Iterable[str], source: str) -> None:
    """Raise DataError naming the first wanted column that is missing."""
    for name in wanted:
        if name not in columns:
            names = ", ".join(columns)
            raise DataError(f"{source} has no column {name!r}; it has {names}{separator_hint(names)}")
