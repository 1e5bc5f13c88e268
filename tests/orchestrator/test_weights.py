"""What a row counts: from a column and from its class, folded into one number before rows are dealt out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from configs.errors import DataError, SpecError
from configs.job import JobSpec
from orchestrator.datasets import prepare
from trainers.job import TRAIN, VALID

Make = Callable[..., JobSpec]


def write(folder: Path, weights: list[object]) -> None:
    rows = [f"{size},{'big' if size > 20 else 'small'},{weight}" for size, weight in enumerate(weights, 1)]
    (folder / "small.csv").write_text("\n".join(["size,label,counts", *rows]) + "\n")


WEIGHTED = ("data.features={size: number}", "data.sample_weight=counts")


def test_a_column_weighs_the_rows_of_every_part(small_job: Make, tmp_path: Path) -> None:
    write(tmp_path, [row / 10 for row in range(1, 42)])
    for split in prepare(small_job(*WEIGHTED)).splits.values():
        assert split.weight is not None and split.source_rows is not None
        np.testing.assert_allclose(split.weight, split.source_rows / 10, rtol=1e-6)


def test_classes_weigh_in_training_alone(small_job: Make, tmp_path: Path) -> None:
    write(tmp_path, [2] * 41)
    splits = prepare(small_job(*WEIGHTED, "train.class_weight={small: 5}")).splits
    assert splits[TRAIN].weight.tolist() == [10.0 if code else 2.0 for code in splits[TRAIN].target]  # big is 0
    assert set(splits[VALID].weight.tolist()) == {2.0}


def test_without_weights_there_are_none(small_job: Make) -> None:
    assert all(split.weight is None for split in prepare(small_job()).splits.values())


def test_the_weight_column_is_no_feature(small_job: Make, tmp_path: Path) -> None:
    write(tmp_path, [row / 10 for row in range(1, 42)])
    job = small_job("data.features={size: number, '*': auto}", "data.sample_weight=counts")
    assert "counts" not in prepare(job).preprocessing.features


@pytest.mark.parametrize(("value", "shown"), [(-1, "-1"), ("", "nothing")])
def test_a_weight_that_is_none_is_named_with_its_row(
    small_job: Make, tmp_path: Path, value: object, shown: str
) -> None:
    write(tmp_path, [1] * 16 + [value] + [1] * 24)
    expected = f"small.csv: column 'counts', row 17: got {shown}, expected a weight of 0 or more$"
    with pytest.raises(DataError, match=expected):
        prepare(small_job(*WEIGHTED))


def test_weights_that_are_all_0(small_job: Make, tmp_path: Path) -> None:
    write(tmp_path, [0] * 41)
    with pytest.raises(DataError, match="column 'counts': every weight is 0"):
        prepare(small_job(*WEIGHTED))


def test_a_class_weight_for_no_label(small_job: Make) -> None:
    with pytest.raises(SpecError, match=r"train.class_weight: unknown label 'smal'.*small"):
        prepare(small_job("train.class_weight={smal: 5}"))


def test_a_class_weight_without_classes(small_job: Make) -> None:
    job = small_job(
        "data.target={column: size, kind: number}",
        "data.features={colour: category}",
        "train.loss=mse",
        "train.metrics=[]",
        "train.class_weight={small: 5}",
    )
    with pytest.raises(SpecError, match="train.class_weight goes with classes"):
        prepare(job)
