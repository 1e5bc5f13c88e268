"""What is rendered and what the client sends, against a real API server: admission, roles, watches, conflicts.

Needs etcd, kube-apiserver, kube-controller-manager and kubectl on PATH (see ../../docs/kubernetes.md). There are no
nodes and no operator: the test makes the operator's pods and reports the operator's status. A server before 1.25 has
no Pod Security admission and no rules in CEL; everything else is tested there too.
"""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import api_server
import operator_pods
import pytest
import yaml
from kubernetes import client

from configs.errors import ClusterError
from configs.kubernetes import KubernetesSpec
from configs.load import load_spec
from configs.serve import ServeSpec
from orchestrator.submit import kuberay
from orchestrator.submit.kuberay import KubeRay
from orchestrator.submit.kuberay_service import render
from orchestrator.submit.kuberay_target import KubeRayTarget
from orchestrator.submit.target import Submission

pytestmark = pytest.mark.soak

Manifest = dict[str, Any]
ROOT = Path(__file__).parents[2]
FOREIGN = ("kueue.x-k8s.io/", "monitoring.coreos.com/")
SPEC = KubernetesSpec.model_validate({"volumes": [{"claim": "ringmaster-jobs", "path": "/mnt/ringmaster"}]})
WAIT_S = 40.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if lacking := api_server.missing():
        pytest.skip(lacking)
    with api_server.running(tmp_path_factory.mktemp("api-server")) as server:
        yield server


@pytest.fixture
def installed(server: Any) -> Iterator[Callable[[str], None]]:
    """`installed(overlay)` applies an overlay as its README says; afterwards the namespace is gone."""

    def install(overlay: str) -> None:
        built = server.kubectl("kustomize", str(ROOT / "k8s" / "overlays" / overlay)).stdout
        documents = [one for one in yaml.safe_load_all(built) if not one["apiVersion"].startswith(FOREIGN)]
        if server.version < (1, 21):  # policy/v1 is younger
            documents = [one for one in documents if one["kind"] != "PodDisruptionBudget"]
        applied(server, documents, "--validate=false" if server.version < (1, 25) else "--validate=strict")

    yield install
    server.kubectl("delete", "namespace", "ringmaster", "--ignore-not-found", f"--timeout={WAIT_S:.0f}s")


