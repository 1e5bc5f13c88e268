"""A training job as a RayJob of KubeRay v1.7, with the ConfigMap that carries its YAML file and its Python files."""

from collections.abc import Mapping
from dataclasses import dataclass

from configs.errors import SpecError
from configs.job import JobSpec
from configs.kubernetes import DeletionRule, KubernetesSpec
from deploy.manifests.checks import require_sound
from deploy.manifests.jobfiles import config_map, dump, job_tree, require_portable, volume_items, within
from deploy.manifests.names import (
    CODE_FOLDER,
    JOB_FILE,
    WORKER_GROUP,
    image,
    labels,
    ray_version,
)
from deploy.manifests.pods import (
    CONTAINER_SECURITY,
    Group,
    Manifest,
    head_template,
    mlflow_environment,
    resources,
    submitter_template,
    worker_template,
)

DEFAULT_TTL_S = 60


@dataclass(frozen=True)
class RenderedJob:
    """The objects of one job, in the order in which they are created."""

    config: Manifest
    rayjob: Manifest

    @property
    def documents(self) -> list[Manifest]:
        return [self.config, self.rayjob]


def render_job(spec: JobSpec, files: Mapping[str, bytes], *, name: str) -> RenderedJob:
    """Return the objects of a job.

    files: path relative to the YAML file's folder -> content, of the Python files that travel in the ConfigMap.
    name: of the RayJob and all that belongs to it, at most 47 characters.
    Raises SpecError for what the pods could not do: read a file of this machine, share checkpoints, keep a secret.
    """
    kubernetes = spec.kubernetes or KubernetesSpec()
    tree = job_tree(spec)
    require_portable(spec, tree, kubernetes)
    marks = labels(spec.name, name, "training")
    carried = {**(files if kubernetes.code.by == "configmap" else {}), JOB_FILE: dump(tree).encode()}
    group = Group(
        kubernetes=kubernetes,
        image=image(kubernetes.image, "train-gpu" if spec.cluster.gpus_per_worker else "train-cpu"),
        labels=marks,
        environment=(
            mlflow_environment(spec.tracking.uri or kubernetes.mlflow_uri),
            *({"name": key, "value": value} for key, value in kubernetes.env.items()),
        ),
        code={"name": name} | ({"items": items} if (items := volume_items(carried)) else {}),
    )
    rendered = RenderedJob(
        config_map(name, kubernetes.namespace, marks, carried), _rayjob(spec, kubernetes, group, name)
    )
    for document in rendered.documents:
        require_sound(document)
    return rendered


def entrypoint(spec: JobSpec, kubernetes: KubernetesSpec, name: str) -> str:
    """The same command as everywhere. KubeRay puts it into a shell script unquoted, so it holds plain words only."""
    return " ".join(
        [
            *(kubernetes.python, "-m", "orchestrator", "train", f"{CODE_FOLDER}/{JOB_FILE}"),
            "cluster.address=auto",
            f"folder={job_folder(spec, kubernetes, name)}",
        ]
    )


def job_folder(spec: JobSpec, kubernetes: KubernetesSpec, name: str) -> str:
    """Where checkpoints and logs go: a folder that all pods share.

    Raises SpecError when no volume can hold it.
    """
    writable = [volume.path for volume in kubernetes.volumes if not volume.read_only]
    if not writable:
        raise SpecError(
            "kubernetes.volumes names no claim to write to, and the pods must share the checkpoints: add "
            "kubernetes.volumes with a ReadWriteMany claim, for example [{claim: jobs, path: /mnt/ringmaster}]"
        )
    if not spec.folder.is_absolute():
        return f"{writable[0]}/{name}"
    folder = str(spec.folder)
    if not any(within(folder, path) for path in writable):
        raise SpecError(
            f"folder={folder} is on none of the job's volumes ({', '.join(writable)}), so its pods would not share "
            "the checkpoints; leave folder out, or give a path below one of them"
        )
    if not all(character.isalnum() or character in "/._-" for character in folder):
        raise SpecError(
            f"folder={folder}: on Kubernetes its path may hold letters, digits, '/', '.', '_' and '-' only"
        )
    return folder


