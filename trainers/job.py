"""What the driver hands to every worker. Plain data: importing it loads neither Keras nor Horovod."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from configs.job import JobSpec
from configs.registered import Documents, Golden, ModelCode
from trainers.order import Order, epoch_order

TRAIN, VALID, TEST = "train", "valid", "test"


class Rows(Protocol):
    """Preprocessed rows that a worker draws batches from: in memory (`Split`) or on disk (`StoredSplit`)."""

    def __len__(self) -> int: ...

    def take(self, rows: np.ndarray | slice) -> "Split":
        """The given rows as the model sees them; an array of row numbers may have any number of axes."""

    def order(self, *, seed: int, epoch: int) -> Order:
        """The order of an epoch."""

    @property
    def nbytes(self) -> int:
        """What they take in memory."""


@dataclass(frozen=True)
class Split:
    """Preprocessed rows in memory: every array has the rows as first axis.

    weight: (rows,) float32, what a row counts in the loss; None where all count 1.
    source_rows: (rows,) int64, each row's number in the source, from 1, where it is known.
    deferred: inputs that are still raw, such as the bytes of images, which take a quarter of the memory that the
    model's float32 would; each with the FittedTensor that `take` finishes them with.
    """

    inputs: Mapping[str, np.ndarray]
    target: np.ndarray
    weight: np.ndarray | None = None
    source_rows: np.ndarray | None = None
    deferred: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.target)

    def select(self, rows: np.ndarray | slice) -> "Split":
        """The given rows, in the given order; `rows` may have any number of axes, which then come first."""
        return replace(
            self,
            inputs={name: array[rows] for name, array in self.inputs.items()},
            target=self.target[rows],
            weight=None if self.weight is None else self.weight[rows],
            source_rows=None if self.source_rows is None else self.source_rows[rows],
        )

    def take(self, rows: np.ndarray | slice) -> "Split":
        """The given rows as `select` gives them, with every input as the model sees it."""
        part = self.select(rows)
        finished = {name: _finish(fitted, name, part.inputs[name]) for name, fitted in self.deferred.items()}
        return replace(part, inputs={**part.inputs, **finished}, deferred={})

    def order(self, *, seed: int, epoch: int) -> Order:
        """A permutation of all rows."""
        return epoch_order(len(self), seed=seed, epoch=epoch)

    @property
    def x(self) -> Any:
        """What the model is called with: the only input as an array, several as a dict by name."""
        return next(iter(self.inputs.values())) if len(self.inputs) == 1 else dict(self.inputs)

    @property
    def nbytes(self) -> int:
        """Of all arrays that the model sees, as they are held."""
        return sum(array.nbytes for array in (*self.inputs.values(), self.target))


def _finish(fitted: Any, name: str, values: np.ndarray) -> np.ndarray:
    """(..., *raw shape) -> (..., *shape) float32."""
    axes = values.shape[: values.ndim - len(fitted.shape)]
    done = fitted.transform(name, values.reshape(-1, *fitted.shape))
    return np.asarray(done.reshape(*axes, *done.shape[1:]))


@dataclass(frozen=True)
class WorkerJob:
    """One job as a worker sees it.

    splits: name -> ray.ObjectRef of Rows (`train` always, `valid` and `test` where rows are kept for them).
    golden: a few preprocessed rows whose outputs are stored beside the model and replayed before it is served.
    feed: handle of the driver's progress feed (an actor with `put`), or None.
    documents: what is registered beside the model.
    classes: number of target classes, or None for regression.
    records: variables that name files which Horovod writes on rank 0.
    verifying: dropout is off, and the outcome holds the weights.
    """

    spec: JobSpec
    splits: Mapping[str, Any]
    golden: Split
    documents: Documents
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
    golden: outputs of the best model on the golden rows.
    code: what the model needs of the job's own Python files.
    records: variable -> text of the file that Horovod wrote on rank 0.
    weights: variable path -> value; only when verifying.
    """

    best_epoch: int
    metrics: Mapping[str, float]
    weights_sha256: str
    ranks: tuple[str, ...]
    golden: Golden
    code: ModelCode = field(default_factory=ModelCode)
    records: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, np.ndarray] | None = None
