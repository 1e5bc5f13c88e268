"""Real Ray, two real Horovod processes: what a job promises from its YAML file to the registry."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from configs.job import JobSpec
from orchestrator import run

pytestmark = pytest.mark.cluster

Make = Callable[..., JobSpec]


def epochs_of(result, events):  # type: ignore[no-untyped-def]
    return [event["metrics"]["epoch"] for event in events if event["kind"] == "epoch"]


def test_two_ranks_train_what_one_process_trains(small_job: Make) -> None:
    """Same seed, same global batches: losses, metrics and predictions agree, though the batches split unevenly."""
    histories, golden = {}, {}
    for workers in (1, 2):
        events: list[dict] = []
        spec = small_job(f"cluster.workers={workers}", "train.global_batch_rows=7", "train.epochs=3")
        result = run(spec, on_event=events.append)
        reported = [event["metrics"] for event in events if event["kind"] == "epoch"]
        histories[workers] = np.array([[m["loss"], m["accuracy"], m["val_loss"], m["val_accuracy"]] for m in reported])
        folder = mlflow.artifacts.download_artifacts(f"models:/small/{result.version}")
        golden[workers] = np.array(json.loads(Path(folder, "golden.json").read_text())["outputs"])
        assert result.workers == workers
    np.testing.assert_allclose(histories[2], histories[1], rtol=2e-5)
    np.testing.assert_allclose(golden[2], golden[1], rtol=2e-5)


def test_a_run_leaves_metrics_checkpoints_and_a_servable_model(small_job: Make, tmp_path: Path) -> None:
    events: list[dict] = []
    spec = small_job("train.epochs=3")
    result = run(spec, on_event=events.append)
    client = MlflowClient(result.tracking_uri, result.tracking_uri)

    recorded = client.get_metric_history(result.run_id, "val_loss")
    sent = [event["metrics"]["val_loss"] for event in events if event["kind"] == "epoch"]
    assert [(metric.step, metric.value) for metric in recorded] == list(enumerate(sent, 1))
    assert result.best_epoch == 1 + int(np.argmin(sent))
    record = client.get_run(result.run_id)
    assert record.info.status == "FINISHED"
    assert record.data.params["train.global_batch_rows"] == "8"
    assert record.data.tags["ringmaster.weights_sha256"] == result.weights_sha256
    assert record.data.metrics["test_loss"] == pytest.approx(result.metrics["test_loss"])

    version = client.get_model_version_by_alias("small", "champion")
    assert (int(version.version), version.run_id) == (result.version, result.run_id)
    files = {path.name for path in Path(mlflow.artifacts.download_artifacts("models:/small@champion")).iterdir()}
    assert {"model.keras", "preprocessing.json", "golden.json", "MLmodel"} <= files
    assert not [name for name in files if name.endswith((".pkl", ".pickle"))]
    assert {path.name for path in (tmp_path / "ringmaster-runs").iterdir()} == {
        "mlflow.db",
        "artifacts",
        "checkpoints",
        "logs",
    }
    assert {path.name for path in tmp_path.iterdir()} == {"small.csv", "job.yaml", "ringmaster-runs"}


def test_a_killed_worker_costs_no_epoch_and_no_repetition(small_job: Make, tmp_path: Path) -> None:
    """SIGKILL rank 1 after the second epoch: every epoch is reported once, as without the kill."""
    events: list[dict] = []
    spec = small_job("train.epochs=5", "model.function=slow:build", "model.params={hidden: [8], dropout: 0.2}")
    (tmp_path / "slow.py").write_text(SLOW_MODEL)
    undisturbed = run(spec, on_event=events.append)
    expected = [event["metrics"]["loss"] for event in events if event["kind"] == "epoch"]

    seen: list[dict] = []

    def kill_rank_1_after_epoch_2(event: dict) -> None:
        seen.append(event)
        if event["kind"] == "epoch" and event["metrics"]["epoch"] == 2:
            os.kill(next(one["pid"] for one in seen if one["kind"] == "worker" and one["rank"] == 1), signal.SIGKILL)

    result = run(spec, on_event=kill_rank_1_after_epoch_2)
    reported = [event["metrics"] for event in seen if event["kind"] == "epoch"]
    assert [metrics["epoch"] for metrics in reported] == [1, 2, 3, 4, 5]
    assert [event["kind"] for event in seen].count("failure") >= 1
    assert len({event["pid"] for event in seen if event["kind"] == "worker"}) == 4
    np.testing.assert_allclose([metrics["loss"] for metrics in reported], expected, rtol=1e-6)
    assert result.weights_sha256 == undisturbed.weights_sha256


SLOW_MODEL = '''
import time
import keras
from trainers.zoo import mlp

class Slow(keras.callbacks.Callback):
    pass

def build(**params):
    """The zoo's MLP with a step of 50 ms, so that a kill falls into the middle of an epoch."""
    import tensorflow as tf
    model = mlp.build(**params)
    plain = model.train_step
    def train_step(data):
        with tf.control_dependencies([tf.py_function(lambda: time.sleep(0.05), [], [])]):
            return plain(data)
    model.train_step = train_step
    return model
'''
