"""Runs jobs and services on Kubernetes through KubeRay: the only place that knows the Kubernetes client."""

import functools
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import urllib3.exceptions
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from configs.errors import ClusterError
from configs.kubernetes import KubernetesSpec
from deploy.manifests.names import ID_LABEL, JOB_LABEL, MANAGED_BY, OWNER
from deploy.manifests.rayjob import RenderedJob
from deploy.manifests.rayservice import CLUSTER_DIGEST, RenderedService
from orchestrator.submit.kubernetes_errors import CRDS, Absent, Away, Request, TooOld, explain
from orchestrator.submit.rayjobs import (
    STOPPED_EVENT,
    SUBMITTER,
    Condition,
    condition,
    expired,
    gone,
    one_line,
    submitter_pod,
)
from orchestrator.submit.target import State

Manifest = dict[str, Any]
GROUP, VERSION = "ray.io", "v1"
OLDEST = (1, 25)
"""KubeRay's CRDs hold rules that older API servers do not check."""
CONNECT_S, READ_S = 10.0, 30.0
WATCH_S = 15
"""How long one watch request lasts; then the job is looked at again, as its pods may have changed without it."""
RETRY_S = 1.0
PATIENCE_S = 120.0
"""How long a server that answered once may be away."""
GONE = 410
FIRST_BYTES = 2**16


