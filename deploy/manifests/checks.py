"""Faults that no schema sees: the API server takes the object, and KubeRay's operator then waits for ever or gives up.

Each was found in KubeRay's own validation (v1.7) or by what the operator did.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from configs.errors import SpecError
from configs.kubernetes import INT32
from configs.secrets import SECRET_NAME
from deploy.manifests.names import MAX_NAME

Manifest = dict[str, Any]
SUBMISSION_MODES = ("K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode")
MAX_LABEL = 63
TOKEN_SINCE = (2, 52)
"""Ray versions with token authentication."""
KUEUE_LABEL = "kueue.x-k8s.io/queue-name"
REFUSED_VARIABLES = {"RAY_REDIS_ADDRESS", "REDIS_USERNAME", "RAY_enable_autoscaler_v2"}
"""Variables of the head that KubeRay takes as fields only."""


def require_sound(document: Manifest) -> None:
    """Raise SpecError naming the first fault of a rendered object."""
    for fault in faults(document):
        metadata = document["metadata"]
        raise SpecError(f"{document['kind']} {metadata['name']}: {fault}")


def faults(document: Manifest) -> Iterator[str]:
    """Yield every fault of a RayJob or RayService; objects of other kinds have none."""
    if document["kind"] not in {"RayJob", "RayService"}:
        return
    yield from _name(document)
    yield from _labels(document)
    job = document["kind"] == "RayJob"
    spec = document["spec"]
    cluster = spec["rayClusterSpec"] if job else spec["rayClusterConfig"]
    if job:
        for check in JOB_CHECKS:
            yield from check(document)
    for check in CLUSTER_CHECKS:
        yield from check(cluster)
    templates = [cluster["headGroupSpec"]["template"], *(group["template"] for group in cluster["workerGroupSpecs"])]
    for template in [*templates, *([spec["submitterPodTemplate"]] if job else [])]:
        yield from _pod(template["spec"])


def _name(document: Manifest) -> Iterator[str]:
    name = document["metadata"]["name"]
    if len(name) > MAX_NAME:
        yield f"its name has {len(name)} characters, and KubeRay takes {MAX_NAME}"
    if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name):
        yield "its name must be lower-case letters, digits and '-', a letter first"


def _labels(document: Manifest) -> Iterator[str]:
    for key, value in document["metadata"].get("labels", {}).items():
        if len(value) > MAX_LABEL:
            yield f"{value} goes into the label {key} and has {len(value)} characters; Kubernetes takes {MAX_LABEL}"


def _submission(document: Manifest) -> Iterator[str]:
    spec = document["spec"]
    mode = spec.get("submissionMode", "K8sJobMode")
    if mode not in SUBMISSION_MODES:
        yield f"submissionMode {mode!r} is none of {', '.join(SUBMISSION_MODES)}; KubeRay would never submit the job"
    if spec["submitterPodTemplate"]["spec"].get("restartPolicy") not in {"Never", "OnFailure"}:
        yield "the pod that submits must have restartPolicy Never or OnFailure"
    if re.search(r"[;&|<>$`\"'\\*?()\n]", spec["entrypoint"]):
        yield "entrypoint goes into a shell script as it is; it must hold plain words only"


def _lifetime(document: Manifest) -> Iterator[str]:
    spec = document["spec"]
    shutdown = spec.get("shutdownAfterJobFinishes", False)
    rules = spec.get("deletionStrategy", {}).get("deletionRules", [])
    if rules and shutdown:
        yield "deletionRules and shutdownAfterJobFinishes exclude each other"
    if spec.get("ttlSecondsAfterFinished", 0) and not shutdown:
        yield "ttlSecondsAfterFinished needs shutdownAfterJobFinishes"
    if spec.get("suspend") and not shutdown:
        yield "a suspended job needs shutdownAfterJobFinishes"
    if spec["rayClusterSpec"].get("enableInTreeAutoscaling") and any(
        rule["policy"] == "DeleteWorkers" for rule in rules
    ):
        yield "deletion of workers does not go with autoscaling (cluster.min_workers); delete the cluster"


def _queue(document: Manifest) -> Iterator[str]:
    if KUEUE_LABEL not in document["metadata"].get("labels", {}):
        return
    spec = document["spec"]
    if not spec.get("suspend"):
        yield "a job for Kueue must be created with suspend: true, or it would not wait for admission"
    if spec["rayClusterSpec"].get("enableInTreeAutoscaling"):
        yield "Kueue admits a fixed size; autoscaling must be off"


def _dashboard(cluster: Manifest) -> Iterator[str]:
    ports = cluster["headGroupSpec"]["template"]["spec"]["containers"][0].get("ports", [])
    if "dashboard" not in {port.get("name") for port in ports}:
        yield "the head's first container has no port named dashboard; the job would stay in Initializing for ever"


def _token(cluster: Manifest) -> Iterator[str]:
    if cluster.get("authOptions", {}).get("mode") != "token":
        return
    version = tuple(int(part) for part in re.findall(r"\d+", cluster.get("rayVersion", ""))[:2])
    if version < TOKEN_SINCE:
        yield f"token authentication needs rayVersion 2.52 or later, got {cluster.get('rayVersion')!r}"


def _groups(cluster: Manifest) -> Iterator[str]:
    for group in cluster["workerGroupSpecs"]:
        least, now, most = group["minReplicas"], group["replicas"], group["maxReplicas"]
        if not least <= now <= most:
            yield f"group {group['groupName']}: replicas={now} is not between {least} and {most}"
        if most > INT32:
            yield f"group {group['groupName']}: {most} pods are more than KubeRay can count"
        if least != most and not cluster.get("enableInTreeAutoscaling"):
            yield f"group {group['groupName']}: a range of replicas needs enableInTreeAutoscaling"
        for key, value in group["rayStartParams"].items():
            if not isinstance(value, str):
                yield f"rayStartParams.{key} must be text"


def _variables(cluster: Manifest) -> Iterator[str]:
    for variable in cluster["headGroupSpec"]["template"]["spec"]["containers"][0].get("env", []):
        if variable["name"] in REFUSED_VARIABLES:
            yield f"KubeRay refuses a head with the variable {variable['name']}; remove it from kubernetes.env"


def _autoscaler(cluster: Manifest) -> Iterator[str]:
    if not cluster.get("enableInTreeAutoscaling"):
        return
    # KubeRay adds it to the head as a container, with rights and resources as they stand here.
    yield from _container({"name": "autoscaler", **cluster.get("autoscalerOptions", {})}, set())
    for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
        if group["template"]["spec"].get("restartPolicy", "Never") != "Never":
            yield "with autoscaling every pod must have restartPolicy Never"


Check = Callable[[Manifest], Iterator[str]]
JOB_CHECKS: tuple[Check, ...] = (_submission, _lifetime, _queue)
CLUSTER_CHECKS: tuple[Check, ...] = (_dashboard, _token, _groups, _variables, _autoscaler)


def _pod(pod: Manifest) -> Iterator[str]:
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        yield from _container(container, volumes)
    # In KubeRay's objects these are lists by key, in which the API server takes no key twice.
    for secret in _twice(one["name"] for one in pod.get("imagePullSecrets", [])):
        yield f"{secret} stands twice in kubernetes.image_pull_secrets; keep one"
    if pod.get("securityContext", {}).get("runAsNonRoot") is not True:
        yield "a pod does not ask for runAsNonRoot, which Pod Security restricted wants"
    if pod.get("securityContext", {}).get("runAsUser") == 0:
        yield "a pod runs as root"


def _container(container: Manifest, volumes: set[str]) -> Iterator[str]:
    name, amounts = container["name"], container.get("resources", {})
    if amounts.get("requests") != amounts.get("limits") or not {"cpu", "memory"} <= set(amounts.get("limits", {})):
        yield f"container {name}: requests must equal limits, with cpu and memory"
    security = container.get("securityContext", {})
    if (
        security.get("allowPrivilegeEscalation") is not False
        or security.get("capabilities", {}).get("drop") != ["ALL"]
        or security.get("seccompProfile", {}).get("type") != "RuntimeDefault"
    ):
        yield f"container {name} does not hold to Pod Security restricted"
    for mount in container.get("volumeMounts", []):
        if mount["name"] not in volumes:
            yield f"container {name} mounts {mount['name']}, which is no volume of its pod"
    yield from _repeated(container)
    for variable in container.get("env", []):
        if variable.get("value") and SECRET_NAME.search(variable["name"]):
            yield f"container {name}: {variable['name']} holds a secret in plain sight; use a secretKeyRef"


def _repeated(container: Manifest) -> Iterator[str]:
    name = container["name"]
    for path in _twice(mount["mountPath"] for mount in container.get("volumeMounts", [])):
        yield f"container {name}: two volumes at {path}; choose another path in kubernetes.volumes"
    for variable in _twice(one["name"] for one in container.get("env", [])):
        yield (
            f"container {name}: {variable} is set by Ringmaster; remove it from kubernetes.env (the MLflow server is "
            "kubernetes.mlflow_uri)"
        )


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]
