"""Training, `predict` and the endpoint make the same model inputs of the same raw rows, on every recipe's own data."""

import json
from pathlib import Path

import numpy as np
import pytest

from configs.load import load_spec
from configs.preprocessing import Preprocessing
from orchestrator.datasets import Prepared, json_rows, prepare
from orchestrator.loading import chosen_loading
from orchestrator.prediction import read_rows
from orchestrator.streaming import in_turn, pieces, streamed

SOURCES = {
    "titanic": ["data.csv={0}/titanic/train.csv"],
    "adult": ["data.files={0}/adult/adult-train.csv", "data.test_files={0}/adult/adult-test.csv"],
    "housing": ["data.csv={0}/california_housing/housing.csv"],
    "fashion": ["data.files={0}/fashion_mnist/t10k-images-idx3-ubyte.gz", "data.test_files=null"],
    "cifar": ["data.files={0}/cifar10_images/train", "data.test_files={0}/cifar10_images/test"],
    "reviews": ["data.files=[{0}/movie_reviews/rt-polarity.pos, {0}/movie_reviews/rt-polarity.neg]"],
    "sms": ["data.files={0}/sms_spam/SMSSpamCollection"],
    "pollution": ["data.csv={0}/time_series/pollution.csv"],
}
"""Recipe -> overrides that say where its data lies; the first names the file that is predicted."""
ROWS = 64


def of_training(ready: Prepared, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The inputs that training sees for examples by number."""
    places = {
        int(row): (part, place) for part, numbers in ready.facts.parts.items() for place, row in enumerate(numbers)
    }
    found = [ready.splits[part].take(slice(place, place + 1)) for part, place in (places[int(row)] for row in rows)]
    return {name: np.concatenate([one.inputs[name] for one in found]) for name in found[0].inputs}


@pytest.mark.parametrize("recipe", SOURCES)
def test_all_three_ways_give_the_same_inputs(recipe: str, shared_data: Path) -> None:
    overrides = [override.format(shared_data) for override in SOURCES[recipe]]
    spec = load_spec(recipe, overrides)
    ready = prepare(spec)
    served = Preprocessing.model_validate_json(ready.preprocessing.model_dump_json())
    file = Path(str((spec.data.places["train"])[0]))
    columns, last = served.examples_of(read_rows(file, served))
    predicted = served.transform(columns)

    ahead = spec.data.window.horizon if spec.data.window else 0
    place_of = {int(row) + ahead: place for place, row in enumerate(last)}
    here = [number for number, row in enumerate(ready.facts.source_rows) if int(row) in place_of]
    rows = np.random.default_rng(0).permutation(here)[:ROWS]
    trained = of_training(ready, rows)

    raw = {name: column[rows] for name, column in ready.facts.columns.items()}
    asked = served.transform(served.columns_of(json.loads(json.dumps(json_rows(raw), allow_nan=False))))
    places = [place_of[int(ready.facts.source_rows[row])] for row in rows]
    assert trained.keys() == asked.keys() == predicted.keys()
    for name, array in trained.items():
        np.testing.assert_array_equal(asked[name], array)
        np.testing.assert_array_equal(predicted[name][places], array)


@pytest.mark.parametrize("recipe", [recipe for recipe in SOURCES if recipe != "pollution"])  # windows are not streamed
def test_streaming_gives_the_same_rows(
    recipe: str, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same parts and order, from several pieces; sums of several pieces differ in their last digits."""
    monkeypatch.setattr(pieces, "PIECE_BYTES", 200_000)
    overrides = [override.format(shared_data) for override in SOURCES[recipe]]
    spec = load_spec(recipe, [*overrides, "data.loading=streaming"])
    ready = prepare(spec)
    with chosen_loading(spec) as loading:
        with streamed(spec, loading, in_turn, tmp_path / "rows", lambda text: None) as stored:
            assert stored.splits.keys() == ready.splits.keys()
            for name, split in ready.splits.items():
                assert len(stored.splits[name]) == len(split)
                rows = np.random.default_rng(0).permutation(len(split))[:ROWS]
                found, expected = stored.splits[name].take(rows), split.take(rows)
                np.testing.assert_array_equal(found.source_rows, expected.source_rows)
                np.testing.assert_array_equal(found.target, expected.target)
                for key, array in expected.inputs.items():
                    np.testing.assert_allclose(found.inputs[key], array, rtol=1e-4, atol=1e-5)
                    assert found.inputs[key].dtype == array.dtype
