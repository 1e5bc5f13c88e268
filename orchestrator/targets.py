"""Whether labels, loss and metrics go together; what does not would fail minutes later, inside a worker."""

import numpy as np

from configs.data import DataSpec
from configs.errors import DataError, SpecError
from configs.features import TargetSpec
from configs.preprocessing import FittedTarget
from configs.train import TrainSpec

BINARY = {"binary_crossentropy", "binary_focal_crossentropy", "hinge", "squared_hinge"}
ONE_HOT = {"categorical_crossentropy", "categorical_focal_crossentropy", "categorical_hinge"}


VECTOR = ONE_HOT | {"kl_divergence", "cosine_similarity", "mean_squared_error", "mse", "mean_absolute_error", "mae"}
"""Losses that take the numbers of a one-hot row."""
SPARSE = "sparse_categorical_crossentropy"


def resolved(data: DataSpec, loss: str | None, values: np.ndarray) -> tuple[DataSpec, str]:
    """The job's data with the kind of its target settled by the first values and the loss; one line where it was open.

    values: (rows,) or (rows, k). Raises SpecError where nothing tells it.
    """
    target = data.target
    kind = _kind(target, loss, values)
    several = values.ndim == 2
    if several and kind == "number" and data.split.by == "stratified":
        raise SpecError(
            f"data.split.by=stratified goes with classes, but {target.column!r} is numbers; use by: random"
        )
    if kind == target.kind:
        return data, ""
    why = f"as train.loss={loss}" if not target.separator else "as data.target.separator is given"
    said = f"target {target.column!r} as {kind}{f' of {values.shape[1]}' if several else ''}, {why}"
    return data.model_copy(update={"target": target.model_copy(update={"kind": kind})}), said


def _kind(target: TargetSpec, loss: str | None, values: np.ndarray) -> str:
    if target.separator and values.ndim == 1:
        return "multi_label"
    if values.ndim == 1 or target.kind in {"one_hot", "multi_label"}:
        return target.kind
    if loss in ONE_HOT or loss in BINARY:
        return "one_hot" if loss in ONE_HOT else "multi_label"
    if target.kind == "number":
        return target.kind
    what = f"target {target.column!r} has {values.shape[1]} values per row"
    if loss is None:
        raise SpecError(f"{what}; set data.target.kind to one_hot (one class a row), multi_label or number")
    if loss == SPARSE:
        raise SpecError(f"train.loss={loss} expects one label per row, but {what}; use categorical_crossentropy")
    raise SpecError(f"train.loss={loss} expects numbers, but data.target.kind is class; set data.target.kind=number")


def check_target(loss: str | None, target: FittedTarget, column: str) -> None:
    """Raise SpecError when the labels are not what the loss expects; a loss not given here is the model's own."""
    classes = target.classes
    if classes is not None and not classes:
        raise DataError(f"target {column!r} has no label in the training part; there is nothing to learn")
    if classes is not None and len(classes) < 2 and target.kind != "multi_label":
        raise DataError(
            f"target {column!r} has one class, {classes[0]!r}, in the training part; there is nothing to learn"
        )
    problem = loss and _PROBLEMS[target.kind](loss, target, column)
    if problem:
        raise SpecError(f"train.loss={loss} expects {problem}")


def _of_class(loss: str, target: FittedTarget, column: str) -> str | None:
    shown = _shown(target.classes)
    if loss in BINARY and len(target.classes or ()) != 2:
        return f"2 classes, but {column!r} has {shown}; use {SPARSE}"
    if loss in ONE_HOT:
        what = f"one-hot labels, but {column!r} becomes one integer per row"
        return f"{what}; use {SPARSE}, or set data.target.kind=one_hot"
    if loss not in BINARY and loss != SPARSE:
        return f"numbers, but {column!r} has {shown}; set data.target.kind=number or use {SPARSE}"
    return None


def _of_one_hot(loss: str, target: FittedTarget, column: str) -> str | None:
    if loss in VECTOR:
        return None
    what = "one label per row" if loss == SPARSE else "labels of another kind"
    return f"{what}, but {column!r} is one-hot, with {_shown(target.classes)}; use categorical_crossentropy"


def _of_several(loss: str, target: FittedTarget, column: str) -> str | None:
    if loss in {"binary_crossentropy", "binary_focal_crossentropy"}:
        return None
    return f"labels of another kind, but {column!r} may have several labels a row; use binary_crossentropy"


def _of_number(loss: str, target: FittedTarget, column: str) -> str | None:
    if loss in ONE_HOT and target.width is None:
        return (
            f"one-hot labels, but data.target.kind is number; set it to one_hot, or set it to class and use {SPARSE}"
        )
    if loss == SPARSE and target.width is not None:
        return f"one label per row, but {column!r} has {target.width} numbers; use categorical_crossentropy"
    if "crossentropy" in loss or "hinge" in loss:
        return "classes, but data.target.kind is number; set it to class"
    return None


_PROBLEMS = {"class": _of_class, "one_hot": _of_one_hot, "multi_label": _of_several, "number": _of_number}


PER_CLASS = {"accuracy", "sparse_categorical_accuracy", "sparse_top_k_categorical_accuracy"}
"""Metrics that take an integer label and an output per class."""
ONE_HOT_METRICS = {"categorical_accuracy", "f1_score", "top_k_categorical_accuracy"}
YES_NO = {"auc", "binary_accuracy", "precision", "recall"}
"""Metrics that take one output, the probability of the second class."""


def check_metrics(train: TrainSpec, target: FittedTarget, column: str) -> None:
    """Raise SpecError when a metric cannot be measured on one label per row; the loss is right already."""
    for key in ("metrics", "weighted_metrics"):
        for metric in getattr(train, key) if train.loss else ():
            if target.kind in {"one_hot", "multi_label"}:
                problem = _problem_with_several(metric, target.kind, column)
            else:
                problem = _problem_with(metric, str(train.loss), target.classes, column)
            if problem:
                raise SpecError(f"train.{key}: {metric} expects {problem}")


def _problem_with_several(metric: str, kind: str, column: str) -> str | None:
    if metric in PER_CLASS - {"accuracy"}:
        use = "categorical_accuracy" if kind == "one_hot" else "binary_accuracy"
        return f"one integer per row, but {column!r} is {kind}; use {use}"
    if kind == "multi_label" and metric in {"accuracy", *ONE_HOT_METRICS}:
        use = "precision and recall" if metric == "f1_score" else "binary_accuracy"
        return f"one class per row (it compares the largest output only), but {column!r} is multi_label; use {use}"
    return None


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
    told = f"{len(classes)} classes ({', '.join(map(repr, classes[:5]))}{', ...' if len(classes) > 5 else ''})"
    if len({str(label).strip() for label in classes}) < len(classes):
        return f'{told}, some alike but for spaces (give data.target.strip: " ")'
    return told
