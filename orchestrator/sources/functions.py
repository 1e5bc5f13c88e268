"""`data.function`: a user's Python function -> columns."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from configs.data import DataSpec
from configs.errors import DataError, SpecError


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
