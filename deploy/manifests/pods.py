"""Pod templates of a Ray cluster: head, workers, and the pod that submits the job.

All hold to the Pod Security standard `restricted`. Probes are left to KubeRay, which knows the ports.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from configs.kubernetes import KubernetesSpec, PodSpec, VolumeSpec
from deploy.manifests.names import CODE_FOLDER, HEAD_CONTAINER, JOB_FILE, SUBMITTER_CONTAINER, WORKER_CONTAINER

Manifest = dict[str, Any]

HEAD_CPUS = 2.0
STOP_S = 60
"""How long a job that is stopped may take to close its MLflow run."""
GRACE_S = STOP_S + 30
"""How long the head's pod may take to end: first the job, then Ray."""
HEAD_PORTS = {"gcs-server": 6379, "dashboard": 8265, "client": 10001, "metrics": 8080}
"""KubeRay finds the dashboard by the name of its port: without it a RayJob would wait for ever."""
WORKER_PORTS = {"metrics": 8080}
SERVE_PORT = {"serve": 8000}
SHARED_MEMORY = "shared-memory"
CODE = "job"

CONTAINER_SECURITY: Manifest = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass(frozen=True)
class Group:
    """What the pods of one kind have in common, worked out from the job or the service."""

    kubernetes: KubernetesSpec
    image: str
    labels: Mapping[str, str]
    environment: tuple[Manifest, ...]
    """Entries of `env`."""
    code: Manifest | None = None
    """The ConfigMap with the job's files, as a volume names it."""


def head_template(group: Group, *, serving: bool = False, autoscaled: bool = False) -> Manifest:
    """The pod of Ray's head, which runs the driver of a job."""
    spec = group.kubernetes.head
    container = _container(
        HEAD_CONTAINER, group, spec, HEAD_PORTS | (SERVE_PORT if serving else {}), cpus=spec.cpus or HEAD_CPUS
    )
    container["env"] = [*group.environment, *_login(group.kubernetes)]
    # The autoscaler, which KubeRay adds as a container, asks the API server for pods.
    template = _template(group, spec, container, token=autoscaled)
    if not serving:
        _let_driver_end(group.kubernetes, container, template["spec"])
    return template


def _let_driver_end(kubernetes: KubernetesSpec, container: Manifest, pod: Manifest) -> None:
    """Give the driver time to close its MLflow run, whoever deletes the pod: KubeRay, Kueue or a drained node."""
    # Ray's own patience with a job that it was told to stop, which KubeRay does before it deletes a cluster, is 3 s.
    container["env"].append({"name": "RAY_JOB_STOP_WAIT_TIME_S", "value": str(STOP_S)})
    hook = [kubernetes.python, "-m", "orchestrator.submit.stop_driver", f"{CODE_FOLDER}/{JOB_FILE}", str(STOP_S)]
    container["lifecycle"] = {"preStop": {"exec": {"command": hook}}}
    pod["terminationGracePeriodSeconds"] = GRACE_S


def worker_template(group: Group, spec: PodSpec, *, cpus: float, gpus: int = 0, serving: bool = False) -> Manifest:
    """A pod of Ray workers."""
    container = _container(
        WORKER_CONTAINER, group, spec, WORKER_PORTS | (SERVE_PORT if serving else {}), cpus=spec.cpus or cpus
    )
    # A training worker says nothing to MLflow; a serving one fetches the model from it.
    container["env"] = [*group.environment, *(_login(group.kubernetes) if serving else ())]
    if gpus:
        for amounts in container["resources"].values():
            amounts[group.kubernetes.gpu_resource] = str(gpus)
    return _template(group, spec, container)


def submitter_template(group: Group) -> Manifest:
    """The pod that hands the job to Ray; KubeRay fills in its command and the token."""
    container = {
        "name": SUBMITTER_CONTAINER,
        "image": group.image,
        "imagePullPolicy": group.kubernetes.image_pull_policy,
        "resources": resources(0.5, "1Gi"),
        "securityContext": CONTAINER_SECURITY,
    }
    template = _template(group, PodSpec(), container)
    del template["spec"]["volumes"]
    return template


