"""A valid job renders to objects that the API server and KubeRay take, or is refused by a line that says why."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import kubernetes_validate
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from configs.cluster import ClusterSpec
from configs.errors import SpecError
from configs.kubernetes import KubernetesSpec
from configs.load import load_spec
from deploy.manifests.checks import require_sound
from deploy.manifests.jobfiles import dump
from deploy.manifests.names import object_name
from deploy.manifests.rayjob import render_job

Manifest = dict[str, Any]
JOB = load_spec("digits", [])
REFUSED = re.compile(
    r"do not fill pods of kubernetes\.workers_per_pod|is less than the \d+ that \d+ rank|names no claim to write to|"
    r"deletion of workers does not go with autoscaling|two volumes at|is set by Ringmaster; remove it|"
    r"KubeRay refuses a head with the variable|stands twice in kubernetes\.image_pull_secrets|goes into the label|"
    r"more than KubeRay can count"
)
"""What a valid job may yet ask for in vain."""

KEYS = {
    "env": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "containers": "name",
    "volumeMounts": "mountPath",
}

names = st.sampled_from(["a", "ringmaster-s3", "a.b", "x" * 63, ".".join(["z" * 60] * 4)])
memories = st.from_regex(r"[1-9][0-9]{0,15}(\.[0-9]{1,2})?(G|Gi|Mi|Ti)", fullmatch=True)
label_values = st.from_regex(r"|[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", fullmatch=True)
keys = st.sampled_from(["gpu", "example.com/spot", "a" * 63])
numbers = st.integers(0, 100) | st.sampled_from([2**31 - 1, 2**31])
tolerations = st.fixed_dictionaries(
    {"key": keys},
    optional={"value": label_values, "effect": st.sampled_from(["NoSchedule", "PreferNoSchedule", "NoExecute"])},
)
pods = st.fixed_dictionaries(
    {},
    optional={
        "cpus": st.floats(1e-6, 200),
        "memory": memories,
        "shared_memory": memories,
        "node_selector": st.dictionaries(keys, label_values, max_size=2),
        "tolerations": st.lists(tolerations, max_size=2),
    },
)
volumes = st.fixed_dictionaries(
    {"claim": names, "path": st.sampled_from(["/mnt/a", "/mnt/b", "/dev/shm", "/opt/ringmaster/job"])},
    optional={"read_only": st.booleans()},
)
rules = st.fixed_dictionaries(
    {
        "after": st.sampled_from(["success", "failure"]),
        "delete": st.sampled_from(["cluster", "workers", "job"]),
        "wait_s": numbers,
    }
)
variables = st.sampled_from(
    ["A", "NCCL_DEBUG", "MLFLOW_TRACKING_URI", "RAY_JOB_STOP_WAIT_TIME_S", "RAY_REDIS_ADDRESS"]
)
WAITING: dict[str, st.SearchStrategy[Any]] = {
    "queue": names,
    "scheduler": st.sampled_from(["kueue", "volcano", "yunikorn"]),
    "priority_class": names,
}
ENDING: dict[str, st.SearchStrategy[Any]] = {
    "ttl_s": numbers,
    "deletion": st.lists(rules, max_size=3),
    "active_deadline_s": numbers,
    "start_deadline_s": numbers,
}
PODS: dict[str, st.SearchStrategy[Any]] = {
    "namespace": st.sampled_from(["a", "n" * 63]),
    "image": st.sampled_from(["registry.example.com:5000/a/b@sha256:abc", "train"]),
    "image_pull_policy": st.sampled_from(["Always", "Never"]),
    "image_pull_secrets": st.lists(names, max_size=2),
    "python": st.sampled_from(["/opt/venv/bin/python", "python3.11"]),
    "user_id": st.integers(1, 60000) | numbers,
    "service_account": names,
    "head": pods,
    "worker": pods,
    "workers_per_pod": st.integers(1, 3),
    "gpu_resource": st.sampled_from(["amd.com/gpu", "example.com/a.b-gpu", "example.com/-gpu"]),
}
SECRETS: dict[str, st.SearchStrategy[Any]] = {
    "env": st.dictionaries(variables, st.text(max_size=5), max_size=1),
    "env_from_secrets": st.lists(names, max_size=2),
    "mlflow_secret": st.none() | names,
    "token_auth": st.booleans(),
    "auth_secret": names,
    "code": st.sampled_from([{"by": "image"}, {"by": "runtime_env", "runtime_env": {"pip": ["a"]}}]),
}
part = {"volumes": st.just([{"claim": "jobs", "path": "/mnt/a"}]) | st.lists(volumes, max_size=3)}
kubernetes_sections = st.one_of(
    [st.fixed_dictionaries(part, optional=group) for group in (WAITING | ENDING, PODS, SECRETS | WAITING, ENDING)]
)
clusters = st.fixed_dictionaries(
    {"workers": st.sampled_from([1, 2, 4, 6, 6, 2**31])},
    optional={
        "min_workers": st.integers(1, 6),
        "cpus_per_worker": st.integers(1, 4),
        "gpus_per_worker": st.integers(0, 1),
    },
)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(kubernetes_sections, clusters, st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]*", fullmatch=True) | st.just("a" * 60))
def test_every_valid_job_renders_valid_manifests(
    crds: Callable[[Manifest], list[str]], kubernetes: Manifest, cluster: Manifest, name: str
) -> None:
    try:
        update = {"kubernetes": KubernetesSpec.model_validate(kubernetes), "cluster": ClusterSpec(**cluster)}
    except ValidationError:
        assume(False)
    try:
        job = render_job(JOB.model_copy(update=update), {"a/b.py": b"1"}, name=object_name(name))
    except SpecError as error:
        assert REFUSED.search(str(error)), error
        return
    kubernetes_validate.validate(job.config, "1.36", strict=True)
    assert crds(job.rayjob) == []
    assert [*broken_rules(job.rayjob["spec"]), *large_numbers(job.rayjob), *repeated_keys(job.rayjob)] == []
    require_sound(job.rayjob)
    spec = job.rayjob["spec"]["rayClusterSpec"]
    for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]:
        kubernetes_validate.validate({"apiVersion": "v1", "kind": "Pod", **group["template"]}, "1.36", strict=True)
    assert dump(job.rayjob).count("&id") == 0


def broken_rules(spec: Manifest) -> Iterator[str]:
    """What the rules in CEL of KubeRay's schemas say against a RayJob: those for fields that we render."""
    strategy = spec.get("deletionStrategy")
    if strategy is not None:
        legacy = {"onSuccess", "onFailure"} & strategy.keys()
        if legacy and "deletionRules" in strategy:
            yield "onSuccess and onFailure do not go with deletionRules"
        if len(legacy) < 2 and "deletionRules" not in strategy:
            yield "deletionStrategy has neither both of onSuccess and onFailure nor deletionRules"
        for rule in strategy.get("deletionRules", []):
            if len({"jobStatus", "jobDeploymentStatus"} & rule["condition"].keys()) != 1:
                yield "a condition has not exactly one of jobStatus and jobDeploymentStatus"
    if "managedBy" in spec or "managedBy" in spec["rayClusterSpec"]:
        yield "managedBy is not ours to set"


def large_numbers(tree: Any) -> Iterator[int]:
    """All that do not fit into 32 bits, as which KubeRay and Kubernetes read them."""
    if isinstance(tree, int) and tree >= 2**31:
        yield tree
    for child in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from large_numbers(child)


def repeated_keys(tree: Any) -> Iterator[str]:
    """Entries of lists that KubeRay's schemas make maps, of which the API server takes no key twice."""
    for name, child in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        if key := KEYS.get(name):
            found = [one[key] for one in child]
            yield from (f"{name}: {one}" for one in set(found) if found.count(one) > 1)
        yield from repeated_keys(child)
