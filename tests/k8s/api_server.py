"""A real Kubernetes API server for the length of a test: etcd, kube-apiserver, kube-controller-manager, no nodes.

Everything listens on the loopback address. Programs are taken from PATH.
"""

import json
import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
ROOT = Path(__file__).parents[2]
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl", "openssl")
USERS = {
    "admin": "system:masters",
    "submitter": "ringmaster-users",
    "deployer": "ringmaster-users,ringmaster-deployers",
    "stranger": "strangers",
}
"""User -> groups."""
PLUGINS = "ResourceQuota,LimitRanger,ServiceAccount,Priority"
CONTROLLERS = "resourcequota,namespace,serviceaccount,serviceaccount-token,garbagecollector,pvc-protection"
WAIT_S = 60.0


def crd_folder() -> Path:
    return Path(os.environ.get("RINGMASTER_TEST_CRDS", ROOT.parent / "shared" / "k8s" / "crds"))


def missing() -> str:
    """What a machine lacks for this, or nothing."""
    programs = [name for name in PROGRAMS if shutil.which(name) is None]
    if programs:
        return f"not on PATH: {', '.join(programs)}"
    return "" if crd_folder().is_dir() else f"no CRDs of KubeRay at {crd_folder()}; set RINGMASTER_TEST_CRDS"


@dataclass
class ApiServer:
    """A server that runs, and how to reach it."""

    folder: Path
    url: str
    version: tuple[int, int] = (0, 0)

    @property
    def certificate(self) -> Path:
        """What the server signed itself, with its authority."""
        return self.folder / "certs" / "apiserver.crt"

    def kubeconfig(self, user: str) -> Path:
        path = self.folder / f"{user}.kubeconfig"
        cluster = {"server": self.url, "certificate-authority": str(self.certificate)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": f"token-of-{user}"}}],
        }
        path.write_text(yaml.safe_dump(config))
        return path

    def kubectl(self, *arguments: str, stdin: str = "", user: str = "admin") -> subprocess.CompletedProcess[str]:
        """Run kubectl; the caller looks at how it ended."""
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig(user))}
        command = ["kubectl", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, env=environment)

    def ask(self, method: str, path: str, body: Any = None, *, kind: str = "application/json") -> Manifest:
        """A request as the administrator. Raises HTTPError."""
        data = None if body is None else json.dumps(body).encode()
        context = ssl.create_default_context(cafile=self.certificate)
        headers = {"Authorization": "Bearer token-of-admin", "Content-Type": kind}
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310 (our own server)
        with urllib.request.urlopen(request, timeout=WAIT_S, context=context) as answer:  # noqa: S310
            return dict(json.load(answer))

    def set_status(self, name: str, **status: Any) -> None:
        """What the operator reports of a RayJob."""
        path = f"/apis/ray.io/v1/namespaces/ringmaster/rayjobs/{name}/status"
        self.ask("PATCH", path, {"status": status}, kind="application/merge-patch+json")


@contextmanager
def running(folder: Path) -> Iterator[ApiServer]:
    """Start a server with KubeRay's CRDs; stop it and what it needs afterwards."""
    etcd_port, peer_port, port, controller_port = _free_ports(4)
    server = ApiServer(folder, f"https://127.0.0.1:{port}")
    subprocess.run(["openssl", "genrsa", "-out", folder / "sa.key", "2048"], capture_output=True, check=True)
    lines = [f'token-of-{user},{user},{user},"{groups}"\n' for user, groups in USERS.items()]
    (folder / "tokens.csv").write_text("".join(lines))
    etcd, peer = f"http://127.0.0.1:{etcd_port}", f"http://127.0.0.1:{peer_port}"
    with ExitStack() as stack:
        listen = [f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}", f"--listen-peer-urls={peer}"]
        stack.enter_context(_program(folder, "etcd", f"--data-dir={folder}/etcd", *listen))
        key = folder / "sa.key"
        accounts = ["--service-account-issuer=https://test", f"--service-account-signing-key-file={key}"]
        stack.enter_context(
            _program(
                *(folder, "kube-apiserver", f"--etcd-servers={etcd}", f"--secure-port={port}", *accounts),
                *("--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none"),
                *(f"--cert-dir={folder}/certs", f"--token-auth-file={folder}/tokens.csv"),
                *("--authorization-mode=RBAC", f"--enable-admission-plugins={PLUGINS}"),
                *(f"--service-account-key-file={key}", "--service-cluster-ip-range=10.99.0.0/24"),
            )
        )
        _wait_until(lambda: server.ask("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/admin"))
        found = server.ask("GET", "/version")
        server.version = (int(found["major"]), int(found["minor"].rstrip("+")))
        kubeconfig = server.kubeconfig("admin")
        stack.enter_context(
            _program(
                *(folder, "kube-controller-manager", f"--kubeconfig={kubeconfig}", f"--controllers={CONTROLLERS}"),
                *("--leader-elect=false", "--bind-address=127.0.0.1", f"--secure-port={controller_port}"),
                *(f"--cert-dir={folder}/certs", f"--service-account-private-key-file={key}"),
            )
        )
        _install_kuberay(server)
        yield server


def _install_kuberay(server: ApiServer) -> None:
    for file in sorted(crd_folder().glob("ray.io_*.yaml")):
        definition = yaml.load(file.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        if server.version < (1, 25):
            _leave_out_rules(definition)
        server.ask("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    _wait_until(lambda: server.ask("GET", "/apis/ray.io/v1/namespaces/default/rayjobs"))
    _wait_until(lambda: server.ask("GET", "/apis/ray.io/v1/namespaces/default/rayservices"))


def _leave_out_rules(schema: Any) -> None:
    """What servers before 1.25 do not take: rules in CEL, and empty defaults."""
    if isinstance(schema, list):
        for child in schema:
            _leave_out_rules(child)
    if not isinstance(schema, dict):
        return
    schema.pop("x-kubernetes-validations", None)
    if schema.get("default") == "":
        del schema["default"]
    for child in schema.values():
        _leave_out_rules(child)
    for key in schema.get("x-kubernetes-list-map-keys", []):
        if "default" not in schema["items"]["properties"][key]:
            schema["items"]["required"] = sorted({*schema["items"].get("required", []), key})


@contextmanager
def _program(folder: Path, name: str, *arguments: str) -> Iterator[None]:
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen([name, *arguments], stdout=log, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=WAIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until(ask: Any) -> None:
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            ask()
        except OSError:  # not listening yet, or not serving this yet (HTTPError)
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
