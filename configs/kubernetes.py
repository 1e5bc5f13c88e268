"""`KubernetesSpec`: what a job asks of a Kubernetes cluster, where KubeRay turns it into pods.

Names of secrets stand here, never secrets: a value that looks like one is refused.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from configs.secrets import require_no_secret
from configs.spec import Spec

UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
UNITS |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def _matches(pattern: str, words: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"expected {words}")
        return text

    return AfterValidator(check)


def memory_bytes(quantity: str) -> int:
    """Return the bytes of a Kubernetes quantity: "4Gi" -> 4294967296."""
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", quantity).groups()  # type: ignore[union-attr]
    return int(float(number) * UNITS[unit])


INT32 = 2**31 - 1
"""The largest number that Kubernetes and KubeRay read."""
Seconds = Annotated[NonNegativeInt, Field(le=INT32)]
SomeSeconds = Annotated[PositiveInt, Field(le=INT32)]
DNS = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
Label = Annotated[str, _matches(rf"(?=.{{1,63}}$){DNS}", "lower-case letters, digits and '-', at most 63")]
Subdomain = Annotated[
    str, _matches(rf"(?=.{{1,253}}$){DNS}(\.{DNS})*", "lower-case letters, digits, '-' and '.', at most 253")
]
Memory = Annotated[
    str, _matches(r"[1-9][0-9]{0,14}(\.[0-9]{1,9})?(k|M|G|T|Ki|Mi|Gi|Ti)", "an amount of memory such as 512Mi or 4Gi")
]
Mount = Annotated[
    str,
    _matches(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+", "a path such as /mnt/data, of letters, digits, '.', '_' and '-'"),
]
Variable = Annotated[str, _matches(r"[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable")]
LabelKey = Annotated[
    str,
    _matches(
        rf"((?=[^/]{{1,253}}/){DNS}(\.{DNS})*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?",
        "a label, such as disk or example.com/disk",
    ),
]
LabelValue = Annotated[
    str,
    _matches(r"|[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", "at most 63 letters, digits, '-', '_' and '.'"),
]
Image = Annotated[str, _matches(r"[a-zA-Z0-9][^\s]*", "the name of an image, such as registry.example.com/train:1")]


class TolerationSpec(Spec):
    """Lets pods onto nodes that others are kept off by a taint."""

    key: LabelKey
    value: LabelValue | None = None
    """The value of the taint; left out, any value."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The effect of the taint; left out, all of them."""


