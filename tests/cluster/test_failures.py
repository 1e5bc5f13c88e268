"""What a user sees when a job goes wrong after its workers have started: the cause, in one error, and nothing kept."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from configs.errors import ClusterError, SpecError, TrackingError, TrainingError
from configs.job import JobSpec
from orchestrator import run
from orchestrator.tracking import tracking_uri

pytestmark = pytest.mark.cluster

Make = Callable[..., JobSpec]

MODELS = '''
import os

import keras
import tensorflow as tf


def plain():
    return keras.Sequential([keras.layers.Dense(1, activation="sigmoid")])


def with_step(change):
    model = plain()
    step = model.train_step

    def train_step(data):
        with tf.control_dependencies([tf.py_function(lambda: change(model), [], [])]):
            return step(data)

    model.train_step = train_step
    return model


def drifts():
    """Rank 1 changes a weight that no reduction sees."""
    def change(model):
        if os.environ["HOROVOD_RANK"] == "1":
            model.layers[0].bias.assign_add([0.25])
    return with_step(change)


def raises_on_rank_1():
    def change(model):
        if os.environ["HOROVOD_RANK"] == "1" and int(model.optimizer.iterations) == 5:
            raise ValueError("the tokenizer lost its file")
    return with_step(change)


def aborts_on_rank_1():
    def change(model):
        if os.environ["HOROVOD_RANK"] == "1" and int(model.optimizer.iterations) == 5:
            os.write(2, b"terminate called: what(): no memory for the tokenizer\\n")
            os.abort()
    return with_step(change)


def three_outputs():
    return keras.Sequential([keras.layers.Dense(3)])


def compiled():
    model = plain()
    model.compile(optimizer=keras.optimizers.SGD(0.5), loss="binary_crossentropy", metrics=["accuracy"])
    return model
'''


@pytest.fixture
def make(small_job: Make, tmp_path: Path) -> Make:
    (tmp_path / "models.py").write_text(MODELS)
    return lambda function, *overrides: small_job(
        f"model.function=models:{function}", "model.params={}", "train.epochs=3", *overrides
    )


def statuses(spec: JobSpec) -> list[str]:
    uri = tracking_uri(None, spec.folder)
    client = MlflowClient(uri, uri)
    assert client.search_registered_models() == []
    experiment = client.get_experiment_by_name("ringmaster")
    return [run.info.status for run in client.search_runs([experiment.experiment_id])] if experiment else []


def test_a_rank_whose_weights_drift_stops_the_run_and_is_named(make: Make) -> None:
    spec = make("drifts")
    with pytest.raises(TrainingError, match=r"ank 1 on host \S+ holds other weights than rank 0 on host \S+.*bias"):
        run(spec)
    assert statuses(spec) == ["FAILED"]


def test_an_exception_on_one_rank_is_told_with_rank_and_cause_and_not_repeated(make: Make) -> None:
    events: list[dict] = []
    spec = make("raises_on_rank_1")
    with pytest.raises(TrainingError, match=r"[Rr]ank 1 on host \S+ failed: .*the tokenizer lost its file"):
        run(spec, on_event=events.append)
    assert len([event for event in events if event["kind"] == "worker"]) == 2  # one attempt
    assert statuses(spec) == ["FAILED"]


def test_a_worker_that_dies_each_time_ends_the_job_with_its_last_words(make: Make) -> None:
    events: list[dict] = []
    spec = make("aborts_on_rank_1", "train.max_restarts=1")
    with pytest.raises(TrainingError, match=r"rank 1 on host \S+ died: .*no memory for the tokenizer"):
        run(spec, on_event=events.append)
    assert len([event for event in events if event["kind"] == "worker"]) == 4  # the first attempt and one restart


@pytest.mark.parametrize(
    ("function", "overrides", "error", "message"),
    [
        ("three_outputs", (), SpecError, "models:three_outputs"),
        ("plain", ("train.monitor=val_acc",), SpecError, "train.monitor='val_acc' is not reported by the model"),
        ("plain", ("cluster.workers=64",), ClusterError, r"cluster.workers=64 .* needs 64 CPUs"),
        ("plain", ("tracking.uri=http://127.0.0.1:9",), TrackingError, "no MLflow server answers"),
    ],
)
def test_one_line_names_the_value_and_the_fix(
    make: Make, function: str, overrides: tuple[str, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(make(function, *overrides))


def test_a_compiled_model_keeps_its_own_optimizer_and_loss(make: Make) -> None:
    result = run(make("compiled", "train.optimizer=null", "train.loss=null", "train.metrics=[]"))
    assert set(result.metrics) == {f"{part}{name}" for part in ("", "val_", "test_") for name in ("loss", "accuracy")}
