"""`DataSpec` -> preprocessed train/valid/test splits and the fitted preprocessing.

Knows nothing about Ray or Keras.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from configs.job import JobSpec
from configs.preprocessing import Columns, Preprocessing, plain_columns
from orchestrator.sources import load_columns
from orchestrator.splits import split_rows
from orchestrator.targets import check_metrics, check_target
from trainers.job import TRAIN, VALID, Split

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
    columns = plain_columns(load_columns(spec), spec.data.features)
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


def json_rows(columns: Columns) -> list[dict[str, Any]]:
    """Columns -> rows of plain Python values, missing as None."""
    lists = {name: _json_values(array) for name, array in columns.items()}
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]


def _json_values(array: np.ndarray) -> list[Any]:
    if array.ndim == 1 and np.issubdtype(array.dtype, np.floating):
        return [None if np.isnan(value) else value for value in array.tolist()]
    return list(array.tolist())
