"""What the driver hands to every worker. Plain data: importing it loads neither Keras nor Horovod."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from configs.job import JobSpec

TRAIN, VALID, TEST = "train", "valid", "test"


@dataclass(frozen=True)
class Split:
    """Preprocessed rows: every array has the rows as first axis.

    weight: (rows,) float32, what a row counts in the loss; None where all count 1.
    source_rows: (rows,) int64, each row's number in the source, from 1, where it is known.
    """

    inputs: Mapping[str, np.ndarray]
    target: np.ndarray
    weight: np.ndarray | None = None
    source_rows: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.target)

    def take(self, rows: np.ndarray | slice) -> "Split":
        """The given rows, in the given order; `rows` may have any number of axes, which then come first."""
        weight = None if self.weight is None else self.weight[rows]
        numbers = None if self.source_rows is None else self.source_rows[rows]
        return Split({name: array[rows] for name, array in self.inputs.items()}, self.target[rows], weight, numbers)

    @property
    def x(self) -> Any:
        """What the model is called with: the only input as an array, several as a dict by name."""
        return next(iter(self.inputs.values())) if len(self.inputs) == 1 else dict(self.inputs)


@dataclass(frozen=True)
class WorkerJob:
    """One job as a worker sees it.

    splits: name -> ray.ObjectRef of a Split (`train` always, `valid` and `test` where rows are kept for them).
    golden: a few preprocessed rows whose outputs are stored beside the model and replayed before it is served.
    feed: handle of the driver's progress feed (an actor with `put`), or None.
    classes: number of target classes, or None for regression.
    records: variables that name files which Horovod writes on rank 0.
    verifying: dropout is off, and the outcome holds the weights.
    """

    spec: JobSpec
    splits: Mapping[str, Any]
    golden: Split
    classes: int | None
    feed: Any = None
    import_paths: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    verifying: bool = False


@dataclass(frozen=True)
class Outcome:
    """What rank 0 returns when training is over.

    weights_sha256: of the best weights, proven equal on all ranks.
    ranks: "rank 0 on host", ... of the workers whose hashes were compared.
    golden_outputs: (golden rows, units) float32 outputs of the best model.
    records: variable -> text of the file that Horovod wrote on rank 0.
    weights: variable path -> value; only when verifying.
    """

    best_epoch: int
    metrics: Mapping[str, float]
    weights_sha256: str
    ranks: tuple[str, ...]
    golden_outputs: np.ndarray
    records: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, np.ndarray] | None = None
