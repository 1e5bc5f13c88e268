"""The token and the ports of a cluster of your own; `tests/cluster` starts one for real."""

import socket
from pathlib import Path

import pytest

from configs.errors import ClusterError
from orchestrator import local_cluster
from orchestrator.local_cluster import keep_token


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(local_cluster.tempfile, "tempdir", None)
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_a_token_is_made_once_and_is_the_owners_alone(home: Path) -> None:
    path = keep_token()
    assert path == home / ".ray" / "auth_token"
    token = path.read_text()
    assert (len(token), path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (64, 0o600, 0o700)
    assert int(token, 16)
    path.chmod(0o644)
    assert keep_token().read_text() == token
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_token_of_the_environment_is_taken(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 64)
    assert not keep_token().exists()


def test_a_folder_that_somebody_else_made_is_not_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local_cluster.folder().mkdir()
    (home / "kept").write_text("")
    monkeypatch.setattr(local_cluster.shutil, "rmtree", lambda *_, **__: None)  # as where it is not ours to remove
    with pytest.raises(ClusterError, match="cannot be used: File exists; remove it, or set TMPDIR"):
        local_cluster.up(nodes=1, cpus_per_node=1, port=26379, dashboard_port=28265)


@pytest.mark.parametrize("option", ["--port", "--dashboard-port"])
def test_a_port_that_is_taken_is_named(option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        port, other = taken.getsockname()[1], free.getsockname()[1]
        free.close()
        ports = (
            {"port": other, "dashboard_port": port} if option != "--port" else {"port": port, "dashboard_port": other}
        )
        with pytest.raises(ClusterError, match=rf"port {port} is taken \(Address already in use\); .* with {option}$"):
            local_cluster.up(nodes=1, cpus_per_node=1, **ports)
    assert not local_cluster.folder().exists()