class PodSpec(Spec):
    """The pods of one kind. Requests equal limits, so what is asked for is there and nothing more is used."""

    cpus: PositiveFloat | None = None
    """CPUs of a pod; by default 2 for the head, and for a worker what its ranks use."""
    memory: Memory = "4Gi"
    """Memory of a pod; the object store in shared memory counts."""
    shared_memory: Memory | None = None
    """Size limit of /dev/shm, which holds Ray's object store and NCCL's buffers; by default half of `memory`."""
    node_selector: dict[LabelKey, LabelValue] = {}
    """Labels that a node must have."""
    tolerations: tuple[TolerationSpec, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> "PodSpec":
        if memory_bytes(self.memory) < 2**30:
            raise ValueError(f"memory={self.memory}: Ray and TensorFlow need at least 1Gi")
        if self.shared_memory and memory_bytes(self.shared_memory) > memory_bytes(self.memory):
            raise ValueError(
                f"shared_memory={self.shared_memory} is more than memory={self.memory}, of which it is a part"
            )
        return self

    @property
    def shared(self) -> str:
        """Size of /dev/shm as a quantity."""
        return self.shared_memory or f"{memory_bytes(self.memory) // 2 // 2**20}Mi"


class VolumeSpec(Spec):
    """A PersistentVolumeClaim that exists, mounted in every pod of the job."""

    claim: Subdomain
    path: Mount
    """Where it is mounted."""
    read_only: bool = False


class CodeSpec(Spec):
    """How the job's own Python files reach the pods."""

    by: Literal["configmap", "image", "runtime_env"] = "configmap"
    """configmap: the files beside the YAML file, up to 1 MiB; image: they are in the image already; runtime_env: Ray
    fetches them."""
    runtime_env: dict[str, Any] = {}
    """Ray's runtime environment, for example {working_dir: "s3://bucket/code.zip"}."""

    @model_validator(mode="after")
    def _matches(self) -> "CodeSpec":
        if (self.by == "runtime_env") != bool(self.runtime_env):
            raise ValueError("runtime_env goes with by: runtime_env; give both or neither")
        return self


class DeletionRule(Spec):
    """What KubeRay removes, how long after the end of the job."""

    after: Literal["success", "failure"]
    """failure also covers a job that was never submitted or ran out of time."""
    delete: Literal["cluster", "workers", "job"]
    """job: the RayJob itself, and all that belongs to it."""
    wait_s: Seconds = 0


DELETION_ORDER = ("workers", "cluster", "job")


class ServingPodsSpec(Spec):
    """The pods that answer, for `ringmaster deploy --to kuberay`."""

    min_replicas: PositiveInt = 1
    max_replicas: PositiveInt = 1
    """More than min_replicas: Serve adds replicas under load, and KubeRay the pods they need."""
    target_requests: PositiveFloat = 8.0
    """Requests in flight per replica that autoscaling aims at."""
    pod: PodSpec = PodSpec()

    @model_validator(mode="after")
    def _ordered(self) -> "ServingPodsSpec":
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas={self.min_replicas} is more than max_replicas={self.max_replicas}")
        return self


class KubernetesSpec(Spec):
    """Where and how pods run, for `--to kuberay`."""

    namespace: Label = "ringmaster"
    context: str | None = None
    """Context of the kubeconfig file; by default its current one."""
    image: Image | None = None
    """Image of the training pods; by default ringmaster-train-cpu or -gpu of this version."""
    serve_image: Image | None = None
    """Image of the serving pods; by default ringmaster-serve of this version."""
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    image_pull_secrets: tuple[Subdomain, ...] = ()
    python: Annotated[str, _matches(r"[A-Za-z0-9_./-]+", "the path of an interpreter, without blanks")] = "python"
    """The interpreter of the image that has the packages."""
    user_id: Annotated[PositiveInt, Field(le=INT32)] = 1000
    """User and group that the pods run as; volumes are made writable for that group."""
    service_account: Subdomain = "ringmaster-job"
    head: PodSpec = PodSpec()
    worker: PodSpec = PodSpec()
    workers_per_pod: PositiveInt = 1
    """Horovod ranks that share a pod; 8 to fill a node of 8 GPUs."""
    gpu_resource: Annotated[
        str,
        _matches(
            rf"{DNS}(\.{DNS})*/([a-z0-9][a-z0-9.-]*)?gpu",
            "the name of a resource that ends in gpu, such as nvidia.com/gpu",
        ),
    ] = "nvidia.com/gpu"
    """KubeRay counts a resource as GPUs when its name ends in gpu."""
    queue: Subdomain | None = None
    """A LocalQueue of Kueue (the job starts when it is admitted), or the queue of `scheduler`."""
    scheduler: Literal["kueue", "volcano", "yunikorn"] | None = None
    """Starts all pods or none. volcano and yunikorn must be set up in KubeRay's operator; kueue goes with `queue`."""
    priority_class: Subdomain | None = None
    """A job of higher priority may take the nodes of this one, which goes on from its last checkpoint."""
    ttl_s: Seconds | None = None
    """How long the Ray cluster stays after the job; by default 60. Excludes `deletion`."""
    deletion: tuple[DeletionRule, ...] = ()
    """Finer rules than ttl_s."""
    active_deadline_s: SomeSeconds | None = None
    """The job fails when it takes longer, waiting for nodes included."""
    start_deadline_s: SomeSeconds | None = None
    """The job fails when it does not run after this time."""
    env: dict[Variable, str] = {}
    """Variables of all pods, in plain sight: no secrets."""
    env_from_secrets: tuple[Subdomain, ...] = ()
    """Secrets whose keys become variables of all pods, such as ringmaster-s3."""
    mlflow_uri: str = "http://mlflow:5000"
    """The MLflow server as the pods see it, unless tracking.uri is given."""
    mlflow_secret: Subdomain | None = "ringmaster-mlflow"
    """The secret whose keys username and password log in to MLflow; null for a server without a password."""
    volumes: tuple[VolumeSpec, ...] = ()
    """Claims for data and for the job's folder, where checkpoints go: all pods write to it, so ReadWriteMany."""
    code: CodeSpec = CodeSpec()
    token_auth: bool = True
    """Ray's ports ask for a token, which KubeRay makes and keeps in a secret."""
    auth_secret: Subdomain | None = None
    """A secret of your own that holds the token under the key auth_token."""
    idle_timeout_s: SomeSeconds = 60
    """An elastic job or a service gives back a pod that was idle this long."""
    serve: ServingPodsSpec = ServingPodsSpec()

    @model_validator(mode="after")
    def _one_way_to_delete(self) -> "KubernetesSpec":
        if self.deletion and self.ttl_s is not None:
            raise ValueError("ttl_s and deletion exclude each other; KubeRay takes one of them")
        for outcome in ("success", "failure"):
            rules = [rule for rule in self.deletion if rule.after == outcome]
            order = sorted(rules, key=lambda rule: DELETION_ORDER.index(rule.delete))
            if len({rule.delete for rule in rules}) < len(rules):
                raise ValueError(f"deletion: two rules delete the same after {outcome}; keep one")
            if [rule.wait_s for rule in order] != sorted(rule.wait_s for rule in rules):
                raise ValueError(f"deletion after {outcome}: workers may not outlive the cluster, nor it the job")
        return self

    @model_validator(mode="after")
    def _one_way_to_queue(self) -> "KubernetesSpec":
        if self.scheduler == "kueue" and self.queue is None:
            raise ValueError("scheduler: kueue needs queue, the name of a LocalQueue")
        if self.kueue and self.deletion:
            raise ValueError(
                "Kueue admits only jobs that end their cluster at once (shutdownAfterJobFinishes), which deletion "
                "replaces; use ttl_s"
            )
        if self.auth_secret and not self.token_auth:
            raise ValueError("auth_secret goes with token_auth: true")
        paths = [volume.path for volume in self.volumes]
        if len(set(paths)) < len(paths):
            raise ValueError("volumes: two of them have the same path")
        return self

    @model_validator(mode="after")
    def _no_secret(self) -> "KubernetesSpec":
        require_no_secret(
            {"env": self.env, "mlflow_uri": self.mlflow_uri, "code": self.code.runtime_env}, where="kubernetes"
        )
        return self

    @property
    def kueue(self) -> bool:
        """Whether Kueue decides when the job starts."""
        return self.queue is not None and self.scheduler in {None, "kueue"}