class KubeRay:
    """A namespace of a Kubernetes cluster that runs KubeRay."""

    def __init__(self, spec: KubernetesSpec) -> None:
        """Read the kubeconfig file; nothing is sent yet. Raises ClusterError when there is none to use."""
        self.namespace = spec.namespace
        self._api = _connect(spec.context)
        self._custom, self._core = client.CustomObjectsApi(self._api), client.CoreV1Api(self._api)

    def require_ready(self) -> None:
        """Raise ClusterError unless the API server answers, is new enough, and knows KubeRay's objects."""
        version = self._call(Request("get", "version", "", ""), client.VersionApi(self._api).get_code)
        found = tuple(int("".join(filter(str.isdigit, version[key])) or 0) for key in ("major", "minor"))
        if found < OLDEST:
            raise ClusterError(
                f"the cluster runs Kubernetes {version['major']}.{version['minor']}, and KubeRay v1.7 needs "
                f"{OLDEST[0]}.{OLDEST[1]} or later; upgrade it, or choose another --context"
            )
        request = Request("list", "rayjobs.ray.io", "", self.namespace)
        listed = self._call(request, self._custom.get_api_resources, GROUP, VERSION)
        known = {resource["name"] for resource in listed["resources"]}
        for resource in ("rayjobs", "rayservices"):
            if resource not in known:
                raise ClusterError(CRDS.format(resource=resource))

    def create(self, job: RenderedJob, *, dry_run: bool = False) -> str:
        """Create the objects of a job and return its name; with dry_run the server only checks them.

        Raises ClusterError for a taken name, a missing namespace, permission or quota.
        """
        name = job.rayjob["metadata"]["name"]
        # The RayJob comes first, as it owns the ConfigMap: with the one goes the other. Pods wait for their files.
        options: Manifest = {"field_manager": OWNER} | ({"dry_run": "All"} if dry_run else {})
        created = self._create_rayjob(name, job.rayjob, options)
        owner = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "RayJob", "name": name, "uid": created["metadata"]["uid"]}
        files = {**job.config, "metadata": {**job.config["metadata"], "ownerReferences": [owner]}}
        request = Request("create", "configmaps", name, self.namespace)
        try:
            self._call(request, self._core.create_namespaced_config_map, self.namespace, files, **options)
        except BaseException:
            if not dry_run:
                with suppress(ClusterError):
                    self._delete(name)
            raise
        return str(name)

    def apply(self, service: RenderedService) -> str:
        """Create or update a service by server-side apply; returns what changed, for the user."""
        body = service.service
        name = body["metadata"]["name"]
        before = self._find("rayservices", name)
        apply: Manifest = {"field_manager": OWNER, "force": True, "_content_type": "application/apply-patch+yaml"}
        place = (GROUP, VERSION, self.namespace, "rayservices", name, body)
        request = Request("patch", "rayservices.ray.io", name, self.namespace)
        self._call(request, self._custom.patch_namespaced_custom_object, *place, **apply)
        budgets = client.PolicyV1Api(self._api)
        request = Request("patch", "poddisruptionbudgets.policy", name, self.namespace)
        patch = budgets.patch_namespaced_pod_disruption_budget
        self._call(request, patch, name, self.namespace, service.budget, **apply)
        if before is None:
            return "created"
        annotations = [one["metadata"].get("annotations", {}).get(CLUSTER_DIGEST) for one in (before, body)]
        same = annotations[0] == annotations[1]
        return "updated in place" if same else "updated: KubeRay starts a new cluster beside the old one"

    def rayjobs(self) -> list[Manifest]:
        """Every RayJob of Ringmaster in the namespace."""
        return list(self._list_rayjobs(label_selector=f"{MANAGED_BY}={OWNER},{JOB_LABEL}")["items"])

    def find(self, name: str) -> Manifest | None:
        """The RayJob of that name, or None."""
        return self._find("rayjobs", name)

    def condition(self, rayjob: Manifest) -> Condition:
        """How a RayJob stands, and why, from its pods and events. Without permission to see those, without why."""
        name = rayjob["metadata"]["name"]
        try:
            pods = self._pods(name)
            cluster = (rayjob.get("status") or {}).get("rayClusterName")
            about = {name, cluster, *(pod["metadata"]["name"] for pod in pods)}
            events = [event for event in self._events() if event["involvedObject"].get("name") in about]
        except ClusterError:
            pods, events = [], []
        return condition(rayjob, pods, events)

    def absence(self, name: str, seen: State | None = None) -> tuple[bool, str]:
        """Whether a RayJob that is not there was stopped by us, and what is known of it; seen: its last state."""
        events: list[Manifest] = []
        with suppress(ClusterError):
            events = self._events(f"involvedObject.name={name},involvedObject.kind=RayJob")
        return gone(name, self.namespace, events, seen)

    def watch(self, name: str) -> Iterator[Manifest | None]:
        """Yield the RayJob now and after every change; None once it is not there any more.

        A watch that ends, breaks or is too old (410) is taken up again.
        """
        list_ = functools.partial(self._list_rayjobs, field_selector=f"metadata.name={name}")
        listed = list_()
        while True:
            if not listed["items"]:
                yield None
                return
            yield listed["items"][0]
            version = listed["metadata"].get("resourceVersion")
            for event in self._changes(name, version):
                if event["type"] == "DELETED":
                    yield None
                    return
                yield event["object"]
            listed = _patiently(list_)

    def log_lines(self, name: str, *, follow: bool) -> Iterator[str]:
        """Yield the lines that the job printed, with `follow` until it ends.

        Raises ClusterError when its pods are gone, or have not started yet and are not waited for.
        """
        seen, rayjob = "", self.find(name)
        while True:
            if rayjob is None:
                raise ClusterError(self.absence(name)[1])
            stands = self.condition(rayjob)
            over = stands.state in {"SUCCEEDED", "FAILED", "STOPPED"}
            pod = submitter_pod(self._pods(name))
            if pod is not None and (pod.get("status") or {}).get("phase") != "Pending":
                for stamp, line in self._log(pod["metadata"]["name"], follow=follow and not over):
                    if stamp > seen:
                        seen = stamp
                        yield line
            elif over or not follow:
                ttl = expired(rayjob, datetime.now(UTC))
                why = ttl or stands.reason or "its pods are gone"
                raise ClusterError(f"there is no output of {name} ({stands.state.lower()}): {why}")
            if over or not follow:
                return
            time.sleep(RETRY_S)
            rayjob = _patiently(functools.partial(self.find, name))

    def first_output(self, name: str) -> str:
        """What the job printed first, as far as it has; nothing where there is none, or it may not be seen."""
        request = Request("get", "pods/log", name, self.namespace)
        with suppress(ClusterError):
            if pod := submitter_pod(self._pods(name)):
                options: Manifest = {"container": SUBMITTER, "limit_bytes": FIRST_BYTES}
                read = self._core.read_namespaced_pod_log
                response = self._open(request, read, pod["metadata"]["name"], self.namespace, **options)
                return bytes(response.data).decode(errors="replace")
        return ""

    def stop(self, name: str) -> str:
        """Delete a RayJob: KubeRay first stops the job in Ray, which closes its MLflow run, then removes the pods.

        Not spec.suspend: KubeRay kills suspended jobs without a word to them, and Kueue would start them again.
        Returns what was done. Raises ClusterError where there is no such job.
        """
        rayjob = self.find(name)
        if rayjob is None:
            stopped, text = self.absence(name)
            if stopped:
                return text
            raise ClusterError(text)
        stands = condition(rayjob)
        if stands.state in {"SUCCEEDED", "FAILED"}:
            return f"{name} had ended already ({stands.state.lower()}); nothing was stopped"
        text = f"{name} was stopped by `ringmaster stop`"
        self._leave_word(rayjob, text)
        self._delete(name)
        return text

    def _create_rayjob(self, name: str, body: Manifest, options: Manifest) -> Manifest:
        request = Request("create", "rayjobs.ray.io", name, self.namespace)
        place = (GROUP, VERSION, self.namespace, "rayjobs", body)
        create = self._custom.create_namespaced_custom_object
        # Strict: an older CRD would drop fields that it does not know without a word.
        return self._object(request, create, *place, field_validation="Strict", **options)

    def _find(self, plural: str, name: str) -> Manifest | None:
        request = Request("get", f"{plural}.ray.io", name, self.namespace)
        get = self._custom.get_namespaced_custom_object
        return self._call(request, get, GROUP, VERSION, self.namespace, plural, name, absent=True) or None

    def _list_rayjobs(self, **options: Any) -> Manifest:
        request = Request("list", "rayjobs.ray.io", "", self.namespace)
        list_ = self._custom.list_namespaced_custom_object
        return self._object(request, list_, GROUP, VERSION, self.namespace, "rayjobs", **options)

    def _pods(self, name: str) -> list[Manifest]:
        request = Request("list", "pods", "", self.namespace)
        list_ = self._core.list_namespaced_pod
        return list(self._object(request, list_, self.namespace, label_selector=f"{ID_LABEL}={name}")["items"])

    def _events(self, selector: str | None = None) -> list[Manifest]:
        request = Request("list", "events", "", self.namespace)
        options: Manifest = {"field_selector": selector} if selector else {}
        return list(self._object(request, self._core.list_namespaced_event, self.namespace, **options)["items"])

    def _delete(self, name: str) -> None:
        request = Request("delete", "rayjobs.ray.io", name, self.namespace)
        place = (GROUP, VERSION, self.namespace, "rayjobs", name)
        delete = self._custom.delete_namespaced_custom_object
        self._call(request, delete, *place, propagation_policy="Background", absent=True)

    def _leave_word(self, rayjob: Manifest, text: str) -> None:
        """An event outlives the RayJob for an hour or so; who may not write one gets the same stop without it."""
        metadata, now = rayjob["metadata"], datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        about = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "RayJob", "namespace": self.namespace}
        event = {
            "metadata": {"generateName": f"{metadata['name']}.", "namespace": self.namespace},
            "involvedObject": about | {"name": metadata["name"], "uid": metadata.get("uid")},
            "type": "Normal",
            "reason": STOPPED_EVENT,
            "message": f"{text} at {now}",
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "source": {"component": OWNER},
        }
        request = Request("create", "events", "", self.namespace)
        with suppress(ClusterError):
            self._call(request, self._core.create_namespaced_event, self.namespace, event)

    def _changes(self, name: str, version: str | None) -> Iterator[Manifest]:
        """Events of one watch request. Ends without an error when the server ends it or the connection breaks."""
        options: Manifest = {"field_selector": f"metadata.name={name}", "timeout_seconds": WATCH_S}
        options |= {"watch": True, "resource_version": version, "read_s": WATCH_S + READ_S}
        request = Request("watch", "rayjobs.ray.io", name, self.namespace)
        place = (GROUP, VERSION, self.namespace, "rayjobs")
        try:
            response = self._open(request, self._custom.list_namespaced_custom_object, *place, **options)
        except TooOld:
            return
        with suppress(urllib3.exceptions.HTTPError, OSError):
            for line in _lines(response):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return  # too old (410), or the server lost it; the next list says how things stand
                if event["type"] != "BOOKMARK":
                    yield event
            return
        time.sleep(RETRY_S)

    def _log(self, pod: str, *, follow: bool) -> Iterator[tuple[str, str]]:
        """Time stamp and text of every line; ends quietly when the connection breaks."""
        request = Request("get", "pods/log", pod, self.namespace)
        read = self._core.read_namespaced_pod_log
        options: Manifest = {"container": SUBMITTER, "follow": follow, "timestamps": True, "read_s": None}
        response = self._open(request, read, pod, self.namespace, **options)
        with suppress(urllib3.exceptions.HTTPError, OSError):
            for line in _lines(response):
                stamp, _, text = line.partition(" ")
                yield stamp, text

    def _object(self, request: Request, method: Callable[..., Any], *args: Any, **kw: Any) -> Manifest:
        return dict(self._call(request, method, *args, **kw))

    def _call(self, request: Request, method: Callable[..., Any], *args: Any, absent: bool = False, **kw: Any) -> Any:
        """Send a request and return the object that comes back; with `absent`, nothing where the object is not there.

        Raises ClusterError.
        """
        try:
            response = self._open(request, method, *args, **kw)
        except Absent as error:
            if absent:
                return {}
            raise ClusterError(str(error)) from error
        return json.loads(response.data)

    def _open(
        self, request: Request, method: Callable[..., Any], *args: Any, read_s: float | None = READ_S, **kw: Any
    ) -> Any:
        """Send a request and return the open response. Raises ClusterError, Absent, TooOld."""
        try:
            response = method(*args, _preload_content=False, _request_timeout=(CONNECT_S, read_s or 86400.0), **kw)
            status, body = response.status, response.data.decode() if response.status >= 400 else ""
        except ApiException as error:
            status, body = int(error.status or 0), str(error.body or error.reason or "")
            response = None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Away(
                f"no API server answers at {self._api.configuration.host} ({_cause(error)}); check the network, the "
                "kubeconfig file and --context"
            ) from error
        if status < 400 and response is not None:
            return response
        text = explain(request, status, body)
        if status == GONE:
            raise TooOld(text)
        if status == 404 and request.name and '"details"' in body and '"namespaces"' not in body:
            raise Absent(text)
        raise Away(text) if status == 429 or status >= 500 else ClusterError(text)