@pytest.fixture
def dev(installed: Callable[[str], None], server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The namespace of overlays/dev, as a user of the group of submitters sees it."""
    installed("dev")
    be(server, "submitter", monkeypatch)
    monkeypatch.setattr(kuberay, "OLDEST", min(kuberay.OLDEST, server.version))
    return server


def applied(server: Any, documents: list[Manifest], *options: str) -> None:
    done = server.kubectl("apply", *options, "--filename=-", stdin=yaml.safe_dump_all(documents))
    assert done.returncode == 0, done.stderr


def be(server: Any, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(user)))


def golden(name: str, namespace: str = "ringmaster") -> list[Manifest]:
    documents = list(yaml.safe_load_all((ROOT / "tests" / "golden" / f"{name}.yaml").read_text()))
    for document in documents:
        document["metadata"]["namespace"] = namespace
    return documents


def submit(name: str) -> str:
    return KubeRayTarget(SPEC).submit(Submission(name, load_spec("digits"), {}))


def until(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("overlay", "names"), [("dev", ["cpu"]), ("gpu", ["cpu", "elastic", "gpu", "service"]), ("prod", ["gpu"])]
)
def test_the_operators_pods_are_admitted(
    server: Any, installed: Callable[[str], None], overlay: str, names: list[str]
) -> None:
    """Quota, limits, service account and, from 1.25 on, Pod Security; MLflow's pods are made of its templates."""
    installed(overlay)
    classes = [{"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 1}]
    applied(server, [one | {"metadata": {"name": name}} for one in classes for name in ("research", "low")])
    for name in names:
        documents = golden(name)
        pods = [pod for one in documents if one["apiVersion"] == "ray.io/v1" for pod in operator_pods.pods_of(one)]
        assert len(pods) == (2 if name == "service" else 3)
        admitted(server, pods)
    templates = yaml.safe_load(
        server.kubectl("get", "deployments,statefulsets", "--namespace=ringmaster", "--output=yaml").stdout
    )["items"]
    admitted(server, [as_pod(one) for one in templates])


def admitted(server: Any, pods: list[Manifest]) -> None:
    """Every pod can be made while no other one is there; the quota has been counted by then."""
    for pod in pods:
        text = yaml.safe_dump(pod)
        until(lambda text=text: "status unknown for quota" not in create(server, text, "--dry-run=server").stderr)
        done = create(server, text, "--dry-run=server")
        assert done.returncode == 0, f"{pod['metadata']['name']}: {done.stderr}"


def create(server: Any, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    done: subprocess.CompletedProcess[str] = server.kubectl("create", *options, "--filename=-", stdin=text)
    return done


def as_pod(owner: Manifest) -> Manifest:
    pod = {"apiVersion": "v1", "kind": "Pod", **owner["spec"]["template"]}
    pod["metadata"] = {**pod["metadata"], "name": owner["metadata"]["name"], "namespace": "ringmaster"}
    claims = owner["spec"].get("volumeClaimTemplates", [])
    volumes = [{"name": one["metadata"]["name"], "emptyDir": {}} for one in claims]
    pod["spec"]["volumes"] = [*pod["spec"]["volumes"], *volumes]
    return pod


@pytest.mark.parametrize("name", ["cpu", "elastic", "gpu", "service"])
def test_what_is_rendered_is_accepted(dev: Any, name: str) -> None:
    for document in golden(name):
        if document["kind"] == "PodDisruptionBudget" and dev.version < (1, 21):
            continue
        strict = "--validate=false" if dev.version < (1, 25) else "--validate=strict"
        applied(dev, [document], strict)
        kind, place = document["kind"], document["metadata"]["name"]
        stored = yaml.safe_load(dev.kubectl("get", kind, place, "--namespace=ringmaster", "--output=yaml").stdout)
        assert missing_from(document, stored) == []


def missing_from(sent: Any, stored: Any, path: str = "") -> list[str]:
    """What the server did not keep of what was sent; it may add defaults, and writes quantities its own way."""
    if isinstance(sent, dict):
        return [one for key in sent for one in missing_from(sent[key], (stored or {}).get(key), f"{path}.{key}")]
    if isinstance(sent, list):
        pairs = zip(sent, stored or [None] * len(sent), strict=True)
        return [one for index, pair in enumerate(pairs) for one in missing_from(*pair, f"{path}[{index}]")]
    return [] if sent == stored else [f"{path}: {sent!r} became {stored!r}"]


def test_a_job_from_its_submission_to_its_end(dev: Any) -> None:
    place, watcher = KubeRayTarget(SPEC), KubeRay(SPEC)
    assert submit("digits-1") == "digits-1"
    assert (place.status("digits-1").state, [one.id for one in place.jobs()]) == ("PENDING", ["digits-1"])
    owner = dev.ask("GET", "/api/v1/namespaces/ringmaster/configmaps/digits-1")["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"]) == ("RayJob", "digits-1")
    seen = watcher.watch("digits-1")
    assert next(seen)["metadata"]["name"] == "digits-1"
    for deployment, job, state in [
        ("Initializing", "", "PENDING"),
        ("Running", "RUNNING", "RUNNING"),
        ("Complete", "SUCCEEDED", "SUCCEEDED"),
    ]:
        dev.set_status("digits-1", jobDeploymentStatus=deployment, **({"jobStatus": job} if job else {}))
        changed = next(seen)
        assert changed["status"]["jobDeploymentStatus"] == deployment
        assert place.status("digits-1").state == state
    assert place.stop("digits-1") == "digits-1 had ended already (succeeded); nothing was stopped"
    with pytest.raises(ClusterError, match="there is no output of digits-1"):
        list(place.logs("digits-1", follow=True))


def test_a_stop_is_told_from_a_deletion_by_others(dev: Any) -> None:
    place = KubeRayTarget(SPEC)
    for name in ("digits-1", "digits-2"):
        submit(name)
        dev.set_status(name, jobDeploymentStatus="Running", jobStatus="RUNNING")
        assert place.status(name).state == "RUNNING"
    assert place.stop("digits-1") == "digits-1 was stopped by `ringmaster stop`"
    stands = place.status("digits-1")
    assert stands.state == "STOPPED" and "was stopped by `ringmaster stop` at " in stands.reason
    files = dev.kubectl("get", "configmap", "digits-1", "--namespace=ringmaster")
    until(lambda: dev.kubectl("get", *files.args[2:]).returncode != 0)
    seen: list[Manifest | None] = []
    watching = threading.Thread(target=lambda: seen.extend(KubeRay(SPEC).watch("digits-2")))
    watching.start()
    until(lambda: len(seen) == 1)
    assert dev.kubectl("delete", "rayjob", "digits-2", "--namespace=ringmaster").returncode == 0
    watching.join(WAIT_S)
    assert seen[-1] is None
    with pytest.raises(
        ClusterError, match="digits-2 in namespace ringmaster was deleted by someone else while it was"
    ):
        place.status("digits-2")


def test_what_the_server_refuses_is_one_line(dev: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    submit("digits-1")
    with pytest.raises(ClusterError, match="rayjobs.ray.io digits-1 exists already in namespace ringmaster"):
        submit("digits-1")
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few", "namespace": "ringmaster"}}
    applied(dev, [quota | {"spec": {"hard": {"count/rayjobs.ray.io": "1"}}}])
    path = "/api/v1/namespaces/ringmaster/resourcequotas/few"
    until(lambda: "count/rayjobs.ray.io" in dev.ask("GET", path).get("status", {}).get("used", {}))
    with pytest.raises(ClusterError, match="quota few of the namespace is exceeded: requested count/rayjobs.ray.io=1"):
        submit("digits-2")
    be(dev, "stranger", monkeypatch)
    with pytest.raises(ClusterError, match="user stranger may not create rayjobs.ray.io in namespace ringmaster"):
        submit("digits-3")
    monkeypatch.setenv("KUBECONFIG", str(dev.kubeconfig("nobody")))
    with pytest.raises(ClusterError, match=r"does not accept your credentials \(401\)"):
        submit("digits-3")
    be(dev, "admin", monkeypatch)
    elsewhere = SPEC.model_copy(update={"namespace": "elsewhere"})
    with pytest.raises(ClusterError, match="namespace elsewhere does not exist"):
        KubeRayTarget(elsewhere).submit(Submission("digits-3", load_spec("digits"), {}))


def test_roles_are_enough_and_no_more(dev: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for denied in (
        "get secrets",
        "create pods",
        "list configmaps",
        "patch rayservices.ray.io",
        "update rayjobs.ray.io",
    ):
        done = dev.kubectl("auth", "can-i", *denied.split(), "--namespace=ringmaster", user="submitter")
        assert done.stdout.strip() == "no", denied
    account = "--as=system:serviceaccount:ringmaster:ringmaster-job"
    assert dev.kubectl("auth", "can-i", "list", "pods", account, "--namespace=ringmaster").stdout.strip() == "no"
    with pytest.raises(ClusterError, match="user submitter may not get rayservices.ray.io in namespace ringmaster"):
        KubeRay(SPEC).apply(render(ServeSpec(), SPEC, model="digits", version=1))


def test_deployers_serve_one_version_after_another(dev: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    be(dev, "deployer", monkeypatch)
    services = [render(ServeSpec(), SPEC, model="digits", version=version) for version in (1, 2)]
    if dev.version < (1, 21):  # the budget's API, policy/v1, is younger: the service alone
        monkeypatch.setattr(client.PolicyV1Api, "patch_namespaced_pod_disruption_budget", nothing)
    assert [KubeRay(SPEC).apply(one) for one in services] == ["created", "updated in place"]
    path = "/apis/ray.io/v1/namespaces/ringmaster/rayservices/digits"
    assert "version: 2" in dev.ask("GET", path)["spec"]["serveConfigV2"]


def nothing(*_: Any, **__: Any) -> Any:
    return SimpleNamespace(status=200, data=b"{}")


def test_a_server_that_is_too_old_is_told(dev: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    major, minor = dev.version
    monkeypatch.setattr(kuberay, "OLDEST", (major, minor + 1))
    with pytest.raises(ClusterError, match=rf"the cluster runs Kubernetes {major}\.{minor}, and KubeRay v1\.7 needs"):
        submit("digits-1")
