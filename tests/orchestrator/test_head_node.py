"""What is said about a head node that does not answer, or not to us; `tests/cluster` has real ones."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from ray.core.generated import gcs_service_pb2_grpc
from ray.core.generated.gcs_service_pb2 import CheckAliveReply, CheckAliveRequest

from configs.cluster import ClusterSpec
from configs.errors import ClusterError
from orchestrator.head_node import wants_token
from orchestrator.session import ray_session

TOKEN = "a" * 64


class Head(gcs_service_pb2_grpc.NodeInfoGcsServiceServicer):
    """Answers as a head node does, in token mode unless told otherwise."""

    asks = True

    def CheckAlive(self, request: CheckAliveRequest, context: grpc.ServicerContext) -> CheckAliveReply:
        if self.asks and ("authorization", f"Bearer {TOKEN}") not in context.invocation_metadata():
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
        return CheckAliveReply(ray_version="2.60.0")


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Head, grpc.Server]]:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_USE_TLS"):
        monkeypatch.delenv(name, raising=False)
    server, servicer = grpc.server(ThreadPoolExecutor(1)), Head()
    gcs_service_pb2_grpc.add_NodeInfoGcsServiceServicer_to_server(servicer, server)
    yield servicer, server
    server.stop(None).wait()


def listening(server: grpc.Server, credentials: grpc.ServerCredentials | None = None) -> str:
    place = "127.0.0.1:0"
    port = server.add_secure_port(place, credentials) if credentials else server.add_insecure_port(place)
    server.start()
    return f"127.0.0.1:{port}"


def test_a_token_is_asked_for_missing_wrong_and_right(
    head: tuple[Head, grpc.Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    servicer, server = head
    address = listening(server)
    with pytest.raises(ClusterError, match=rf"the cluster at cluster.address='{address}' asks for a token: set RAY_A"):
        wants_token(address)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "b" * 64)
    with pytest.raises(ClusterError) as caught:
        wants_token(address)
    assert str(caught.value) == (
        f"the cluster at cluster.address='{address}' refuses the token; it is read from RAY_AUTH_TOKEN, else "
        "RAY_AUTH_TOKEN_PATH, else ~/.ray/auth_token: put the cluster's own there"
    )
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    assert wants_token(address) is True
    servicer.asks = False
    assert wants_token(address) is False


def test_nobody_listens_or_somebody_else(dashboard: tuple[object, str], tmp_path: Path) -> None:
    with (
        pytest.raises(ClusterError, match=r"127.0.0.1:1'.*Connection refused\); check that the head node runs, that"),
        ray_session(ClusterSpec(address="127.0.0.1:1"), data_bytes=0, logs=tmp_path, verbose=False),
    ):
        pass
    with pytest.raises(ClusterError, match=r"http1.x server.* 8265 is the dashboard's\) can be reached from here"):
        wants_token(dashboard[1].removeprefix("http://"))


def test_tls_on_one_side_alone_and_on_both(
    head: tuple[Head, grpc.Server], authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate, ca = ((authority / name).read_bytes() for name in ("server.key", "server.pem", "ca.pem"))
    address = listening(head[1], grpc.ssl_server_credentials([(key, certificate)], ca, require_client_auth=True))
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    with pytest.raises(ClusterError, match="and that RAY_USE_TLS is set here as it is there$"):
        wants_token(address)
    monkeypatch.setenv("RAY_USE_TLS", "1")
    with pytest.raises(ClusterError, match="^RAY_USE_TLS is set, but its certificates cannot be used: .*must also be"):
        wants_token(address)
    for name, file in (("SERVER_CERT", "server.pem"), ("SERVER_KEY", "server.key"), ("CA_CERT", "ca.pem")):
        monkeypatch.setenv(f"RAY_TLS_{name}", str(authority / file))
    assert wants_token(address) is True