def _connect(context: str | None) -> client.ApiClient:
    settings = client.Configuration()
    settings.retries = 1  # a server that does not answer is reported, not waited for
    try:
        if context is None and "KUBERNETES_SERVICE_HOST" in os.environ and not _kubeconfig_exists():
            config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
        else:
            # Named, as the client reads KUBECONFIG only once, when it is imported.
            config.load_kube_config(_kubeconfig(), context, settings)  # type: ignore[no-untyped-call]
    except Exception as error:  # whatever a broken file leads the client to
        if context is not None and _kubeconfig_exists():
            raise ClusterError(
                f"context {context} cannot be used: {one_line(error)}; `kubectl config get-contexts` lists them"
            ) from error
        raise ClusterError(
            f"there is no Kubernetes configuration to use ({one_line(error)}); set KUBECONFIG, or put the cluster's "
            "file at ~/.kube/config"
        ) from error
    return client.ApiClient(settings)


def _patiently(action: Callable[[], Any]) -> Any:
    """Repeat a request while the server is away, for PATIENCE_S at most; a job runs on meanwhile."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return action()
        except Away:
            if time.monotonic() > deadline:
                raise
            time.sleep(RETRY_S)


def _kubeconfig() -> str:
    return os.environ.get("KUBECONFIG") or os.path.expanduser("~/.kube/config")


def _kubeconfig_exists() -> bool:
    return any(os.path.isfile(path) for path in _kubeconfig().split(os.pathsep))


def _lines(response: Any) -> Iterator[str]:
    """Complete lines of a response that is still being written."""
    rest = b""
    for chunk in response.stream(amt=None, decode_content=False):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines if line)
    if rest:
        yield rest.decode(errors="replace")


def _cause(error: BaseException) -> str:
    inner = getattr(error, "reason", None) or error
    return one_line(inner)
