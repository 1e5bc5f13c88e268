"""What labels, loss and metrics must be for each other is said before anything trains."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from configs.errors import DataError, SpecError
from configs.job import JobSpec
from orchestrator.datasets import prepare

Make = Callable[..., JobSpec]
HEADER = "size,colour,label\n"
GOOD = HEADER + "".join(f"{size},{'red' if size % 3 else 'blue'},{'ab'[size % 2]}\n" for size in range(40))


def message(call: Callable[[], Any]) -> str:
    with pytest.raises((DataError, SpecError)) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    return text


TWO, THREE = GOOD, HEADER + "1,a,0\n2,b,1\n3,b,2\n" * 9
NUMBERS = HEADER + "1,a,0.5\n2,b,1.5\n" * 9
SPARSE = "use sparse_categorical_crossentropy"
AS_ONE_HOT = ", or set data.target.kind=one_hot"


@pytest.mark.parametrize(
    ("content", "loss", "expected"),
    [
        (THREE, "binary_crossentropy", "expects 2 classes, but 'label' has 3 classes (0, 1, 2); " + SPARSE),
        (THREE, "binary_focal_crossentropy", "expects 2 classes, but 'label' has 3 classes (0, 1, 2); " + SPARSE),
        (
            TWO,
            "categorical_crossentropy",
            "expects one-hot labels, but 'label' becomes one integer per row; " + SPARSE + AS_ONE_HOT,
        ),
        (
            TWO,
            "categorical_hinge",
            "expects one-hot labels, but 'label' becomes one integer per row; " + SPARSE + AS_ONE_HOT,
        ),
        (
            TWO,
            "mse",
            "expects numbers, but 'label' has 2 classes ('a', 'b'); set data.target.kind=number or " + SPARSE,
        ),
        (NUMBERS, "binary_crossentropy", "expects classes, but data.target.kind is number; set it to class"),
    ],
)
def test_a_loss_that_does_not_fit_the_target(csv: Make, content: str, loss: str, expected: str) -> None:
    kind = "number" if content is NUMBERS else "class"
    spec = csv(content, f"train.loss={loss}", f"data.target.kind={kind}")
    assert message(lambda: prepare(spec)) == f"train.loss={loss} {expected}"


@pytest.mark.parametrize(
    ("content", "loss", "kind"),
    [
        (TWO, "binary_crossentropy", "class"),
        (TWO, "sparse_categorical_crossentropy", "class"),
        (TWO, "hinge", "class"),
        (THREE, "sparse_categorical_crossentropy", "class"),
        (NUMBERS, "mse", "number"),
        (NUMBERS, "huber", "number"),
    ],
)
def test_losses_that_fit(csv: Make, content: str, loss: str, kind: str) -> None:
    data = prepare(csv(content, f"train.loss={loss}", f"data.target.kind={kind}"))
    assert data.splits["train"].target.dtype == (np.int64 if kind == "class" else np.float32)


BINARY, SPARSE_LOSS = "binary_crossentropy", "sparse_categorical_crossentropy"
ONE_HOT = "one-hot labels, but 'label' becomes one integer per row; use "


@pytest.mark.parametrize(
    ("content", "loss", "metric", "expected"),
    [
        (TWO, BINARY, "f1_score", ONE_HOT + "precision and recall"),
        (THREE, SPARSE_LOSS, "f1_score", ONE_HOT + "sparse_categorical_accuracy"),
        (TWO, BINARY, "categorical_accuracy", ONE_HOT + "accuracy"),
        (THREE, SPARSE_LOSS, "categorical_accuracy", ONE_HOT + "sparse_categorical_accuracy"),
        (THREE, SPARSE_LOSS, "top_k_categorical_accuracy", ONE_HOT + "sparse_top_k_categorical_accuracy"),
        (THREE, SPARSE_LOSS, "auc", "2 classes, but 'label' has 3 classes (0, 1, 2); use sparse_categorical_accuracy"),
        (
            TWO,
            SPARSE_LOSS,
            "recall",
            f"one output for both classes, but train.loss={SPARSE_LOSS} has two; use train.loss={BINARY}",
        ),
        (THREE, SPARSE_LOSS, "mae", "numbers, but 'label' has 3 classes (0, 1, 2); use sparse_categorical_accuracy"),
        (
            TWO,
            BINARY,
            "sparse_categorical_accuracy",
            f"one output per class, but train.loss={BINARY} has one for both; use accuracy",
        ),
        (NUMBERS, "mse", "f1_score", "classes, but data.target.kind is number; use mean_absolute_error"),
    ],
)
def test_a_metric_that_does_not_fit_the_target(csv: Make, content: str, loss: str, metric: str, expected: str) -> None:
    kind = "number" if content is NUMBERS else "class"
    spec = csv(content, f"train.loss={loss}", f"data.target.kind={kind}", f"train.metrics=[accuracy, {metric}]")
    assert message(lambda: prepare(spec)) == f"train.metrics: {metric} expects {expected}"


@pytest.mark.parametrize(
    ("content", "loss", "metrics"),
    [
        (TWO, BINARY, "accuracy, auc, binary_accuracy, precision, recall, mae"),
        (TWO, SPARSE_LOSS, "accuracy, sparse_categorical_accuracy"),
        (THREE, SPARSE_LOSS, "accuracy, sparse_categorical_accuracy, sparse_top_k_categorical_accuracy"),
        (NUMBERS, "mse", "mae, r2_score, root_mean_squared_error, cosine_similarity"),
    ],
)
def test_metrics_that_fit(csv: Make, content: str, loss: str, metrics: str) -> None:
    kind = "number" if content is NUMBERS else "class"
    prepare(csv(content, f"train.loss={loss}", f"data.target.kind={kind}", f"train.metrics=[{metrics}]"))


def test_many_classes_are_not_all_listed(csv: Make) -> None:
    content = HEADER + "".join(f"1,a,{label}\n" for label in range(8)) * 9
    expected = "train.loss=hinge expects 2 classes, but 'label' has 8 classes (0, 1, 2, 3, 4, ...); " + SPARSE
    assert message(lambda: prepare(csv(content, "train.loss=hinge"))) == expected


def test_labels_that_differ_in_spaces_alone(csv: Make) -> None:
    rows = "".join(f"{n},red,{label}\n" for n in range(10) for label in ("yes", "yes ", "no", "no "))
    spec = csv(f"size,colour,label\n{rows}", "train.loss=binary_crossentropy")
    text = message(lambda: prepare(spec))
    assert "4 classes ('no', 'no ', 'yes', 'yes '), some alike but for spaces (give data.target.strip: \" \")" in text
    fixed = csv(f"size,colour,label\n{rows}", 'data.target.strip=" "', "train.loss=binary_crossentropy")
    assert prepare(fixed).classes == 2
