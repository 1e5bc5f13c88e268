"""Real Ray, real Horovod: a job that is interrupted inside an epoch ends as if nothing had happened."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from configs.errors import TrainingError
from configs.job import JobSpec
from orchestrator import run
from orchestrator.engine import train
from orchestrator.pipeline import open_job

pytestmark = pytest.mark.cluster

Make = Callable[..., JobSpec]

MODELS = '''
import time

import keras
import tensorflow as tf


def build():
    """A step takes 20 ms, so that a kill falls into the middle of an epoch; the metrics must survive it too."""
    layers = [keras.layers.Dense(8, activation="relu"), keras.layers.BatchNormalization(), keras.layers.Dropout(0.2)]
    model = keras.Sequential([*layers, keras.layers.Dense(1, activation="sigmoid")])
    plain = model.train_step

    def train_step(data):
        with tf.control_dependencies([tf.py_function(lambda: time.sleep(0.02), [], [])]):
            return plain(data)

    model.train_step = train_step
    return model


@keras.saving.register_keras_serializable()
class BreaksInTraining(keras.layers.Layer):
    def call(self, x, training=False):
        return x / 0.0 if training else x


def breaks():
    return keras.Sequential([BreaksInTraining(), keras.layers.Dense(1, activation="sigmoid")])


def stateless():
    return keras.Sequential([keras.layers.Dense(8, activation="relu"), keras.layers.Dense(1, activation="sigmoid")])
'''


@pytest.fixture
def make(small_job: Make, tmp_path: Path) -> Make:
    (tmp_path / "models.py").write_text(MODELS)
    common = ["train.epochs=2", "train.global_batch_rows=2", "train.checkpoint_every_steps=4", "model.params={}"]
    return lambda function, *more: small_job(*common, f"model.function=models:{function}", *more)


def epochs_of(events: list[dict]) -> list[dict]:
    kept = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")
    return [{name: event["metrics"][name] for name in kept} for event in events if event["kind"] == "epoch"]


def killing(events: list[dict], *, epoch: int, step: int) -> Callable[[dict], None]:
    """Record events, and kill rank 1 as soon as the checkpoint of that step is committed."""

    def on_event(event: dict) -> None:
        events.append(event)
        if event["kind"] == "checkpoint" and (event["epoch"], event["step"]) == (epoch, step):
            os.kill(next(one["pid"] for one in events if one["kind"] == "worker" and one["rank"] == 1), signal.SIGKILL)

    return on_event


def test_a_kill_inside_an_epoch_changes_neither_weights_nor_metrics(make: Make) -> None:
    """To the bit: weights, moving statistics, dropout, and the metrics of the epoch that was interrupted."""
    undisturbed: list[dict] = []
    seen: list[dict] = []
    spec = make("build")
    expected = run(spec, on_event=undisturbed.append)
    result = run(spec, on_event=killing(seen, epoch=2, step=8))
    assert [event["kind"] for event in seen].count("failure") >= 1
    steps = [(event["epoch"], event["step"]) for event in seen if event["kind"] == "checkpoint"]
    assert steps == [(1, 4), (1, 8), (2, 4), (2, 8)]
    assert epochs_of(seen) == epochs_of(undisturbed)
    assert result.weights_sha256 == expected.weights_sha256
    assert result.metrics == expected.metrics


def test_one_worker_goes_on_where_two_stopped(make: Make) -> None:
    """Two workers end inside the first epoch; one worker, from their checkpoint, ends where it would have alone."""
    seen: list[dict] = []
    alone: list[dict] = []
    one, two = make("stateless", "cluster.workers=1"), make("stateless", "train.max_restarts=0")
    with open_job(two) as job, pytest.raises(TrainingError, match="rank 1"):
        train(two, job.data, name="same", on_event=killing(seen, epoch=1, step=8))
    assert epochs_of(seen) == []
    with open_job(one) as job:
        resumed = train(one, job.data, name="same", on_event=seen.append, verifying=True)
        expected = train(one, job.data, name="alone", on_event=alone.append, verifying=True)
    steps = [(event["epoch"], event["step"]) for event in seen if event["kind"] == "checkpoint"]
    assert steps == [(1, 4), (1, 8), (2, 4), (2, 8)]
    metrics = [[list(epoch.values()) for epoch in epochs_of(events)] for events in (seen, alone)]
    np.testing.assert_allclose(*metrics, rtol=1e-5)
    for name, value in expected.outcome.weights.items():
        np.testing.assert_allclose(resumed.outcome.weights[name], value, atol=1e-5)


def test_a_loss_that_is_not_finite_names_the_rows(make: Make) -> None:
    """After the first step already, on both ranks alike, and nothing is repeated."""
    events: list[dict] = []
    expected = r"^the loss is not finite in epoch 1, step 1 of 12, on rank 0, with rows \d+ of the data\. Look for"
    with pytest.raises(TrainingError, match=expected):
        run(make("breaks"), on_event=events.append)
    assert [event["kind"] for event in events if event["kind"] in ("checkpoint", "epoch")] == []
    assert len([event for event in events if event["kind"] == "worker"]) == 2


def test_weighted_rows_give_two_ranks_what_one_process_has(make: Make, tmp_path: Path) -> None:
    """Losses, weighted metrics and weights agree, though the batches split unevenly and rows count differently."""
    rows = [f"{size},{'big' if size > 20 else 'small'},{size % 4}" for size in range(1, 42)]
    (tmp_path / "small.csv").write_text("\n".join(["size,label,counts", *rows]) + "\n")
    weighted = ("data.features={size: number}", "data.sample_weight=counts", "train.class_weight={small: 2}")
    options = ("train.weighted_metrics=[accuracy]", "train.global_batch_rows=7", "train.checkpoint_every_steps=0")
    found = {}
    for workers in (1, 2):
        events: list[dict] = []
        spec = make("stateless", f"cluster.workers={workers}", *weighted, *options)
        with open_job(spec) as job:
            trained = train(spec, job.data, name=f"weighted-{workers}", on_event=events.append, verifying=True)
        metrics = [event["metrics"] for event in events if event["kind"] == "epoch"]
        names = ("loss", "accuracy", "weighted_accuracy", "val_loss", "val_weighted_accuracy")
        found[workers] = [[each[name] for name in names] for each in metrics], trained.outcome.weights
    np.testing.assert_allclose(found[2][0], found[1][0], rtol=2e-5)
    assert found[1][0][0][1] != found[1][0][0][2], "the weights count in the weighted metric alone"
    for name, value in found[1][1].items():
        np.testing.assert_allclose(found[2][1][name], value, atol=1e-5)
