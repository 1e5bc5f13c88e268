"""Whether labels, loss and metrics go together; what does not would fail minutes later, inside a worker."""

from configs.errors import DataError, SpecError
from configs.preprocessing import FittedTarget
from configs.train import TrainSpec

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
