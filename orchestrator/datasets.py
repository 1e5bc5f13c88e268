"""`DataSpec` -> preprocessed train/valid/test splits and the fitted preprocessing.

Knows nothing about Ray or Keras.
"""

import importlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from configs.data import DataSpec, SplitSpec
from configs.errors import DataError, SpecError
from configs.job import JobSpec
from configs.preprocessing import MISSING_TEXTS, Columns, FittedTarget, Preprocessing, as_numbers, as_texts
from configs.train import TrainSpec
from trainers.job import TEST, TRAIN, VALID, Split

GOLDEN_ROWS = 8


@dataclass(frozen=True)
class Prepared:
    """Everything that the data of a job gives.

    golden_rows: a few raw rows as the endpoint would get them; golden: the same rows preprocessed.
    """

    preprocessing: Preprocessing
    splits: dict[str, Split]
    golden_rows: list[dict[str, Any]]
    golden: Split

    @property
    def classes(self) -> int | None:
        labels = self.preprocessing.target.classes
        return None if labels is None else len(labels)


def prepare(spec: JobSpec) -> Prepared:
    """Load, split, fit on the training part, transform. Raises DataError or SpecError."""
    columns = plain_columns(load_columns(spec), spec.data)
    target = spec.data.target.column
    parts = split_rows(len(columns[target]), spec.data.split)
    preprocessing = Preprocessing.fit({name: array[parts[TRAIN]] for name, array in columns.items()}, spec.data)
    # All rows at once: an error names the row of the source, not of a shuffled part.
    rows = Split(preprocessing.transform(columns), preprocessing.target.encode(columns[target]))
    check_target(spec.train.loss, preprocessing.target, target)
    check_metrics(spec.train, preprocessing.target, target)
    splits = {name: rows.take(index) for name, index in parts.items()}
    shown = VALID if VALID in parts else TRAIN
    golden = parts[shown][:GOLDEN_ROWS]
    golden_rows = json_rows({name: columns[name][golden] for name in spec.data.features})
    return Prepared(preprocessing, splits, golden_rows, rows.take(golden))


def plain_columns(columns: Columns, data: DataSpec) -> dict[str, np.ndarray]:
    """Numbers as float64 and categories as text, as they come out of JSON. Raises DataError naming the row."""
    plain = dict(columns)
    for name, feature in data.features.items():
        if feature.kind == "number":
            plain[name] = as_numbers(name, columns[name])
        elif feature.kind == "category":
            plain[name] = np.array(as_texts(name, columns[name]), object)
    return plain


def load_columns(spec: JobSpec) -> dict[str, np.ndarray]:
    """Read the columns that the job uses. Raises DataError when one is missing or there are no rows."""
    data = spec.data
    if data.csv is not None:
        path = find_file(data.csv, spec.home)
        columns, source = read_csv(path, text_columns(data)), str(path)
    else:
        columns, source = call_source(data, spec.home), f"data.function {data.function}"
    wanted = [*data.features, data.target.column, *([data.id] if data.id else [])]
    require_columns(columns, wanted, source)
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


def split_rows(rows: int, split: SplitSpec) -> dict[str, np.ndarray]:
    """Row numbers of each part, drawn at random from the seed; parts of fraction 0 are left out.

    Raises DataError when a part would be empty.
    """
    order = np.random.default_rng(split.seed).permutation(rows)
    test, valid = round(rows * split.test), round(rows * split.valid)
    parts = {TRAIN: order[test + valid :]}
    if split.valid:
        parts[VALID] = order[test : test + valid]
    if split.test:
        parts[TEST] = order[:test]
    empty = next((name for name, part in parts.items() if not len(part)), None)
    if empty:
        raise DataError(
            f"{rows} row(s) leave none for the {empty} part (data.split.valid={split.valid}, "
            f"data.split.test={split.test}); give more rows, or change data.split"
        )
    return parts


BINARY = {"binary_crossentropy", "binary_focal_crossentropy", "hinge", "squared_hinge"}
ONE_HOT = {"categorical_crossentropy", "categorical_focal_crossentropy", "categorical_hinge"}


