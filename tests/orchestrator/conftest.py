"""MLflow stores (making the tables takes seconds, so they are copied), a Ray dashboard, and the command line."""

import importlib.util
import os
import shutil
import ssl
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import mlflow
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
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
def authority(tmp_path: Path) -> Path:
    """A folder with a certificate authority of its own, `ca.pem`, and a server's `server.pem` and `server.key`."""
    issuer, server = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("our own", "server"))
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    start = datetime.now(UTC) - timedelta(hours=1)

    def signed(name: x509.Name, public: Any, *extensions: tuple[x509.ExtensionType, bool]) -> bytes:
        builder = x509.CertificateBuilder(issuer, name, public, x509.random_serial_number())
        builder = builder.not_valid_before(start).not_valid_after(start + timedelta(days=1))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    public = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    ca = signed(issuer, ca_key.public_key(), (x509.BasicConstraints(True, None), True), (usage, True), (public, False))
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    signer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(public)
    (tmp_path / "ca.pem").write_bytes(ca)
    (tmp_path / "server.pem").write_bytes(signed(server, key.public_key(), (alternative, False), (signer, False)))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "server.key").write_bytes(private)
    return tmp_path


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
def ask(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., SimpleNamespace]:
    """Return `ask(*arguments)`: runs a command and gives code, out, err."""

    def run(*arguments: str) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["ringmaster", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capfd.readouterr()
        return SimpleNamespace(code=ended.value.code, out=captured.out, err=captured.err)

    return run
