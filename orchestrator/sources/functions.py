"""`data.function`: a user's Python function -> columns."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from configs.data import DataSpec
from configs.errors import DataError, SpecError
from orchestrator.sources.blocks import from_arrow


def call_source(data: DataSpec, home: Path) -> dict[str, np.ndarray]:
    """Call data.function and return its columns. Raises SpecError when it raises or returns something else."""
    name = str(data.function)
    result = _frame_columns(name, _called(name, data.params, home))
    if not isinstance(result, dict):
        raise SpecError(
            f"data.function {name} returned {type(result).__name__}; it must return a dict of arrays or a pandas frame"
        )
    columns = {str(key): _as_array(str(key), value) for key, value in result.items()}
    lengths = {key: len(value) for key, value in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"data.function {name} returned columns of different lengths: {lengths}")
    return columns


def _called(name: str, params: dict[str, Any], home: Path) -> Any:
    """What the function returns; the rows, where that is a ray.data.Dataset."""
    module_name, _, function_name = name.partition(":")
    if str(home.absolute()) not in sys.path:
        sys.path.insert(0, str(home.absolute()))
    before = _ray_runs()
    try:
        result = getattr(importlib.import_module(module_name), function_name)(**params)
        return _collected(result) if _is_ray_dataset(result) else result
    except Exception as error:
        text = " ".join(str(error).split())
        raise SpecError(f"data.function {name} raised {type(error).__name__}: {text}") from error
    finally:
        if _ray_runs() and not before:
            sys.modules["ray"].shutdown()  # the function started it; the job starts a Ray of its own


def _frame_columns(name: str, result: Any) -> Any:
    """The columns of a pandas frame or an Arrow table; anything else as it is."""
    if isinstance(result, pd.DataFrame):
        names, columns = list(result.columns), {key: values.to_numpy() for key, values in result.items()}
    elif isinstance(result, pa.Table):
        names = result.column_names
        columns = {key: from_arrow(values) for key, values in zip(names, result.columns, strict=True)}
    else:
        return result
    twice = next((key for key in names if names.count(key) > 1), None)
    if twice is not None:
        raise DataError(f"data.function {name} returned column {twice!r} twice; rename one")
    return columns


def _ray_runs() -> bool:
    ray = sys.modules.get("ray")  # who has not imported it has not started it
    return ray is not None and bool(ray.is_initialized())


def _is_ray_dataset(result: Any) -> bool:
    module = sys.modules.get("ray.data")
    return module is not None and isinstance(result, module.Dataset)


def _collected(dataset: Any) -> dict[str, np.ndarray]:
    """All rows of a ray.data.Dataset on this machine."""
    batches = list(dataset.iter_batches(batch_size=None, batch_format="numpy"))
    names = dict.fromkeys(name for batch in batches for name in batch)
    return {name: np.concatenate([batch[name] for batch in batches]) for name in names}


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