def resources(cpus: float, memory: str) -> Manifest:
    """Requests that equal the limits: the pod is the last to be evicted, and what was measured holds."""
    amounts = {"cpu": quantity(cpus), "memory": memory}
    return {"requests": dict(amounts), "limits": dict(amounts)}


def quantity(cpus: float) -> str:
    """0.5 -> "500m", 2.0 -> "2"."""
    return str(int(cpus)) if cpus == int(cpus) else f"{max(1, round(cpus * 1000))}m"


def mlflow_environment(uri: str) -> Manifest:
    """Where the MLflow server is."""
    return {"name": "MLFLOW_TRACKING_URI", "value": uri}


def _login(kubernetes: KubernetesSpec) -> list[Manifest]:
    """User and password of the MLflow server, by reference to a secret."""
    if kubernetes.mlflow_secret is None:
        return []
    return [
        {
            "name": f"MLFLOW_TRACKING_{key.upper()}",
            "valueFrom": {"secretKeyRef": {"name": kubernetes.mlflow_secret, "key": key}},
        }
        for key in ("username", "password")
    ]


def _container(name: str, group: Group, spec: PodSpec, ports: Mapping[str, int], *, cpus: float) -> Manifest:
    kubernetes = group.kubernetes
    mounts: list[Manifest] = [{"name": SHARED_MEMORY, "mountPath": "/dev/shm"}]  # noqa: S108 (a mount point)
    if group.code:
        mounts.append({"name": CODE, "mountPath": CODE_FOLDER, "readOnly": True})
    mounts += [_mount(index, volume) for index, volume in enumerate(kubernetes.volumes)]
    container: Manifest = {
        "name": name,
        "image": group.image,
        "imagePullPolicy": kubernetes.image_pull_policy,
        "ports": [{"name": port, "containerPort": number} for port, number in ports.items()],
        "resources": resources(cpus, spec.memory),
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": mounts,
    }
    if kubernetes.env_from_secrets:
        container["envFrom"] = [{"secretRef": {"name": secret}} for secret in kubernetes.env_from_secrets]
    return container


def _template(group: Group, spec: PodSpec, container: Manifest, *, token: bool = False) -> Manifest:
    kubernetes = group.kubernetes
    volumes: list[Manifest] = [
        {"name": SHARED_MEMORY, "emptyDir": {"medium": "Memory", "sizeLimit": spec.shared}},
    ]
    if group.code:
        volumes.append({"name": CODE, "configMap": group.code})
    volumes += [_volume(index, volume) for index, volume in enumerate(kubernetes.volumes)]
    pod: Manifest = {
        "serviceAccountName": kubernetes.service_account,
        "automountServiceAccountToken": token,
        # Or every service of the namespace would add variables; that of MLflow is called MLFLOW_PORT.
        "enableServiceLinks": False,
        # KubeRay makes a new pod for one that failed; a container that came back would be another Ray node.
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": kubernetes.user_id,
            "runAsGroup": kubernetes.user_id,
            "fsGroup": kubernetes.user_id,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
    }
    if kubernetes.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in kubernetes.image_pull_secrets]
    if kubernetes.priority_class:
        pod["priorityClassName"] = kubernetes.priority_class
    if spec.node_selector:
        pod["nodeSelector"] = dict(spec.node_selector)
    if spec.tolerations:
        pod["tolerations"] = [
            {"key": one.key, "operator": "Exists" if one.value is None else "Equal"}
            | ({} if one.value is None else {"value": one.value})
            | ({"effect": one.effect} if one.effect else {})
            for one in spec.tolerations
        ]
    return {"metadata": {"labels": dict(group.labels)}, "spec": pod}


def _volume(index: int, volume: VolumeSpec) -> Manifest:
    claim: Manifest = {"claimName": volume.claim}
    return {
        "name": f"volume-{index}",
        "persistentVolumeClaim": claim | ({"readOnly": True} if volume.read_only else {}),
    }


def _mount(index: int, volume: VolumeSpec) -> Manifest:
    mount: Manifest = {"name": f"volume-{index}", "mountPath": volume.path}
    return mount | ({"readOnly": True} if volume.read_only else {})
