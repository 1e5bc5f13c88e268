"""One-hot, multi-label and several numeric targets in jobs: what trains, what is refused, and advice that works."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from configs.errors import DataError, SpecError
from configs.job import JobSpec
from orchestrator.datasets import Prepared, prepare
from orchestrator.loading import chosen_loading
from orchestrator.report import page, warnings
from orchestrator.streaming import in_turn, streamed

Make = Callable[..., JobSpec]
ROWS = "size,cat,dog,cow,sum\n" + "".join(
    f"{row},{int(row % 3 == 0)},{int(row % 3 == 1)},{int(row % 3 == 2)},{row / 2}\n" for row in range(60)
)
TWO_OF_THREE = ROWS.replace(",1,0,0,", ",1,1,0,")
BASE = ("data.features={size: number}", "data.target={column: [cat, dog, cow]}", "train.metrics=[]")
ONE_HOT, BINARY = "train.loss=categorical_crossentropy", "train.loss=binary_crossentropy"


def kind_of(data: Prepared) -> str:
    return data.preprocessing.target.kind


@pytest.mark.parametrize(
    ("content", "loss", "kind"), [(ROWS, ONE_HOT, "one_hot"), (TWO_OF_THREE, BINARY, "multi_label")]
)
@pytest.mark.parametrize("split", ["random", "stratified"])
@pytest.mark.parametrize("options", [[], ["data.bad_rows=skip", "data.drop_duplicates=true"]])
def test_streaming_gives_what_memory_gives(  # noqa: PLR0913 - fixtures and cases
    csv: Make, tmp_path: Path, content: str, loss: str, kind: str, split: str, options: list[str]
) -> None:
    spec = csv(content, *BASE, f"data.split={{by: {split}, valid: 0.2, test: 0.1}}", loss, *options)
    expected = prepare(spec)
    assert kind_of(expected) == kind
    assert expected.classes == 3
    assert expected.facts.inferred == f"target 'target' as {kind} of 3, as {loss}"
    on_disk = csv(
        content, *BASE, f"data.split={{by: {split}, valid: 0.2, test: 0.1}}", loss, "data.loading=streaming", *options
    )
    with (
        chosen_loading(on_disk) as loading,
        streamed(on_disk, loading, in_turn, tmp_path / "rows", lambda text: None) as found,
    ):
        assert found.preprocessing.target == expected.preprocessing.target
        assert found.facts.inferred == expected.facts.inferred
        for name, part in expected.splits.items():
            np.testing.assert_array_equal(found.splits[name].take(slice(None)).target, part.take(slice(None)).target)
    assert page(expected.facts, list(warnings(expected.facts)), expected.facts.fingerprint).count("target=cat") == 1


def test_a_stratified_split_holds_every_class_alike(csv: Make) -> None:
    data = prepare(csv(ROWS, *BASE, ONE_HOT, "data.split={by: stratified, valid: 0.2}"))
    assert data.splits["valid"].take(slice(None)).target.sum(axis=0).tolist() == [4, 4, 4]


def test_classes_are_weighed(csv: Make) -> None:
    data = prepare(csv(ROWS, *BASE, ONE_HOT, "train.class_weight={dog: 5}"))
    part = data.splits["train"].take(slice(None))
    np.testing.assert_array_equal(part.weight, np.where(part.target[:, 1] == 1, 5, 1))


def test_several_numbers(csv: Make) -> None:
    numbers = "data.target={columns: [size, sum], kind: number}"
    data = prepare(csv(ROWS, "data.features={cat: number}", numbers, "train.loss=mean_squared_error"))
    assert data.splits["train"].take(slice(0, 2)).target.shape == (2, 2)
    assert kind_of(data) == "number"


SET = "data.target.kind"


@pytest.mark.parametrize(
    ("content", "options", "expected", "fix"),
    [
        (ROWS, ["train.loss=sparse_categorical_crossentropy"], "use categorical_crossentropy", [ONE_HOT]),
        (ROWS, ["train.loss=mse"], "set data.target.kind=number", ["train.loss=mse", f"{SET}=number"]),
        (ROWS, [], "set data.target.kind to one_hot", [f"{SET}=one_hot"]),
        (
            TWO_OF_THREE,
            [ONE_HOT],
            "data.target.kind=multi_label with train.loss=binary_crossentropy",
            [f"{SET}=multi_label", BINARY],
        ),
        (
            ROWS.replace("4,0,1,0", "4,0,7,0"),
            [BINARY],
            "data.target.kind=number and train.loss=mean_squared_error",
            [f"{SET}=number", "train.loss=mean_squared_error"],
        ),
        (ROWS, [f"{SET}=one_hot", BINARY], "use categorical_crossentropy", [ONE_HOT]),
        (ROWS, [f"{SET}=multi_label", ONE_HOT], "use binary_crossentropy", [f"{SET}=multi_label", BINARY]),
        (
            ROWS,
            [BINARY, "train.metrics=[accuracy]"],
            "use binary_accuracy",
            [BINARY, "train.metrics=[binary_accuracy]"],
        ),
        (
            ROWS,
            [ONE_HOT, "train.metrics=[sparse_categorical_accuracy]"],
            "use categorical_accuracy",
            [ONE_HOT, "train.metrics=[categorical_accuracy]"],
        ),
        (ROWS, [BINARY, "train.class_weight={cat: 2}"], "give rows a weight with data.sample_weight", [BINARY]),
    ],
)
def test_what_does_not_fit_is_told_with_a_fix_that_works(
    csv: Make, content: str, options: list[str], expected: str, fix: list[str]
) -> None:
    with pytest.raises((SpecError, DataError)) as caught:
        prepare(csv(content, *BASE, *options))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert prepare(csv(content, *BASE, *fix)).classes in (3, None)


def test_the_only_class_that_is_there(csv: Make) -> None:
    content = "size,cat,dog,cow,sum\n" + "".join(f"{row},1,0,0,1\n" for row in range(30))
    with pytest.raises(DataError, match="has one class, 'cat', in the training part; there is nothing to learn"):
        prepare(csv(content, *BASE, ONE_HOT))


def test_a_label_column_as_one_hot(csv: Make) -> None:
    content = "size,label\n" + "".join(f"{row},{'abc'[row % 3]}\n" for row in range(30))
    options = ("data.features={size: number}", ONE_HOT, "train.metrics=[]")
    with pytest.raises(SpecError, match="or set data.target.kind=one_hot"):
        prepare(csv(content, *options))
    assert prepare(csv(content, *options, "data.target.kind=one_hot")).splits["train"].take(
        slice(0, 1)
    ).target.shape == (1, 3)


@pytest.mark.parametrize("kind", ["class", "number"])
@pytest.mark.parametrize(("function", "expected"), [("one", "one_hot"), ("several", "multi_label")])
def test_arrays_of_a_function(small_job: Make, tmp_path: Path, kind: str, function: str, expected: str) -> None:
    (tmp_path / "made_rows.py").write_text(
        "import numpy as np\na = np.arange(60) / 60\n"
        "def one():\n    return {'a': a, 'y': np.eye(3)[(a * 3).astype(int)]}\n"
        "def several():\n    return {'a': a, 'y': np.stack([a > .3, a > .6], 1).astype(float)}\n"
    )
    data = f"data={{function: 'made_rows:{function}', features: {{a: number}}, target: {{column: y, kind: {kind}}}}}"
    loss = ONE_HOT if expected == "one_hot" else BINARY
    assert kind_of(prepare(small_job(data, loss, "train.metrics=[]"))) == expected
