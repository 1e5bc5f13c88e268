"""The pods that KubeRay v1.7 makes of a RayJob or a RayService: what its operator adds to our templates.

Only what admission looks at: containers and their resources and rights, volumes, labels, the token's secret.
"""

import copy
from collections.abc import Iterator
from typing import Any

Manifest = dict[str, Any]
CLUSTER = "x1y2z"
"""What the operator appends to the name of the object for its RayCluster."""


def pods_of(document: Manifest) -> list[Manifest]:
    """One pod of each kind: head, workers, and for a job the one that submits it."""
    job = document["kind"] == "RayJob"
    spec = document["spec"]
    cluster = spec["rayClusterSpec"] if job else spec["rayClusterConfig"]
    name = f"{document['metadata']['name']}-{CLUSTER}"
    pods = [_head(cluster, name), *_workers(cluster, name)]
    if job:
        pods.append(_submitter(spec["submitterPodTemplate"], document["metadata"]["name"]))
    for pod in pods:
        pod["metadata"]["namespace"] = document["metadata"]["namespace"]
        _ask_for_token(pod, cluster, name)
    return pods


def containers_of(pod: Manifest) -> list[Manifest]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def _head(cluster: Manifest, name: str) -> Manifest:
    pod = _pod(cluster["headGroupSpec"]["template"], f"{name}-head-a1b2c")
    pod["metadata"]["labels"] |= _labels(name, "head", "headgroup")
    container = pod["spec"]["containers"][0]
    container |= {"command": ["/bin/bash", "-c", "--"], "args": ["ray start --head"]}
    if cluster["enableInTreeAutoscaling"]:
        pod["spec"]["containers"].append(_autoscaler(container["image"], cluster.get("autoscalerOptions", {})))
        pod["spec"]["volumes"].append({"name": "ray-logs", "emptyDir": {}})
        for one in pod["spec"]["containers"]:
            one.setdefault("volumeMounts", []).append({"name": "ray-logs", "mountPath": "/tmp/ray"})  # noqa: S108
    return pod


def _autoscaler(image: str, options: Manifest) -> Manifest:
    sidecar = {
        "name": "autoscaler",
        "image": image,
        "resources": {kind: {"cpu": "500m", "memory": "512Mi"} for kind in ("requests", "limits")},
    }
    given = ("image", "imagePullPolicy", "resources", "securityContext", "env", "envFrom", "volumeMounts")
    return sidecar | {key: copy.deepcopy(options[key]) for key in given if key in options}


def _workers(cluster: Manifest, name: str) -> Iterator[Manifest]:
    for group in cluster["workerGroupSpecs"]:
        pod = _pod(group["template"], f"{name}-{group['groupName']}-worker-a1b2c")
        pod["metadata"]["labels"] |= _labels(name, "worker", group["groupName"])
        container = pod["spec"]["containers"][0]
        wait = {"name": "wait-gcs-ready", "command": ["/bin/bash", "-c", "--"], "args": ["ray health-check"]}
        kept = ("image", "imagePullPolicy", "securityContext", "env", "volumeMounts")
        wait |= {key: copy.deepcopy(container[key]) for key in kept if key in container}
        wait["resources"] = {kind: {"cpu": "200m", "memory": "256Mi"} for kind in ("requests", "limits")}
        pod["spec"]["initContainers"] = [*pod["spec"].get("initContainers", []), wait]
        container |= {"command": ["/bin/bash", "-c", "--"], "args": ["ray start"]}
        yield pod


def _submitter(template: Manifest, name: str) -> Manifest:
    pod = _pod(template, f"{name}-a1b2c")
    pod["spec"]["containers"][0] |= {"command": ["/bin/bash", "-ce", "--"], "args": ["ray job submit"]}
    return pod


def _pod(template: Manifest, name: str) -> Manifest:
    pod = {"apiVersion": "v1", "kind": "Pod", **copy.deepcopy(template)}
    pod["metadata"]["name"] = name
    return pod


def _labels(cluster: str, kind: str, group: str) -> dict[str, str]:
    return {
        "ray.io/cluster": cluster,
        "ray.io/group": group,
        "ray.io/node-type": kind,
        "ray.io/is-ray-node": "yes",
        "ray.io/identifier": f"{cluster}-{kind}",
        "app.kubernetes.io/name": "kuberay",
        "app.kubernetes.io/created-by": "kuberay-operator",
    }


def _ask_for_token(pod: Manifest, cluster: Manifest, name: str) -> None:
    options = cluster.get("authOptions", {})
    if options.get("mode") != "token":
        return
    reference = {"name": options.get("secretName", name), "key": "auth_token"}
    for container in containers_of(pod):
        container["env"] = [
            *container.get("env", []),
            {"name": "RAY_AUTH_MODE", "value": "token"},
            {"name": "RAY_AUTH_TOKEN", "valueFrom": {"secretKeyRef": reference}},
        ]
