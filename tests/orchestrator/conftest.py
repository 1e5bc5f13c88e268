"""MLflow stores (making the tables takes seconds, so they are copied), a Ray dashboard, and the command line."""

import importlib.util
import os
import shutil
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from configs.job import JobSpec
from orchestrator.cli import main
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


def fake_dashboard() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fake_dashboard", Path(__file__).parent / "fake_dashboard.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tls_dashboard(authority: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, str]]:
    """A `FakeDashboard` behind TLS, whose token is known here; its authority is not yet."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority / "server.pem", authority / "server.key")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    with fake_dashboard().running(context) as (fake, address):
        monkeypatch.setenv("RAY_AUTH_TOKEN", fake.token)
        yield fake, address


@pytest.fixture
def dashboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, str]]:
    """A `FakeDashboard` that listens, whose token is known here, and its address."""
    from orchestrator.submit import ray

    with fake_dashboard().running() as (fake, address):
        monkeypatch.setenv("RAY_AUTH_TOKEN", fake.token)
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:1")  # what is given comes first
        monkeypatch.setattr(ray, "RETRY_S", 0.01)
        yield fake, address


@pytest.fixture
def csv(small_job: Callable[..., JobSpec]) -> Callable[..., JobSpec]:
    """Return `make(content, *overrides)`: the small job on another CSV file."""

    def make(content: str | bytes, *overrides: str) -> JobSpec:
        Path("small.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        return small_job("train.loss=null", *overrides)

    return make


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., SimpleNamespace]:
    """Return `ask(*arguments)`: runs a command and gives code, out, err."""

    def run(*arguments: str) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["ringmaster", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capfd.readouterr()
        return SimpleNamespace(code=ended.value.code, out=captured.out, err=captured.err)

    return run
