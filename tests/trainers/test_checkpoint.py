"""A checkpoint gives back weights, optimizer slots and seeds, and its model file holds layers alone."""

import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from trainers import checkpoint
from trainers.checkpoint import Progress

X = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
Y = X.sum(axis=1)


def model_of(seed: int, optimizer: str = "adam") -> keras.Model:
    keras.utils.set_random_seed(seed)
    layers = [keras.Input((3,)), keras.layers.Dense(4), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
    model = keras.Sequential([*layers, keras.layers.Dense(1)])
    model.compile(optimizer, "mse", jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


def train(model: keras.Model, epochs: int) -> list[float]:
    return model.fit(X, Y, epochs=epochs, batch_size=4, shuffle=False, verbose=0).history["loss"]


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_a_restored_model_goes_on_as_if_nothing_had_happened(tmp_path: Path, optimizer: str) -> None:
    """Moments, step count and the seeds of dropout included: the losses are equal, not close."""
    model = model_of(1, optimizer)
    train(model, 2)
    checkpoint.save(model, Progress(2, {"loss": 0.5}), tmp_path)
    expected = train(model, 2)

    other = model_of(2, optimizer)
    assert checkpoint.restore(other, tmp_path) == Progress(2, {"loss": 0.5})
    assert train(other, 2) == expected


def test_weights_alone_leave_the_optimizer_as_it_is(tmp_path: Path) -> None:
    model = model_of(1)
    train(model, 1)
    checkpoint.save(model, Progress(1, {}), tmp_path)
    other = model_of(2)
    assert checkpoint.restore_weights(other, str(tmp_path)).epoch == 1
    np.testing.assert_array_equal(other.predict(X, verbose=0), model.predict(X, verbose=0))
    assert int(other.optimizer.iterations) == 0
    assert int(model.optimizer.iterations) == 4


def test_the_folder_explains_itself(tmp_path: Path) -> None:
    checkpoint.save(model_of(1), Progress(3, {"val_loss": 0.25}), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"model.keras", "training.npz", "progress.json"}
    assert json.loads((tmp_path / "progress.json").read_text()) == {
        "epoch": 3,
        "metrics": {"val_loss": 0.25},
        "step": 0,
    }


def test_inside_an_epoch_what_the_metrics_counted_is_kept(tmp_path: Path) -> None:
    counted = [np.float32(2.5), np.array([1, 2], np.float32)]
    checkpoint.save(model_of(1), Progress(3, {}, step=7), tmp_path, counted)
    assert checkpoint.restore(model_of(2), tmp_path) == Progress(3, {}, step=7)
    assert [array.tolist() for array in checkpoint.counted_metrics(tmp_path)] == [2.5, [1, 2]]
    (tmp_path / "metrics.npz").unlink()
    assert checkpoint.counted_metrics(tmp_path) == [], "the end of an epoch"


def test_the_model_file_holds_no_optimizer(tmp_path: Path) -> None:
    """It is what gets registered: a serving image must load it without the training code."""
    model = model_of(1)
    train(model, 1)
    checkpoint.save(model, Progress(1, {}), tmp_path)
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        config = json.loads(file.read("config.json"))
    assert config["compile_config"] == {}
    assert "Adam" not in json.dumps(config)
    assert getattr(keras.saving.load_model(tmp_path / "model.keras"), "optimizer", None) is None


def test_saving_leaves_the_model_ready_to_train(tmp_path: Path) -> None:
    saved, untouched = model_of(1), model_of(1)
    checkpoint.save(saved, Progress(0, {}), tmp_path)
    assert saved.compiled
    assert train(saved, 2) == train(untouched, 2)


class OwnStep(keras.Model):
    """As in Keras's guide on train_step: what it has of its own is for training alone."""

    def train_step(self, data):
        return super().train_step(data)


class OwnSequential(keras.Sequential):
    def train_step(self, data):
        return super().train_step(data)


def own_step(seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(4, activation="relu")(inputs)
    return OwnStep(inputs, keras.layers.Dense(1)(hidden))


def own_sequential(seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return OwnSequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(1)])


@pytest.mark.parametrize("make", [own_step, own_sequential])
def test_a_train_step_of_ones_own_is_not_needed_to_load_the_model(tmp_path: Path, make) -> None:
    model = make(1)
    model.compile("adam", "mse", jit_compile=False)
    train(model, 2)
    checkpoint.save(model, Progress(2, {}), tmp_path)
    loaded = keras.saving.load_model(tmp_path / checkpoint.MODEL, safe_mode=True)
    assert type(loaded).__module__.startswith("keras.")
    np.testing.assert_array_equal(loaded(X), model(X))
    other = make(2)
    other.compile("adam", "mse", jit_compile=False)
    train(other, 1)
    assert checkpoint.restore(other, tmp_path).epoch == 2
    np.testing.assert_array_equal(other(X), model(X))
    assert train(other, 1) == train(model, 1)
