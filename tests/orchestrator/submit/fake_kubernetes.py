"""A small Kubernetes API server: what the client asks for RayJobs, RayServices, ConfigMaps, pods, events and logs.

It speaks HTTP, so that the official client runs as it does against a cluster. Faults are ordered with `refuse`.
"""

import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

Manifest = dict[str, Any]
PATH = re.compile(
    r"/(?:api/v1|apis/(?P<group>[a-z.0-9]+)/(?P<version>v\d+))/namespaces/(?P<namespace>[^/]+)/(?P<plural>[a-z]+)"
    r"(?:/(?P<name>[^/]+))?(?P<log>/log)?$"
)
PATIENCE_S = 60.0


@dataclass
class Refusal:
    """An answer with an error status for requests that match."""

    verb: str
    resource: str
    status: int
    body: str
    times: int


@dataclass
class FakeKubernetes:
    """State of the cluster; tests change it as the operator and the kubelet would."""

    namespaces: set[str] = field(default_factory=lambda: {"ringmaster"})
    kuberay: bool = True
    version: tuple[str, str] = ("1", "34+")
    objects: dict[tuple[str, str, str], Manifest] = field(default_factory=dict)
    """(plural, namespace, name) -> object."""
    logs: dict[str, list[str]] = field(default_factory=dict)
    """Pod -> lines with time stamps."""
    open_logs: set[str] = field(default_factory=set)
    """Pods whose log is not at its end yet."""
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """(verb, resource, query) of every request."""
    refusals: list[Refusal] = field(default_factory=list)
    changes: list[tuple[int, str, str, Manifest]] = field(default_factory=list)
    """(resource version, event type, plural, object)."""
    oldest: int = 0
    """Watches from an older resource version are answered 410."""
    condition: threading.Condition = field(default_factory=threading.Condition)
    bodies: list[Manifest] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)
    closing: bool = False

    def refuse(self, verb: str, resource: str, status: int, message: str, *, times: int = 99, **details: Any) -> None:
        """Answer matching requests with a Status object, or with plain text where there is no message."""
        status_object = {"kind": "Status", "code": status, "message": message, "reason": "Refused", "details": details}
        self.refusals.append(Refusal(verb, resource, status, json.dumps(status_object), times))

    def put(self, plural: str, body: Manifest, namespace: str = "ringmaster") -> Manifest:
        """Create or replace an object and tell the watchers."""
        with self.condition:
            key = (plural, namespace, body["metadata"]["name"])
            kind = "MODIFIED" if key in self.objects else "ADDED"
            number = len(self.changes) + 1
            defaults = {"uid": str(uuid.uuid4()), "creationTimestamp": "2026-01-01T00:00:00Z", "namespace": namespace}
            body = {**body, "metadata": {**defaults, **body["metadata"], "resourceVersion": str(number)}}
            self.objects[key] = body
            self.changes.append((number, kind, plural, body))
            self.condition.notify_all()
            return body

    def remove(self, plural: str, name: str, namespace: str = "ringmaster") -> Manifest:
        """Delete an object, with what it owns, and tell the watchers."""
        with self.condition:
            body = self.objects.pop((plural, namespace, name))
            self.changes.append((len(self.changes) + 1, "DELETED", plural, body))
            for key, other in list(self.objects.items()):
                owners = other["metadata"].get("ownerReferences", [])
                if any(owner["uid"] == body["metadata"]["uid"] for owner in owners):
                    del self.objects[key]
            self.condition.notify_all()
            return body

    def set_status(self, name: str, **status: Any) -> None:
        """Change the status of a RayJob, as the operator does."""
        body = self.objects["rayjobs", "ringmaster", name]
        self.put("rayjobs", {**body, "status": {**body.get("status", {}), **status}})

    def wait_for(self, predicate: Callable[[], bool]) -> None:
        """Wait until something is so; tests change the state from another thread."""
        with self.condition:
            assert self.condition.wait_for(predicate, PATIENCE_S), "the client never asked"

    def asked(self, verb: str, resource: str) -> int:
        """How often the client asked for something."""
        return sum((verb, resource) == (one, other) for one, other, _ in self.requests)


