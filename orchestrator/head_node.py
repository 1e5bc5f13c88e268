"""Asks the head node of a running Ray cluster whether it answers, and to whom. Ray itself would try for minutes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from ray._common.tls_utils import load_certs_from_env
from ray.core.generated.gcs_service_pb2 import CheckAliveRequest
from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub

from configs.errors import ClusterError, one_line
from orchestrator.submit.ray_dashboard import read_token

ANSWER_S = 10.0
OPTIONS = (("grpc.enable_http_proxy", 0),)


def wants_token(address: str) -> bool:
    """Whether the cluster at host:port asks for a token; the one that is known here has then been found right.

    Raises ClusterError when nothing answers, something else does, or the token is missing or wrong.
    """
    with _channel(address) as channel:
        if _admitted(channel, address, None):
            return False
        token = read_token()
        if token is None:
            raise ClusterError(
                f"the cluster at cluster.address={address!r} asks for a token: set RAY_AUTH_TOKEN, or put the "
                "cluster's token into ~/.ray/auth_token"
            )
        if not _admitted(channel, address, token):
            raise ClusterError(
                f"the cluster at cluster.address={address!r} refuses the token; it is read from RAY_AUTH_TOKEN, else "
                "RAY_AUTH_TOKEN_PATH, else ~/.ray/auth_token: put the cluster's own there"
            )
    return True


def _admitted(channel: grpc.Channel, address: str, token: str | None) -> bool:
    metadata = [("authorization", f"Bearer {token}")] if token else []
    try:
        NodeInfoGcsServiceStub(channel).CheckAlive(CheckAliveRequest(), timeout=ANSWER_S, metadata=metadata)
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNAUTHENTICATED:
            return False
        raise ClusterError(
            f"no Ray cluster answers at cluster.address={address!r} ({_why(str(error.details()))}); check that the "
            "head node runs, that its port (6379 unless it was chosen; 8265 is the dashboard's) can be reached from "
            "here, and that RAY_USE_TLS is set here as it is there"
        ) from error
    return True


def _why(details: str) -> str:
    """The last part of "failed to connect to all addresses; last error: UNKNOWN: ipv4:10.0.0.1:6379: Timeout"."""
    return details.rpartition("last error: ")[2][:300]


@contextmanager
def _channel(address: str) -> Iterator[grpc.Channel]:
    """A connection as Ray's own: with TLS where RAY_USE_TLS says so."""
    if os.environ.get("RAY_USE_TLS", "0").lower() not in {"1", "true"}:
        with grpc.insecure_channel(address, options=OPTIONS) as channel:
            yield channel
        return
    try:
        chain, key, authority = load_certs_from_env()
    except (OSError, RuntimeError) as error:
        raise ClusterError(f"RAY_USE_TLS is set, but its certificates cannot be used: {one_line(error)}") from error
    credentials = grpc.ssl_channel_credentials(authority, key, chain)
    with grpc.secure_channel(address, credentials, options=OPTIONS) as channel:
        yield channel
