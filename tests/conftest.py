"""Fixtures for all tests: a small job that trains in a second, where the real data sets lie, certificates."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, settings

from configs.job import JobSpec
from configs.load import load_spec

ROOT = Path(__file__).parents[1]

# No test asserts a time: a busy machine takes longer than the 200 ms that Hypothesis gives each example.
settings.register_profile("ringmaster", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ringmaster")

SMALL_CSV = "size,colour,label\n" + "".join(
    f"{size},{'red' if size % 3 else 'blue'},{'big' if size > 20 else 'small'}\n" for size in range(1, 42)
)
"""41 rows: not a multiple of the batch, so that the last global batch is short."""

SMALL_JOB = {
    "name": "small",
    "data": {
        "csv": "small.csv",
        "features": {"size": "number", "colour": "category"},
        "target": {"column": "label"},
        "split": {"valid": 0.2, "test": 0.2},
    },
    "model": {"function": "trainers.zoo.mlp:build", "params": {"hidden": [8], "dropout": 0.0}},
    "train": {
        "epochs": 2,
        "global_batch_rows": 8,
        "optimizer": {"name": "adam", "params": {"learning_rate": 0.01}},
        "loss": "binary_crossentropy",
        "metrics": ["accuracy"],
    },
    "cluster": {"workers": 2},
}


@pytest.fixture
def small_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., JobSpec]:
    """Return `make(*overrides)`: a job on 41 rows in a folder of its own, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "small.csv").write_text(SMALL_CSV)
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(SMALL_JOB))
    return lambda *overrides: load_spec("job.yaml", overrides)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets, which are not part of the project; skip where it is absent."""
    folder = Path(os.environ.get("RINGMASTER_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data sets at {folder}; set RINGMASTER_TEST_DATA")
    return folder


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A folder with an authority's certificate, `ca.pem`, and this machine's, `server.pem` and `server.key`."""
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
    own = {"127.0.0.1", ray.util.get_node_ip_address()}  # Ray takes the second where it is told the first
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address)) for address in own])
    signer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(public)
    (tmp_path / "ca.pem").write_bytes(ca)
    (tmp_path / "server.pem").write_bytes(signed(server, key.public_key(), (alternative, False), (signer, False)))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "server.key").write_bytes(private)
    return tmp_path
