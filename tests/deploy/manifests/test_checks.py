"""Each fault that no schema sees is named."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from configs.errors import SpecError
from configs.load import load_spec
from deploy.manifests.checks import faults, require_sound
from deploy.manifests.rayjob import render_job

Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def sound() -> Manifest:
    spec = load_spec("digits", ["kubernetes.volumes=[{claim: jobs, path: /mnt/ringmaster}]"])
    return render_job(spec, {}, name="digits").rayjob


def head(job: Manifest) -> Manifest:
    container: Manifest = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    return container


def worker(job: Manifest) -> Manifest:
    group: Manifest = job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    return group


def queued(job: Manifest) -> None:
    job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "q"


def rules(job: Manifest) -> None:
    job["spec"]["deletionStrategy"] = {"deletionRules": [{"policy": "DeleteSelf", "condition": {}}]}


def autoscaled(job: Manifest, **options: Any) -> None:
    restricted = {"securityContext": head(job)["securityContext"], "resources": head(job)["resources"]}
    job["spec"]["rayClusterSpec"].update(enableInTreeAutoscaling=True, autoscalerOptions=restricted | options)


def restarting(job: Manifest) -> None:
    autoscaled(job)
    worker(job)["template"]["spec"]["restartPolicy"] = "Always"


FAULTS: list[tuple[Callable[[Manifest], Any], str]] = [
    (lambda job: job["metadata"].update(name="a" * 48), "its name has 48 characters, and KubeRay takes 47"),
    (lambda job: job["metadata"].update(name="1a"), "a letter first"),
    (lambda job: head(job)["ports"].pop(1), "no port named dashboard; the job would stay in Initializing for ever"),
    (lambda job: job["spec"].update(submissionMode="NoSuchMode"), "KubeRay would never submit the job"),
    (lambda job: job["spec"].update(entrypoint="python a.py; rm -rf /"), "plain words only"),
    (lambda job: job["spec"]["submitterPodTemplate"]["spec"].pop("restartPolicy"), "restartPolicy Never or OnFailure"),
    (rules, "deletionRules and shutdownAfterJobFinishes exclude each other"),
    (lambda job: job["spec"].pop("shutdownAfterJobFinishes"), "ttlSecondsAfterFinished needs shutdown"),
    (queued, "must be created with suspend: true"),
    (lambda job: head(job)["resources"]["requests"].update(cpu="1"), "requests must equal limits"),
    (lambda job: head(job)["resources"].clear(), "requests must equal limits, with cpu and memory"),
    (lambda job: head(job).update(securityContext={}), "container ray-head does not hold to Pod Security restricted"),
    (lambda job: worker(job)["template"]["spec"]["securityContext"].clear(), "does not ask for runAsNonRoot"),
    (lambda job: worker(job)["template"]["spec"]["securityContext"].update(runAsUser=0), "a pod runs as root"),
    (lambda job: worker(job)["template"]["spec"]["volumes"].clear(), "which is no volume of its pod"),
    (lambda job: worker(job).update(replicas=9), "replicas=9 is not between 2 and 2"),
    (lambda job: worker(job).update(minReplicas=1), "a range of replicas needs enableInTreeAutoscaling"),
    (lambda job: worker(job)["rayStartParams"].update({"num-cpus": 1}), "rayStartParams.num-cpus must be text"),
    (lambda job: job["spec"]["rayClusterSpec"].update(rayVersion="2.51.9"), "needs rayVersion 2.52 or later"),
    (lambda job: autoscaled(job, securityContext={}), "container autoscaler does not hold to Pod Security restricted"),
    (lambda job: autoscaled(job, resources={}), "container autoscaler: requests must equal limits"),
    (restarting, "with autoscaling every pod must have restartPolicy Never"),
    (
        lambda job: job["metadata"]["labels"].update({"kueue.x-k8s.io/queue-name": "q" * 64}),
        "goes into the label kueue.x-k8s.io/queue-name and has 64 characters; Kubernetes takes 63",
    ),
    (
        lambda job: worker(job).update(replicas=2**31, minReplicas=2**31, maxReplicas=2**31),
        "2147483648 pods are more than KubeRay can count",
    ),
    (
        lambda job: head(job)["volumeMounts"].append({"name": "volume-0", "mountPath": "/dev/shm"}),
        "container ray-head: two volumes at /dev/shm; choose another path in kubernetes.volumes",
    ),
    (
        lambda job: head(job)["env"].append({"name": "MLFLOW_TRACKING_URI", "value": "http://other"}),
        "MLFLOW_TRACKING_URI is set by Ringmaster; remove it from kubernetes.env (the MLflow server is kubernetes.mlf",
    ),
    (
        lambda job: worker(job)["template"]["spec"].update(imagePullSecrets=[{"name": "a"}, {"name": "a"}]),
        "a stands twice in kubernetes.image_pull_secrets; keep one",
    ),
    (
        lambda job: head(job)["env"].append({"name": "RAY_REDIS_ADDRESS", "value": "redis:6379"}),
        "KubeRay refuses a head with the variable RAY_REDIS_ADDRESS; remove it from kubernetes.env",
    ),
    (
        lambda job: head(job)["env"].append({"name": "AWS_SECRET_ACCESS_KEY", "value": "x"}),
        "AWS_SECRET_ACCESS_KEY holds a secret in plain sight",
    ),
]


@pytest.mark.parametrize(("spoil", "expected"), FAULTS, ids=lambda value: str(value)[:40])
def test_a_fault_is_named(sound: Manifest, spoil: Callable[[Manifest], Any], expected: str) -> None:
    job = copy.deepcopy(sound)
    spoil(job)
    assert any(expected in fault for fault in faults(job)), list(faults(job))
    with pytest.raises(SpecError, match="RayJob "):
        require_sound(job)


def test_a_sound_job_has_none(sound: Manifest) -> None:
    assert list(faults(sound)) == []
    job = copy.deepcopy(sound)
    autoscaled(job)
    assert list(faults(job)) == []
