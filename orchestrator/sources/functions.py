"""`data.function`: a user's Python function -> columns."""

import importlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet

from configs.data import DataSpec
from configs.errors import DataError, RingmasterError, SpecError, one_line
from configs.preprocessing.raw import concatenated, of_numpy, of_pandas, of_values
from orchestrator.sources.blocks import from_arrow
from orchestrator.sources.places import File, Found


def call_source(data: DataSpec, home: Path) -> dict[str, np.ndarray]:
    """Call data.function and return its columns. Raises SpecError when it raises or returns something else."""
    return _columns(str(data.function), _called(data, home, _collected))


def called_source(
    data: DataSpec, home: Path, folder: Path, wants_disk: Callable[[int], bool]
) -> dict[str, np.ndarray] | Found:
    """Call data.function; a ray.data.Dataset of a size that is wanted on disk becomes Parquet files in the folder.

    Raises SpecError when it raises or returns something else.
    """

    def taken(dataset: Any) -> Any:
        return _stored(dataset, folder, data) if wants_disk(dataset.size_bytes() or 0) else _collected(dataset)

    result = _called(data, home, taken)
    return result if isinstance(result, Found) else _columns(str(data.function), result)


def _columns(name: str, returned: Any) -> dict[str, np.ndarray]:
    result = _frame_columns(name, returned)
    if not isinstance(result, dict):
        raise SpecError(
            f"data.function {name} returned {type(result).__name__}; it must return a dict of arrays or a pandas frame"
        )
    columns = {str(key): _as_array(str(key), value) for key, value in result.items()}
    lengths = {key: len(value) for key, value in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"data.function {name} returned columns of different lengths: {lengths}")
    return columns


def _called(data: DataSpec, home: Path, taken: Callable[[Any], Any]) -> Any:
    """What the function returns, or what is taken of it where that is a ray.data.Dataset."""
    name = str(data.function)
    module_name, _, function_name = name.partition(":")
    if str(home.absolute()) not in sys.path:
        sys.path.insert(0, str(home.absolute()))
    before = _ray_runs()
    try:
        result = getattr(importlib.import_module(module_name), function_name)(**data.params)
        if not _is_ray_dataset(result):
            return result
        result.context.execution_options.preserve_order = True  # a row's place decides which part it is in
        return taken(result)
    except RingmasterError:
        raise  # what its rows cannot be used for is not the function's fault
    except Exception as error:
        text = " ".join(str(error).split())
        raise SpecError(f"data.function {name} raised {type(error).__name__}: {text}") from error
    finally:
        if _ray_runs() and not before:
            sys.modules["ray"].shutdown()  # the function started it; the job starts a Ray of its own


def _frame_columns(name: str, result: Any) -> Any:
    """The columns of a pandas frame or an Arrow table; anything else as it is."""
    if isinstance(result, pd.DataFrame):
        names, columns = list(result.columns), {key: of_pandas(values) for key, values in result.items()}
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
    try:
        batches = [_batch_columns(table) for table in _tables(dataset)]
    except pa.ArrowException:  # a pandas block may hold values of several types
        frames = dataset.iter_batches(batch_size=None, batch_format="pandas")
        batches = [{str(name): of_pandas(values) for name, values in frame.items()} for frame in frames if len(frame)]
    names = dict.fromkeys(name for batch in batches for name in batch)
    return {name: concatenated([batch[name] for batch in batches]) for name in names}


def _tables(dataset: Any) -> Iterator[pa.Table]:
    """Its blocks as Arrow has them, where whole numbers with missing values stay whole."""
    for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
        if table.num_rows:
            yield table


def _batch_columns(table: pa.Table) -> dict[str, np.ndarray]:
    tensors = [name for name in table.column_names if _is_tensor(table.schema.field(name).type)]
    arrays = _ray_numpy(table, tensors) if tensors else {}
    return {name: arrays[name] if name in arrays else from_arrow(table.column(name)) for name in table.column_names}


def _is_tensor(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.BaseExtensionType) and "tensor" in type(kind).__name__.lower()


def _ray_numpy(table: pa.Table, names: list[str]) -> dict[str, np.ndarray]:
    from ray.data.block import BlockAccessor

    return dict(BlockAccessor.for_block(table.select(names)).to_numpy(names))


def _stored(dataset: Any, folder: Path, data: DataSpec) -> Found:
    """All rows of a ray.data.Dataset, streamed into Parquet files in their order."""
    _in_folder(folder, lambda: folder.mkdir(parents=True))
    files: list[File] = []
    for batch in _tables(dataset):
        tensors = [name for name in batch.column_names if _is_tensor(batch.schema.field(name).type)]
        arrays = _ray_numpy(batch, tensors) if tensors else {}
        table = pa.table(
            {
                name: _arrow(name, arrays[name], data) if name in arrays else batch.column(name)
                for name in batch.column_names
            }
        )
        if table.num_rows:
            # A file each, as a column may have another type where all of its values are missing.
            path = folder / f"{len(files):06}.parquet"
            _in_folder(folder, partial(pa.parquet.write_table, table, path))
            name = f"data.function {data.function}, block {len(files) + 1}"
            files.append(File(name, str(path), pa.fs.LocalFileSystem(), path.stat().st_size))
    if not files:
        raise DataError(f"data.function {data.function} has no rows; a job needs at least a few to train on")
    return Found(files, "parquet")


def _in_folder(folder: Path, write: Callable[[], Any]) -> None:
    """Raise DataError where the folder cannot be written to."""
    try:
        write()
    except OSError as error:
        raise DataError(
            f"the rows of a ray.data.Dataset cannot be written to {folder}: {error.strerror or one_line(error)}; give "
            "another folder with folder=PATH"
        ) from error


def _arrow(column: str, values: np.ndarray, data: DataSpec) -> pa.Array:
    try:
        if values.ndim > 1:
            return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(values))
        return pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(
            f"data.function {data.function}: column {column!r} has values of several types ({one_line(error)}); make "
            "them all numbers or all texts"
        ) from error


def _as_array(column: str, values: Any) -> np.ndarray:
    if isinstance(values, pd.Series):
        return of_pandas(values)
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return from_arrow(values)
    try:
        # A list of numbers stays exact, and one of texts and numbers stays as it is.
        flat_list = isinstance(values, list | tuple) and not any(
            isinstance(value, list | tuple | np.ndarray) for value in values
        )
        array = of_values(values) if flat_list else np.asarray(values)
    except ValueError as error:
        raise DataError(f"column {column!r}: its rows differ in shape; make them equal") from error
    if array.ndim == 0:
        raise DataError(f"column {column!r} is one {type(values).__name__}, expected an array with a value per row")
    return of_numpy(array)
