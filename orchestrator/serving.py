"""Starts and stops the HTTP endpoint of a registered model on the connected Ray cluster."""

import contextlib
import errno
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ray
from ray import serve

from configs.cluster import ClusterSpec
from configs.errors import DeployError
from configs.serve import ServeSpec, http_url
from deploy.app import build_app
from deploy.models import ModelVersion, find_version
from orchestrator.session import ray_session
from orchestrator.tracking import connect_existing


def require_free_port(host: str, port: int, *, option: str) -> None:
    """Raise DeployError when something listens on the port already; `option` names the setting to change."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                raise DeployError(
                    f"{host!r} is not an address of this machine ({error.strerror}); use 127.0.0.1, or 0.0.0.0 for "
                    "all its addresses"
                ) from error
            raise DeployError(
                f"port {port} on {host} cannot be used: {error.strerror}. Stop what listens there, or choose "
                f"another with {option}"
            ) from error


def require_replicas(spec: ServeSpec, nodes: Iterable[Mapping[str, Any]]) -> None:
    """Raise DeployError where the nodes, as of ray.nodes(), cannot hold all replicas: Serve would wait forever."""
    cpus = [node["Resources"].get("CPU", 0.0) for node in nodes if node["Alive"]]
    room = int(sum(there // spec.cpus_per_replica for there in cpus))
    if spec.replicas > room:
        advice = f"use --replicas {room}" if room else "use machines with more CPUs"
        raise DeployError(
            f"serve.replicas={spec.replicas} with {spec.cpus_per_replica:g} CPU each do not fit: there is room for "
            f"{room} on {sum(cpus):g} CPUs. To serve here, {advice}"
        )


def start_proxy(spec: ServeSpec) -> None:
    """Start Ray Serve and its HTTP proxy, before there is a model to serve."""
    serve.start(http_options={"host": spec.host, "port": spec.port})


@contextlib.contextmanager
def endpoint(spec: ServeSpec, model: ModelVersion) -> Iterator[str]:
    """Serve the model for the length of the block; yields its URL. Raises DeployError when it does not come up."""
    start_proxy(spec)
    try:
        try:
            serve.run(build_app(spec, model), name=model.name, route_prefix="/")
        except Exception as error:
            raise DeployError(_cause(model, error)) from error
        yield http_url(spec.host, spec.port)
    finally:
        serve.shutdown()


@contextlib.contextmanager
def _endpoint_with_room(spec: ServeSpec, model: ModelVersion) -> Iterator[str]:
    require_replicas(spec, ray.nodes())
    with endpoint(spec, model) as url:
        yield url


def serve_until_interrupted(
    spec: ServeSpec,
    reference: str,
    *,
    folder: Path,
    uri: str | None,
    verbose: bool,
    announce: Callable[[str, str, int], None],
) -> None:
    """Serve a registered model on a private Ray cluster until Ctrl-C; `announce` gets URL, name and version.

    Raises DeployError, TrackingError.
    """
    require_free_port(spec.host, spec.port, option="--port")
    model = find_version(reference, connect_existing(uri, folder))
    logs = folder / "logs" / f"serve-{model.name}-{os.getpid()}"
    with (
        ray_session(ClusterSpec(), data_bytes=0, logs=logs, verbose=verbose),
        _endpoint_with_room(spec, model) as url,
        contextlib.suppress(KeyboardInterrupt),
    ):
        announce(url, model.name, model.version)
        threading.Event().wait()


def _cause(model: ModelVersion, error: Exception) -> str:
    """Serve reports a replica's exception as text in its status; the last line of that holds ours."""
    status = serve.status().applications.get(model.name)
    texts = [str(error)]
    if status is not None:
        texts += [deployment.message for deployment in status.deployments.values()]
    for text in texts:
        for line in reversed(text.splitlines()):
            name, separator, message = line.strip().partition(": ")
            if separator and name.rpartition(".")[2] in {
                "DeployError",
                "DataError",
                "TrackingError",
            }:
                return message
    return f"{model.uri} did not come up: {' '.join(' '.join(texts).split())[-400:]}"