def pods_of(workers: int, kubernetes: KubernetesSpec) -> int:
    """How many pods hold so many ranks."""
    return -(-workers // kubernetes.workers_per_pod)


def _rayjob(spec: JobSpec, kubernetes: KubernetesSpec, group: Group, name: str) -> Manifest:
    elastic = _elastic(spec, kubernetes)
    cluster = ray_cluster(
        kubernetes,
        head=head_template(group, autoscaled=elastic),
        workers=_workers(spec, kubernetes, group),
        autoscaled=elastic,
    )
    body: Manifest = {
        "entrypoint": entrypoint(spec, kubernetes, name),
        "submissionMode": "K8sJobMode",
        # Retries are Ray Train's: KubeRay's would start a new cluster for a mistake in the user's code.
        "backoffLimit": 0,
        **_lifetime(kubernetes),
    }
    if kubernetes.code.runtime_env:
        body["runtimeEnvYAML"] = dump(kubernetes.code.runtime_env)
    body["submitterPodTemplate"] = submitter_template(group)
    body["rayClusterSpec"] = cluster
    metadata = {
        "name": name,
        "namespace": kubernetes.namespace,
        "labels": {**group.labels} | _scheduling(kubernetes, name),
        "annotations": {"ringmaster/mlflow-uri": spec.tracking.uri or kubernetes.mlflow_uri},
    }
    return {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": metadata, "spec": body}


def ray_cluster(kubernetes: KubernetesSpec, *, head: Manifest, workers: Manifest, autoscaled: bool) -> Manifest:
    """The cluster of a RayJob or RayService."""
    cluster: Manifest = {"rayVersion": ray_version()}
    if kubernetes.token_auth:
        own = {"secretName": kubernetes.auth_secret} if kubernetes.auth_secret else {}
        cluster["authOptions"] = {"mode": "token", **own}
    cluster["enableInTreeAutoscaling"] = autoscaled
    if autoscaled:
        cluster["autoscalerOptions"] = {
            "version": "v2",
            "idleTimeoutSeconds": kubernetes.idle_timeout_s,
            "imagePullPolicy": kubernetes.image_pull_policy,
            "resources": resources(0.5, "1Gi"),
            "securityContext": CONTAINER_SECURITY,
        }
    cluster["headGroupSpec"] = {
        # No CPUs: nothing that asks for one runs beside the driver.
        "rayStartParams": {"dashboard-host": "0.0.0.0", "num-cpus": "0"},  # noqa: S104 (inside the pod)
        "template": head,
    }
    cluster["workerGroupSpecs"] = [workers]
    return cluster


def _workers(spec: JobSpec, kubernetes: KubernetesSpec, group: Group) -> Manifest:
    cluster, each = spec.cluster, kubernetes.workers_per_pod
    if cluster.workers % each:
        raise SpecError(
            f"cluster.workers={cluster.workers} do not fill pods of kubernetes.workers_per_pod={each}; use a divisor"
        )
    cpus, gpus = cluster.cpus_per_worker * each, cluster.gpus_per_worker * each
    if kubernetes.worker.cpus is not None and kubernetes.worker.cpus < cpus:
        raise SpecError(
            f"kubernetes.worker.cpus={kubernetes.worker.cpus:g} is less than the {cpus} that {each} rank(s) of "
            f"cluster.cpus_per_worker={cluster.cpus_per_worker} use"
        )
    most = pods_of(cluster.workers, kubernetes)
    least = pods_of(cluster.least_workers, kubernetes) if _elastic(spec, kubernetes) else most
    return {
        "groupName": WORKER_GROUP,
        "replicas": least,
        "minReplicas": least,
        "maxReplicas": most,
        "rayStartParams": {"num-cpus": str(cpus), "num-gpus": str(gpus)},
        "template": worker_template(group, kubernetes.worker, cpus=cpus, gpus=gpus),
    }


def _elastic(spec: JobSpec, kubernetes: KubernetesSpec) -> bool:
    """Whether Ray's autoscaler adds and removes pods. Kueue admits a fixed size."""
    return spec.cluster.least_workers < spec.cluster.workers and not kubernetes.kueue


def _lifetime(kubernetes: KubernetesSpec) -> Manifest:
    """When the cluster ends, and what makes the job wait or fail before."""
    fields: Manifest = {}
    if kubernetes.deletion:
        fields["deletionStrategy"] = {
            "deletionRules": [rule for one in kubernetes.deletion for rule in _deletion(one)]
        }
    else:
        fields["shutdownAfterJobFinishes"] = True
        fields["ttlSecondsAfterFinished"] = DEFAULT_TTL_S if kubernetes.ttl_s is None else kubernetes.ttl_s
    if kubernetes.active_deadline_s:
        fields["activeDeadlineSeconds"] = kubernetes.active_deadline_s
    if kubernetes.start_deadline_s:
        fields["preRunningDeadlineSeconds"] = kubernetes.start_deadline_s
    if kubernetes.kueue:
        fields["suspend"] = True
    return fields


DELETE = {"cluster": "DeleteCluster", "workers": "DeleteWorkers", "job": "DeleteSelf"}


def _deletion(rule: DeletionRule) -> list[Manifest]:
    """A failure is seen in jobStatus, or only in jobDeploymentStatus when the job never reached Ray."""
    conditions = {
        "success": [{"jobStatus": "SUCCEEDED"}],
        "failure": [{"jobStatus": "FAILED"}, {"jobDeploymentStatus": "Failed"}],
    }[rule.after]
    return [
        {"condition": {**condition, "ttlSeconds": rule.wait_s}, "policy": DELETE[rule.delete]}
        for condition in conditions
    ]


def _scheduling(kubernetes: KubernetesSpec, name: str) -> dict[str, str]:
    """Labels by which a queue or a gang scheduler takes the job."""
    if kubernetes.kueue:
        return {"kueue.x-k8s.io/queue-name": str(kubernetes.queue)}
    if kubernetes.scheduler == "volcano":
        queue = {"volcano.sh/queue-name": kubernetes.queue} if kubernetes.queue else {}
        priority = {"ray.io/priority-class-name": kubernetes.priority_class} if kubernetes.priority_class else {}
        return {"ray.io/scheduler-name": "volcano"} | queue | priority
    if kubernetes.scheduler == "yunikorn":
        queue = {"yunikorn.apache.org/queue": kubernetes.queue} if kubernetes.queue else {}
        return {"ray.io/gang-scheduling-enabled": "true", "yunikorn.apache.org/app-id": name} | queue
    return {}