def check_target(loss: str | None, target: FittedTarget, column: str) -> None:
    """Raise SpecError when the labels are not what the loss expects; a loss not given here is the model's own."""
    classes = target.classes
    if classes is not None and len(classes) < 2:
        raise DataError(
            f"target {column!r} has one class, {classes[0]!r}, in the training part; there is nothing to learn"
        )
    if loss is None:
        return
    shown = _shown(classes)
    if loss in BINARY and classes is not None and len(classes) != 2:
        raise SpecError(
            f"train.loss={loss} expects 2 classes, but {column!r} has {shown}; use sparse_categorical_crossentropy"
        )
    if loss in ONE_HOT and classes is not None:
        raise SpecError(
            f"train.loss={loss} expects one-hot labels, but {column!r} becomes one integer per row; "
            "use sparse_categorical_crossentropy"
        )
    if "crossentropy" in loss and classes is None:
        raise SpecError(f"train.loss={loss} expects classes, but data.target.kind is number; set it to class")
    if "crossentropy" not in loss and "hinge" not in loss and classes is not None:
        raise SpecError(
            f"train.loss={loss} expects numbers, but {column!r} has {shown}; set data.target.kind=number or use "
            "sparse_categorical_crossentropy"
        )


PER_CLASS = {"accuracy", "sparse_categorical_accuracy", "sparse_top_k_categorical_accuracy"}
"""Metrics that take an integer label and an output per class."""
ONE_HOT_METRICS = {"categorical_accuracy", "f1_score", "top_k_categorical_accuracy"}
YES_NO = {"auc", "binary_accuracy", "precision", "recall"}
"""Metrics that take one output, the probability of the second class."""


def check_metrics(train: TrainSpec, target: FittedTarget, column: str) -> None:
    """Raise SpecError when a metric cannot be measured on one label per row; the loss is right already."""
    for metric in train.metrics if train.loss else ():
        problem = _problem_with(metric, str(train.loss), target.classes, column)
        if problem:
            raise SpecError(f"train.metrics: {metric} expects {problem}")


def _problem_with(metric: str, loss: str, classes: tuple[int | str, ...] | None, column: str) -> str | None:
    """What the metric expects, what is there and what to use; None where it fits."""
    several_outputs = classes is not None and loss not in BINARY
    use = "use sparse_categorical_accuracy" if several_outputs else "use accuracy"
    if metric == "top_k_categorical_accuracy" and several_outputs:
        use = "use sparse_top_k_categorical_accuracy"
    if metric == "f1_score" and not several_outputs:
        use = "use precision and recall"
    if classes is None:
        wrong = metric in ONE_HOT_METRICS | PER_CLASS - {"accuracy"}
        return "classes, but data.target.kind is number; use mean_absolute_error" if wrong else None
    if metric in ONE_HOT_METRICS:
        return f"one-hot labels, but {column!r} becomes one integer per row; {use}"
    if not several_outputs:
        wrong = metric in PER_CLASS - {"accuracy"}
        return f"one output per class, but train.loss={loss} has one for both; {use}" if wrong else None
    if metric in PER_CLASS:
        return None
    if metric in YES_NO and len(classes) == 2:
        return f"one output for both classes, but train.loss={loss} has two; use train.loss=binary_crossentropy"
    return f"{'2 classes' if metric in YES_NO else 'numbers'}, but {column!r} has {_shown(classes)}; {use}"


def _shown(classes: tuple[int | str, ...] | None) -> str:
    """Return "3 classes (a, b, c)"; the first five where there are more."""
    if classes is None:
        return ""
    return f"{len(classes)} classes ({', '.join(map(str, classes[:5]))}{', ...' if len(classes) > 5 else ''})"


def json_rows(columns: Columns) -> list[dict[str, Any]]:
    """Columns -> rows of plain Python values, missing as None."""
    lists = {name: _json_values(array) for name, array in columns.items()}
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]


def _json_values(array: np.ndarray) -> list[Any]:
    if array.ndim == 1 and np.issubdtype(array.dtype, np.floating):
        return [None if np.isnan(value) else value for value in array.tolist()]
    return list(array.tolist())
