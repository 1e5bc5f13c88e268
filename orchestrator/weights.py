"""What every row counts in the loss: `data.sample_weight` and `train.class_weight` as one number per row.

Both become weights of rows before anything is dealt to workers. Knows nothing about Keras.
"""

import numpy as np

from configs.data import DataSpec
from configs.errors import DataError, SpecError
from configs.preprocessing import BadValue, Columns, FittedTarget, as_numbers
from configs.spec import unknown
from configs.train import TrainSpec


def column_weights(columns: Columns, data: DataSpec) -> np.ndarray | None:
    """(rows,) float32 of the weight column, or None without one. Raises DataError naming the first bad row, or where
    no row counts."""
    weights = row_weights(columns, data)
    if weights is not None:
        require_some_weight(float(weights.sum()), data)
    return weights


def require_some_weight(total: float, data: DataSpec) -> None:
    """Raise DataError when the weights of all rows add up to nothing."""
    if data.sample_weight is not None and not total:
        raise DataError(f"column {data.sample_weight!r}: every weight is 0, so no row counts; mend the column")


def row_weights(columns: Columns, data: DataSpec) -> np.ndarray | None:
    """What `column_weights` gives of some of the rows, which may all count nothing."""
    name = data.sample_weight
    if name is None:
        return None
    weights = as_numbers(name, columns[name])
    bad = ~(weights >= 0)  # a missing value is NaN
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        found = "nothing" if np.isnan(weights[first]) else f"{weights[first]:g}"
        raise BadValue(f"column {name!r}, row ", first + 1, f": got {found}, expected a weight of 0 or more")
    return np.asarray(weights, np.float32)


def class_weights(codes: np.ndarray, train: TrainSpec, target: FittedTarget) -> np.ndarray | None:
    """(rows,) float32 for labels as `FittedTarget.encode` gives them, or None where the job weighs no class.

    Raises SpecError.
    """
    if train.class_weight is None:
        return None
    if target.classes is None:
        raise SpecError("train.class_weight goes with classes, but data.target.kind is number; remove it")
    if target.kind == "multi_label":
        raise SpecError(
            f"train.class_weight goes with one class per row, but {target.column!r} may have several; give rows a "
            "weight with data.sample_weight"
        )
    labels = [str(label) for label in target.classes]
    for name in train.class_weight:
        if name not in labels:
            raise SpecError(f"train.class_weight: {unknown('label', name, labels)}")
    by_class = np.array([train.class_weight.get(label, 1.0) for label in labels], np.float32)
    return np.asarray(by_class[codes.argmax(axis=1) if codes.ndim == 2 else codes])
