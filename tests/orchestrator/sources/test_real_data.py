"""The public data sets of the recipes are read row for row."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.sources import Loaded

Load = Callable[..., Loaded]
ADULT = """age workclass fnlwgt education education-num marital-status occupation relationship race sex capital-gain
capital-loss hours-per-week native-country income""".split()


def counts(values: np.ndarray) -> dict[Any, int]:
    return dict(Counter(values.tolist()))


def test_titanic(shared_data: Path, load: Load) -> None:
    features = {"Age": "number", "Name": "text", "Cabin": "category"}
    rows = load(csv=str(shared_data / "titanic/train.csv"), features=features, target={"column": "Survived"})
    assert rows.parts == {"train": 891}
    assert counts(rows.columns["Survived"]) == {"0": 549, "1": 342}
    assert np.isnan(rows.columns["Age"]).sum() == 177
    assert counts(rows.columns["Cabin"])[None] == 687
    assert len(set(rows.columns["Name"])) == 891


def test_adult(shared_data: Path, load: Load) -> None:
    folder = shared_data / "adult"
    rows = load(
        csv=str(folder / "adult-train.csv"),
        test_files=str(folder / "adult-test.csv"),
        read={"names": ADULT, "missing": ["?"], "trim": True},
        features={"age": "number", "workclass": "category", "occupation": "category", "native-country": "category"},
        target={"column": "income", "strip": "."},
    )
    assert rows.parts == {"train": 32_561, "test": 16_281}
    train = {name: column[:32_561] for name, column in rows.columns.items()}
    # What means a missing value is decided later, alike for every carrier.
    assert {name: counts(train[name])["?"] for name in ("workclass", "occupation", "native-country")} == {
        "workclass": 1_836,
        "occupation": 1_843,
        "native-country": 583,
    }
    assert counts(train["income"]) == {"<=50K": 24_720, ">50K": 7_841}
    assert counts(rows.columns["income"][32_561:]) == {"<=50K.": 12_435, ">50K.": 3_846}
    assert (train["age"].min(), train["age"].max(), len(set(train["age"]))) == (17, 90, 73)


def test_housing(shared_data: Path, load: Load) -> None:
    rows = load(
        csv=str(shared_data / "california_housing/housing.csv"),
        features={"total_bedrooms": "number", "ocean_proximity": "category"},
        target={"column": "median_house_value", "kind": "number"},
    )
    assert rows.parts == {"train": 20_640}
    assert np.isnan(rows.columns["total_bedrooms"]).sum() == 207
    assert round(rows.columns["median_house_value"].mean()) == 206_856
    assert counts(rows.columns["ocean_proximity"])["<1H OCEAN"] == 9_136


def test_pollution(shared_data: Path, load: Load) -> None:
    rows = load(
        csv=str(shared_data / "time_series/pollution.csv"),
        features={"cbwd": "category", "TEMP": "number"},
        target={"column": "pm2.5", "kind": "number"},
    )
    assert rows.parts == {"train": 43_824}
    assert np.isnan(rows.columns["pm2.5"]).sum() == 2_067
    assert np.isnan(rows.columns["pm2.5"][:24]).all()
    assert set(rows.columns["cbwd"]) == {"NW", "cv", "NE", "SE"}


def test_sms(shared_data: Path, load: Load) -> None:
    rows = load(
        files=str(shared_data / "sms_spam/SMSSpamCollection"),
        format="csv",
        read={"names": ["label", "message"], "separator": "\t", "quote": None},
        features={"message": "text"},
        target={"column": "label"},
    )
    assert rows.parts == {"train": 5_574}
    assert counts(rows.columns["label"]) == {"ham": 4_827, "spam": 747}
    assert max(map(len, rows.columns["message"])) == 910


def test_reviews(shared_data: Path, load: Load) -> None:
    rows = load(
        files=str(shared_data / "movie_reviews/rt-polarity.*"),
        format="text",
        read={"labels": {".pos": "good", ".neg": "bad"}},
        features={"text": "text"},
        target={"column": "label"},
    )
    assert rows.parts == {"train": 10_662}
    assert counts(rows.columns["label"]) == {"good": 5_331, "bad": 5_331}
    assert rows.columns["text"][5_331].startswith("the rock is destined to be")


def test_fashion(shared_data: Path, load: Load) -> None:
    folder = shared_data / "fashion_mnist"
    rows = load(
        files=str(folder / "train-images-idx3-ubyte.gz"),
        test_files=str(folder / "t10k-images-idx3-ubyte.gz"),
        features={"image": "image"},
        target={"column": "label"},
    )
    images, labels = rows.columns["image"], rows.columns["label"]
    assert rows.parts == {"train": 60_000, "test": 10_000}
    assert (images.shape, images.dtype) == ((70_000, 28, 28, 1), np.uint8)
    assert counts(labels[60_000:]) == dict.fromkeys(range(10), 1_000)
    assert images[:60_000].mean() / 255 == pytest.approx(0.2860, abs=5e-5)
    assert images[60_000:].mean() / 255 == pytest.approx(0.2868, abs=5e-5)


def test_cifar(shared_data: Path, load: Load) -> None:
    folder = shared_data / "cifar10_images"
    rows = load(
        files=str(folder / "train"),
        test_files=str(folder / "test"),
        features={"image": "image"},
        target={"column": "label"},
    )
    assert rows.parts == {"train": 1_000, "test": 200}
    assert rows.columns["image"].shape == (1_200, 32, 32, 3)
    assert set(counts(rows.columns["label"][:1_000]).values()) == {100}
    assert len(set(rows.columns["label"])) == 10
