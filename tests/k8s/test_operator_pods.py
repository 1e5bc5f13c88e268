"""Our templates with what KubeRay's operator adds to them still hold to Pod Security, limits and quota."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import operator_pods
import pytest
import yaml

Manifest = dict[str, Any]
ROOT = Path(__file__).parents[2]
KUBERNETES = "1.36"
NAMES = ("cpu", "elastic", "gpu", "service")
ALLOWED_VOLUMES = {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}


def pods_of(name: str) -> list[Manifest]:
    documents = yaml.safe_load_all((ROOT / "tests" / "golden" / f"{name}.yaml").read_text())
    return [pod for one in documents if one["apiVersion"] == "ray.io/v1" for pod in operator_pods.pods_of(one)]


@pytest.mark.parametrize("name", NAMES)
def test_the_pods_are_valid(name: str) -> None:
    for pod in pods_of(name):
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
        for container in operator_pods.containers_of(pod):
            paths = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
            assert len(set(paths)) == len(paths), "two volumes at one place"


@pytest.mark.parametrize("name", NAMES)
def test_every_container_holds_to_pod_security_restricted(name: str) -> None:
    names = set()
    for pod in pods_of(name):
        assert {kind for volume in pod["spec"].get("volumes", []) for kind in volume} - {"name"} <= ALLOWED_VOLUMES
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        for container in operator_pods.containers_of(pod):
            names.add(container["name"])
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, container["name"]
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    elastic, job = name in {"elastic", "service"}, name != "service"
    assert names == {"ray-head", "ray-worker", "wait-gcs-ready"} | ({"autoscaler"} if elastic else set()) | (
        {"ray-job-submitter"} if job else set()
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_container_says_what_the_quota_counts(name: str) -> None:
    for pod in pods_of(name):
        for container in operator_pods.containers_of(pod):
            for amounts in (container["resources"]["requests"], container["resources"]["limits"]):
                assert {"cpu", "memory"} <= amounts.keys(), container["name"]


@pytest.mark.parametrize("name", NAMES)
def test_every_pod_is_found_by_policies_and_by_the_client(name: str) -> None:
    for pod in pods_of(name):
        assert pod["metadata"]["labels"]["ringmaster/id"]
        assert pod["spec"]["enableServiceLinks"] is False
