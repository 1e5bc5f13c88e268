"""Registering, in a real MLflow registry on SQLite: what is uploaded, and that nothing half-registered stays."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pytest
import ray.train
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from configs.errors import DeployError, TrackingError
from configs.job import JobSpec
from configs.registered import Golden
from deploy.models import download, find_version
from deploy.predictor import Predictor
from orchestrator.datasets import Prepared, prepare
from orchestrator.engine import Trained
from orchestrator.registry import Registered, register, signature
from orchestrator.tracking import Tracker, tracking_uri
from trainers.job import Outcome

Make = Callable[..., JobSpec]


class Finished:
    """A job whose training is over: everything that `register` takes."""

    def __init__(self, spec: JobSpec, client: MlflowClient, folder: Path) -> None:
        self.spec, self.client, self.uri = spec, client, tracking_uri(None, spec.folder)
        self.data: Prepared = prepare(spec)
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, activation="sigmoid")])
        folder.mkdir()
        model.save(folder / "model.keras")
        outputs = np.asarray(model(self.data.golden.x, training=False))
        outcome = Outcome(1, {"val_loss": 0.5}, "abc", ("rank 0 on here",), Golden(outputs, 0.0))
        self.trained = Trained(outcome, ray.train.Checkpoint.from_directory(folder))

    def register(self, client: Any = None) -> tuple[Registered, str]:
        run_id = Tracker(self.client, self.spec).run_id
        return register(client or self.client, self.spec, self.data, self.trained, run_id=run_id), run_id


@pytest.fixture
def job(small_job: Make, connect_to_new: Callable[[JobSpec], MlflowClient], tmp_path: Path) -> Finished:
    spec = small_job()
    return Finished(spec, connect_to_new(spec), tmp_path / "checkpoint")


def test_what_is_registered_can_be_found_loaded_and_asked(job: Finished) -> None:
    registered, run_id = job.register()
    assert registered == Registered("small", 1, "champion")
    assert registered.uri == "models:/small@champion"
    version = job.client.get_model_version_by_alias("small", "champion")
    assert (int(version.version), version.run_id) == (1, run_id)

    folder = download(find_version("small", job.uri))
    files = {path.name for path in folder.iterdir()}
    assert files >= {"MLmodel", "model.keras", "preprocessing.json", "golden.json"}
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".py"))]
    golden = json.loads((folder / "golden.json").read_text())
    assert golden["rows"] == job.data.golden_rows
    answers = Predictor.load(folder).predict_rows(golden["rows"])
    np.testing.assert_allclose(answers.scores, job.trained.outcome.golden.outputs, rtol=1e-5)
    assert set(answers.labels) <= {"big", "small"}


def test_the_run_goes_on_after_registering(job: Finished) -> None:
    """MLflow's own context would end it; the tracker does that when all is written."""
    _, run_id = job.register()
    run = mlflow.active_run()
    assert run is None
    assert job.client.get_run(run_id).info.lifecycle_stage == "active"


def test_the_alias_moves_to_the_next_version(job: Finished) -> None:
    job.register()
    assert job.register()[0].version == 2
    assert int(job.client.get_model_version_by_alias("small", "champion").version) == 2
    assert len(job.client.search_model_versions("name='small'")) == 2


def test_mlflow_itself_can_load_it(job: Finished) -> None:
    job.register()
    model = mlflow.pyfunc.load_model("models:/small@champion")
    assert model.metadata.metadata == {"ringmaster.weights_sha256": "abc"}
    assert set(model.metadata.flavors) == {"ringmaster", "python_function"}


class Refusing:
    """A client that refuses to move the alias: the last step, after the version is there."""

    def __init__(self, client: MlflowClient, error: BaseException) -> None:
        self._client, self._error = client, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def set_registered_model_alias(self, *_: Any) -> None:
        raise self._error


def test_nothing_half_registered_stays(job: Finished) -> None:
    with pytest.raises(TrackingError) as caught:
        job.register(Refusing(job.client, MlflowException("no\nspace")))
    assert str(caught.value) == "MLflow could not register 'small': no space"
    assert job.client.search_registered_models() == []


def test_an_interrupt_leaves_nothing_behind_either(job: Finished) -> None:
    with pytest.raises(KeyboardInterrupt):
        job.register(Refusing(job.client, KeyboardInterrupt()))
    assert job.client.search_registered_models() == []


def test_a_failure_leaves_the_versions_before_as_they_were(job: Finished) -> None:
    job.register()
    with pytest.raises(TrackingError):
        job.register(Refusing(job.client, MlflowException("no")))
    versions = job.client.search_model_versions("name='small'")
    assert [int(version.version) for version in versions] == [1]
    assert int(job.client.get_model_version_by_alias("small", "champion").version) == 1


def test_a_checkpoint_that_is_gone(job: Finished) -> None:
    Path(job.trained.checkpoint.path, "model.keras").unlink()
    with pytest.raises(TrackingError, match=r"^MLflow could not register 'small': .*model\.keras"):
        job.register()
    assert job.client.search_registered_models() == []


@pytest.mark.parametrize(
    ("overrides", "inputs", "output"),
    [
        ([], [("size", "double"), ("colour", "string")], "string"),
        (
            ["data.target={column: size, kind: number}", "data.features={colour: category}"],
            [("colour", "string")],
            "double",
        ),
        (["data.target={column: size}", "data.features={colour: category}"], [("colour", "string")], "long"),
    ],
)
def test_the_signature_says_what_a_row_holds(
    small_job: Make, overrides: list[str], inputs: list[tuple[str, str]], output: str
) -> None:
    if overrides:
        Path("small.csv").write_text("size,colour,label\n" + "1,red,a\n2,blue,b\n" * 20)
    spec = small_job("train.loss=null", *reversed(overrides))
    found = signature(prepare(spec).preprocessing)
    assert sorted((column.name, column.type.name) for column in found.inputs) == sorted(inputs)
    assert [column.type.name for column in found.outputs] == [output]


def test_a_model_that_the_user_made_stays(job: Finished) -> None:
    job.client.create_registered_model("small", description="mine")
    with pytest.raises(TrackingError):
        job.register(Refusing(job.client, MlflowException("no")))
    assert [model.description for model in job.client.search_registered_models()] == ["mine"]
    assert job.client.search_model_versions("name='small'") == []


def test_outputs_that_are_not_those_of_training_are_not_registered(job: Finished) -> None:
    outcome = job.trained.outcome
    wrong = Golden(outcome.golden.outputs + 0.5, 0.0)
    job.trained = replace(job.trained, outcome=replace(outcome, golden=wrong))
    with pytest.raises(DeployError, match="is not registered, as it cannot be served: .* golden batch differ by 0.5"):
        job.register()
    assert job.client.search_registered_models() == []


def test_a_run_of_the_calling_script_stays_active(job: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    with mlflow.start_run() as run:
        monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
        assert job.register()[0].version == 1
        assert mlflow.active_run().info.run_id == run.info.run_id
