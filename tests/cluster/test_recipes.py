"""Every recipe reaches on its test part what a practitioner would accept, from the words of the README."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.soak]

FASHION = "{0}/fashion_mnist/{1}-images-idx3-ubyte.gz"


def train(recipe: str, *overrides: str, cwd: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "orchestrator", "train", recipe, *overrides, "--json"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout)["metrics"])


@pytest.mark.parametrize(
    ("recipe", "overrides", "at_least"),
    [
        ("titanic", ["data.csv={0}/titanic/train.csv"], {"val_accuracy": 0.79}),
        (
            "adult",
            ["data.files={0}/adult/adult-train.csv", "data.test_files={0}/adult/adult-test.csv"],
            {"test_accuracy": 0.85, "test_auc": 0.90},
        ),
        (
            "fashion",
            [f"data.files={FASHION.format('{0}', 'train')}", f"data.test_files={FASHION.format('{0}', 't10k')}"],
            {"test_accuracy": 0.90},
        ),
        (
            "reviews",
            ["data.files=[{0}/movie_reviews/rt-polarity.pos, {0}/movie_reviews/rt-polarity.neg]"],
            {"test_accuracy": 0.74},
        ),
        ("sms", ["data.files={0}/sms_spam/SMSSpamCollection"], {"test_accuracy": 0.98}),
        (
            "cifar",
            ["data.files={0}/cifar10_images/train", "data.test_files={0}/cifar10_images/test"],
            {"test_accuracy": 0.30},
        ),
    ],
)
def test_a_classifier_is_good_enough(
    recipe: str, overrides: list[str], at_least: dict[str, float], shared_data: Path, tmp_path: Path
) -> None:
    metrics = train(recipe, *(override.format(shared_data) for override in overrides), cwd=tmp_path)
    for name, floor in at_least.items():
        assert metrics[name] >= floor, metrics


def test_house_prices_are_close_enough(shared_data: Path, tmp_path: Path) -> None:
    metrics = train("housing", f"data.csv={shared_data}/california_housing/housing.csv", cwd=tmp_path)
    assert metrics["test_loss"] < 42_000  # the loss is the mean absolute error, in dollars


def test_the_next_hour_is_better_known_than_by_the_last_one(shared_data: Path, tmp_path: Path) -> None:
    file = shared_data / "time_series" / "pollution.csv"
    metrics = train("pollution", f"data.csv={file}", cwd=tmp_path)
    dust = pd.read_csv(file)["pm2.5"].to_numpy()
    known = np.flatnonzero(~np.isnan(dust[24:])) + 24
    tested = known[-round(0.1 * len(known)) :]
    same_as_before = np.nanmean(np.abs(dust[tested] - dust[tested - 1]))
    assert metrics["test_loss"] < same_as_before, same_as_before
