"""What an administrator installs: every overlay builds, is valid, is restricted as Pod Security wants, and fits."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import ray.dashboard.modules.metrics
import yaml

from configs.kubernetes import KubernetesSpec

Manifest = dict[str, Any]
ROOT = Path(__file__).parents[2]
OVERLAYS = ("dev", "gpu", "prod")
KUBERNETES = "1.36"
FOREIGN = ("kueue.x-k8s.io/", "monitoring.coreos.com/")
"""Groups whose schemas are not here."""
CREATED_BY_HAND = {
    "mlflow-server": {"username", "password", "secret-key", "postgres-password"},
    "mlflow-s3": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
}
_built: dict[str, list[Manifest]] = {}


def build(overlay: str) -> list[Manifest]:
    """The objects of an overlay, as `kubectl apply -k` would send them."""
    kubectl, kustomize = shutil.which("kubectl"), shutil.which("kustomize")
    if not (kubectl or kustomize):
        pytest.skip("neither kubectl nor kustomize is installed")
    if overlay not in _built:
        command = [kubectl, "kustomize"] if kubectl else [kustomize, "build"]
        folder = str(ROOT / "k8s" / "overlays" / overlay)
        done = subprocess.run([*command, folder], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr == "", "deprecated fields"
        _built[overlay] = list(yaml.safe_load_all(done.stdout))
    return _built[overlay]


def named(overlay: str, kind: str, name: str) -> Manifest:
    (found,) = [one for one in build(overlay) if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def pods(overlay: str) -> Iterator[tuple[str, Manifest]]:
    for one in build(overlay):
        if one["kind"] in {"Deployment", "StatefulSet", "Job", "DaemonSet"}:
            yield one["metadata"]["name"], one["spec"]["template"]


def texts(value: Any) -> Iterator[tuple[str, str]]:
    """Every key of a tree with its text."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from [(str(key), child)] if isinstance(child, str) else texts(child)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_is_valid(overlay: str) -> None:
    for document in build(overlay):
        if not document["apiVersion"].startswith(FOREIGN):
            kubernetes_validate.validate(document, KUBERNETES, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_lies_in_one_namespace(overlay: str) -> None:
    cluster_wide = {"Namespace", "ClusterQueue", "ResourceFlavor"}
    for document in build(overlay):
        expected = None if document["kind"] in cluster_wide else "ringmaster"
        assert document["metadata"].get("namespace") == expected, document["metadata"]["name"]
    labels = named(overlay, "Namespace", "ringmaster")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_hold_to_restricted_and_are_never_root(overlay: str) -> None:
    names = []
    for name, template in pods(overlay):
        names.append(name)
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert all("hostPath" not in volume for volume in pod["volumes"])
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"] == container["resources"]["limits"]
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
            assert not container["image"].endswith(":latest") and ":" in container["image"]
            volumes = {volume["name"] for volume in pod["volumes"]} | {"data"}
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    assert names == ["mlflow", "mlflow-postgres"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_secret_is_there_or_has_a_default(overlay: str) -> None:
    assert not [one for one in build(overlay) if one["kind"] == "Secret"]
    for document in build(overlay):
        for key, text in texts(document):
            assert not re.search(r"://[^/\s:@]*:[^/\s@]+@", text), f"a password in {key}"
    for _, template in pods(overlay):
        for container in template["spec"]["containers"]:
            for variable in container.get("env", []):
                secret = (variable.get("valueFrom") or {}).get("secretKeyRef")
                assert (secret is not None) == bool(re.search("PASSWORD|SECRET_KEY|USERNAME", variable["name"]))
                if secret:
                    assert secret["key"] in CREATED_BY_HAND[secret["name"]]
            for source in container.get("envFrom", []):
                assert source["secretRef"]["name"] in CREATED_BY_HAND


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_services_and_policies_find_their_pods(overlay: str) -> None:
    templates = {name: template["metadata"]["labels"] for name, template in pods(overlay)}
    for document in build(overlay):
        if document["kind"] == "Service":
            chosen = [
                name for name, labels in templates.items() if document["spec"]["selector"].items() <= labels.items()
            ]
            assert chosen == [document["metadata"]["name"]]
    kinds = {document["kind"] for document in build(overlay)}
    assert {"ResourceQuota", "LimitRange", "NetworkPolicy", "Role", "RoleBinding"} <= kinds
    deny = named(overlay, "NetworkPolicy", "deny-all")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress"]}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_limits_and_quota_admit_pods_that_ask_for_no_gpu(overlay: str) -> None:
    limits = named(overlay, "LimitRange", "ringmaster")["spec"]["limits"]
    (most,) = [one["max"] for one in limits if one["type"] == "Pod"]
    assert most.keys() == {"cpu", "memory"}, "a maximum refuses every pod that does not ask for the resource"
    counted = [
        key for key in named(overlay, "ResourceQuota", "ringmaster")["spec"]["hard"] if key.startswith("count/")
    ]
    assert counted == [], "finished jobs stay, and a kind that is new to the cluster is refused until it is counted"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_jobs_find_what_they_name_by_default(overlay: str) -> None:
    spec = KubernetesSpec()
    assert spec.namespace == "ringmaster"
    assert named(overlay, "ServiceAccount", spec.service_account)["automountServiceAccountToken"] is False
    service = named(overlay, "Service", "mlflow")
    host = spec.mlflow_uri.removeprefix("http://")
    assert host == f"mlflow:{service['spec']['ports'][0]['port']}"
    server = dict(pods(overlay))["mlflow"]["spec"]["containers"][0]
    allowed = next(one["value"] for one in server["env"] if one["name"] == "MLFLOW_SERVER_ALLOWED_HOSTS").split(",")
    assert "$(POD_IP):*" in allowed, "Prometheus asks by address"
    names = [one["name"] for one in server["env"]]
    assert names.index("POD_IP") < names.index("MLFLOW_SERVER_ALLOWED_HOSTS"), "or it would not be filled in"
    for name in (host, "mlflow.ringmaster:5000", "mlflow.ringmaster.svc.cluster.local:5000", "localhost:5000"):
        assert any(fnmatch(name, pattern) for pattern in allowed), name
    assert not any(fnmatch("evil.example.com", pattern) for pattern in allowed)
    assert named(overlay, "PersistentVolumeClaim", "ringmaster-jobs")


def test_one_node_needs_no_shared_file_system() -> None:
    modes = {
        overlay: named(overlay, "PersistentVolumeClaim", "ringmaster-jobs")["spec"]["accessModes"]
        for overlay in OVERLAYS
    }
    assert modes == {"dev": ["ReadWriteOnce"], "gpu": ["ReadWriteMany"], "prod": ["ReadWriteMany"]}


def test_artifacts_in_a_bucket_need_no_claim() -> None:
    claims = [one["metadata"]["name"] for one in build("prod") if one["kind"] == "PersistentVolumeClaim"]
    assert claims == ["ringmaster-jobs"]
    deployment = named("prod", "Deployment", "mlflow")["spec"]
    assert deployment["replicas"] == 2 and deployment["strategy"] == {"type": "RollingUpdate"}
    container = deployment["template"]["spec"]["containers"][0]
    environment = {one["name"]: one.get("value") for one in container["env"]}
    assert environment["MLFLOW_ARTIFACTS_DESTINATION"].startswith("s3://")
    assert "/mlartifacts" not in {mount["mountPath"] for mount in container["volumeMounts"]}


@pytest.mark.parametrize("overlay", ["gpu", "prod"])
def test_queues_hang_together_and_fit_below_the_quota(overlay: str) -> None:
    local, queue = named(overlay, "LocalQueue", "training"), named(overlay, "ClusterQueue", "ringmaster")
    assert local["spec"]["clusterQueue"] == queue["metadata"]["name"]
    (group,) = queue["spec"]["resourceGroups"]
    flavors = {one["metadata"]["name"] for one in build(overlay) if one["kind"] == "ResourceFlavor"}
    assert {flavor["name"] for flavor in group["flavors"]} == flavors == {"cpu", "gpu"}
    hard = named(overlay, "ResourceQuota", "ringmaster")["spec"]["hard"]
    for resource in ("cpu", "nvidia.com/gpu"):
        nominal = [
            int(one["nominalQuota"])
            for flavor in group["flavors"]
            for one in flavor["resources"]
            if one["name"] == resource
        ]
        assert sum(nominal) <= int(hard[f"requests.{resource}"])
    for flavor in group["flavors"]:
        assert [one["name"] for one in flavor["resources"]] == group["coveredResources"]


def test_the_dashboard_asks_for_metrics_that_ray_has() -> None:
    board = json.loads(named("prod", "ConfigMap", "ringmaster-dashboard")["data"]["dashboard.json"])
    assert named("prod", "ConfigMap", "ringmaster-dashboard")["metadata"]["labels"]["grafana_dashboard"] == "1"
    folder = Path(os.fspath(next(iter(ray.dashboard.modules.metrics.__path__))))
    known = set(re.findall(r"ray_[a-z_]+", "".join(path.read_text() for path in folder.rglob("*_panels.py"))))
    asked = set(re.findall(r"\bray_[a-z_]+(?=\{)", " ".join(text for key, text in texts(board) if key == "expr")))
    assert len(asked) >= 10
    assert asked <= known, "metrics of the pinned Ray, by its own dashboards"
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_what_is_watched_is_there() -> None:
    ports = {"ray-heads": "metrics", "mlflow": "http"}
    for name, port in ports.items():
        (endpoint,) = named("prod", "ServiceMonitor", name)["spec"]["endpoints"]
        assert endpoint["port"] == port
    selector = named("prod", "ServiceMonitor", "ray-heads")["spec"]["selector"]
    assert selector["matchExpressions"] == [{"key": "ray.io/cluster", "operator": "Exists"}], "or heads count twice"
    basic = named("prod", "ServiceMonitor", "mlflow")["spec"]["endpoints"][0]["basicAuth"]
    assert {one["key"] for one in basic.values()} <= CREATED_BY_HAND["mlflow-server"]
    for policy in ("prometheus", "prometheus-mlflow"):
        (rule,) = named("prod", "NetworkPolicy", policy)["spec"]["ingress"]
        assert rule["from"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}
