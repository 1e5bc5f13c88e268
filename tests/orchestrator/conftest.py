"""MLflow stores for the tests: making the tables takes seconds, so it is done once and the file is copied."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from configs.job import JobSpec
from orchestrator.tracking import connect, tracking_uri


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with MLflow's tables."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}", f"sqlite:///{path}").search_registered_models()
    return path


@pytest.fixture
def connect_to_new(empty_database: Path) -> Iterator[Callable[[JobSpec], MlflowClient]]:
    """Return `connect(spec)`: a client for the job's own, empty store; MLflow's defaults are put back afterwards."""
    variables = dict(os.environ)

    def connect_to(spec: JobSpec) -> MlflowClient:
        spec.folder.mkdir(parents=True)
        shutil.copyfile(empty_database, spec.folder / "mlflow.db")
        return connect(tracking_uri(None, spec.folder), spec.folder)

    yield connect_to
    os.environ.clear()
    os.environ.update(variables)
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)