class Handler(BaseHTTPRequestHandler):
    """One connection of the client."""

    protocol_version = "HTTP/1.1"
    cluster: FakeKubernetes

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer("get")

    def do_POST(self) -> None:
        self._answer("create")

    def do_PATCH(self) -> None:
        self._answer("patch")

    def do_DELETE(self) -> None:
        self._answer("delete")

    def _answer(self, verb: str) -> None:
        address = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(address.query).items()}
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"null")
        cluster = self.cluster
        cluster.tokens.add(self.headers.get("Authorization"))
        if address.path == "/version/":
            return self._json({"major": cluster.version[0], "minor": cluster.version[1], "gitVersion": "v1.34.0"})
        if address.path.rstrip("/") == "/apis/ray.io/v1":
            names = ["rayclusters", "rayjobs", "rayservices"] if cluster.kuberay else []
            return self._json({"resources": [{"name": name} for name in names]}) if names else self._plain_404()
        found = PATH.match(address.path)
        if not found:
            return self._plain_404()
        place = found.groupdict()
        if verb == "get" and not place["name"]:
            verb = "watch" if query.get("watch") == "true" else "list"
        resource = place["plural"] + ("/log" if place["log"] else "")
        with cluster.condition:
            cluster.requests.append((verb, resource, query))
            if body is not None and verb in {"create", "patch"}:
                cluster.bodies.append(body)
            cluster.condition.notify_all()
        refusal = next((one for one in cluster.refusals if (one.verb, one.resource) == (verb, resource)), None)
        if refusal and refusal.times > 0:
            refusal.times -= 1
            return self._text(refusal.status, refusal.body)
        if place["group"] == "ray.io" and not cluster.kuberay:
            return self._plain_404()
        getattr(self, f"_{verb}")(place, query, body)

    def _list(self, place: dict[str, str], query: dict[str, str], body: Any) -> None:
        with self.cluster.condition:
            version = str(len(self.cluster.changes))
            items = [
                one
                for (plural, namespace, _), one in self.cluster.objects.items()
                if (plural, namespace) == (place["plural"], place["namespace"]) and _selected(one, query)
            ]
        self._json({"items": items, "metadata": {"resourceVersion": version}})

    def _watch(self, place: dict[str, str], query: dict[str, str], body: Any) -> None:
        start = int(query["resourceVersion"])
        if start < self.cluster.oldest:
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            return self._stream(iter([json.dumps({"type": "ERROR", "object": gone})]))
        self._stream(self._events(place["plural"], query, start))

    def _events(self, plural: str, query: dict[str, str], start: int) -> Iterator[str]:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and not self.cluster.closing:
            with self.cluster.condition:
                news = [change for change in self.cluster.changes if change[0] > start and change[2] == plural]
                if not news:
                    self.cluster.condition.wait(0.1)
                    continue
            for number, kind, _, one in news:
                start = number
                if kind == "DROP":  # the connection breaks
                    return
                if _selected(one, query):
                    yield json.dumps({"type": kind, "object": one})

    def _get(self, place: dict[str, str], query: dict[str, str], body: Any) -> None:
        key = (place["plural"], place["namespace"], place["name"])
        with self.cluster.condition:
            found = self.cluster.objects.get(key)
        if found is None:
            return self._missing(place)
        if place["log"]:
            return self._stream(self._log_lines(place["name"], follow=query.get("follow") == "true"))
        self._json(found)

    def _log_lines(self, pod: str, *, follow: bool) -> Iterator[str]:
        sent, deadline = 0, time.monotonic() + PATIENCE_S
        while True:
            with self.cluster.condition:
                lines = self.cluster.logs.get(pod, [])[sent:]
                if not lines:
                    if not follow or pod not in self.cluster.open_logs or time.monotonic() > deadline:
                        return
                    self.cluster.condition.wait(0.1)
            for line in lines:
                sent += 1
                if line == "DROP":  # the connection breaks, once
                    self.cluster.logs[pod].remove("DROP")
                    return
                yield line

    def _create(self, place: dict[str, str], query: dict[str, str], body: Manifest) -> None:
        if place["namespace"] not in self.cluster.namespaces:
            return self._missing({**place, "plural": "namespaces", "name": place["namespace"]})
        metadata = body["metadata"]
        if "generateName" in metadata:
            metadata = {"name": metadata["generateName"] + uuid.uuid4().hex[:5], **metadata}
        if (place["plural"], place["namespace"], metadata["name"]) in self.cluster.objects:
            details = {"name": metadata["name"], "kind": place["plural"]}
            text = {"kind": "Status", "code": 409, "reason": "AlreadyExists", "message": "exists", "details": details}
            return self._text(409, json.dumps(text))
        body = {**body, "metadata": metadata}
        if query.get("dryRun") == "All":
            return self._json({**body, "metadata": {**metadata, "uid": "dry"}}, 201)
        self._json(self.cluster.put(place["plural"], body, place["namespace"]), 201)

    def _patch(self, place: dict[str, str], query: dict[str, str], body: Manifest) -> None:
        assert self.headers["Content-Type"] == "application/apply-patch+yaml"
        assert query["fieldManager"] == "ringmaster"
        if place["namespace"] not in self.cluster.namespaces:
            return self._missing({**place, "plural": "namespaces", "name": place["namespace"]})
        self._json(self.cluster.put(place["plural"], body, place["namespace"]))

    def _delete(self, place: dict[str, str], query: dict[str, str], body: Any) -> None:
        if (place["plural"], place["namespace"], place["name"]) not in self.cluster.objects:
            return self._missing(place)
        self._json(self.cluster.remove(place["plural"], place["name"], place["namespace"]))

    def _missing(self, place: dict[str, str]) -> None:
        message = f'{place["plural"]} "{place["name"]}" not found'
        details = {"name": place["name"], "kind": place["plural"]}
        self._text(404, json.dumps({"kind": "Status", "code": 404, "message": message, "details": details}))

    def _plain_404(self) -> None:
        self._text(404, "404 page not found\n")

    def _json(self, value: Any, status: int = 200) -> None:
        self._text(status, json.dumps(value))

    def _text(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if text.startswith("{") else "text/plain")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def _stream(self, lines: Iterator[str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for line in lines:
                data = f"{line}\n".encode()
                self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True  # the client has heard enough


def _selected(one: Manifest, query: dict[str, str]) -> bool:
    metadata = one["metadata"]
    for part in filter(None, query.get("labelSelector", "").split(",")):
        key, _, value = part.partition("=")
        if key not in metadata.get("labels", {}) or (value and metadata["labels"][key] != value):
            return False
    for part in filter(None, query.get("fieldSelector", "").split(",")):
        key, _, value = part.partition("=")
        node: Any = one
        for step in key.split("."):
            node = node.get(step, {})
        if node != value:
            return False
    return True


@contextmanager
def running(folder: Path) -> Iterator[tuple[FakeKubernetes, Path]]:
    """A cluster that listens, and a kubeconfig file that leads to it."""
    cluster = FakeKubernetes()
    handler = type("BoundHandler", (Handler,), {"cluster": cluster})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config_for(f"http://127.0.0.1:{server.server_address[1]}")))
    try:
        yield cluster, kubeconfig
    finally:
        cluster.closing = True
        server.shutdown()
        server.server_close()
        thread.join()


def config_for(address: str) -> Manifest:
    """A kubeconfig file with one context, `fake`."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "fake", "cluster": {"server": address}}],
        "users": [{"name": "someone", "user": {"token": "not-a-secret"}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "someone"}}],
        "current-context": "fake",
    }
