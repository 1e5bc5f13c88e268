"""What a job asks for, and what is refused before any cluster is touched."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import SpecError
from configs.job import JobSpec
from configs.kubernetes import memory_bytes
from configs.load import load_spec
from deploy.manifests.checks import faults
from deploy.manifests.jobfiles import CONFIGMAP_LIMIT, config_map, volume_items
from deploy.manifests.names import MAX_NAME, object_name
from deploy.manifests.rayjob import RenderedJob, render_job

Manifest = dict[str, Any]
VOLUME = "kubernetes.volumes=[{claim: jobs, path: /mnt/ringmaster}]"


def digits(*overrides: str) -> JobSpec:
    return load_spec("digits", [VOLUME, *overrides])


def rendered(*overrides: str, files: dict[str, bytes] | None = None) -> RenderedJob:
    return render_job(digits(*overrides), files or {}, name="digits")


def cluster_of(job: RenderedJob) -> Manifest:
    cluster: Manifest = job.rayjob["spec"]["rayClusterSpec"]
    return cluster


def test_the_head_has_what_kuberay_looks_for() -> None:
    head = cluster_of(rendered())["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert {port["name"]: port["containerPort"] for port in head["ports"]} == {
        "gcs-server": 6379,
        "dashboard": 8265,
        "client": 10001,
        "metrics": 8080,
    }
    assert "livenessProbe" not in head, "KubeRay adds the probes"


def test_the_same_command_as_everywhere() -> None:
    spec = rendered("kubernetes.python=/opt/venv/bin/python").rayjob["spec"]
    assert spec["entrypoint"] == (
        "/opt/venv/bin/python -m orchestrator train /opt/ringmaster/job/job.yaml cluster.address=auto "
        "folder=/mnt/ringmaster/digits"
    )
    assert (spec["submissionMode"], spec["backoffLimit"]) == ("K8sJobMode", 0)


def test_passwords_come_from_secrets_and_only_where_they_are_used() -> None:
    cluster = cluster_of(rendered("kubernetes.env_from_secrets=[ringmaster-s3]"))
    head = cluster["headGroupSpec"]["template"]["spec"]["containers"][0]
    worker = cluster["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]
    secret = {"name": "ringmaster-mlflow", "key": "password"}
    assert {"name": "MLFLOW_TRACKING_PASSWORD", "valueFrom": {"secretKeyRef": secret}} in head["env"]
    assert [one["name"] for one in worker["env"]] == ["MLFLOW_TRACKING_URI"]
    assert head["envFrom"] == worker["envFrom"] == [{"secretRef": {"name": "ringmaster-s3"}}]


def test_a_server_without_a_password() -> None:
    head = cluster_of(rendered("kubernetes.mlflow_secret=null"))["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert [one["name"] for one in head["env"]] == ["MLFLOW_TRACKING_URI", "RAY_JOB_STOP_WAIT_TIME_S"]


def test_an_elastic_job_is_scaled_by_ray() -> None:
    cluster = cluster_of(rendered("cluster.workers=6", "cluster.min_workers=2"))
    group = cluster["workerGroupSpecs"][0]
    assert (group["minReplicas"], group["replicas"], group["maxReplicas"]) == (2, 2, 6)
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["autoscalerOptions"]["version"] == "v2"
    pod = cluster["headGroupSpec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is True, "the autoscaler asks the API server"
    assert group["template"]["spec"]["automountServiceAccountToken"] is False


def test_kueue_gets_a_suspended_job_of_fixed_size() -> None:
    job = rendered("cluster.workers=6", "cluster.min_workers=2", "kubernetes.queue=gpus").rayjob
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    assert job["spec"]["suspend"] is True
    assert job["spec"]["rayClusterSpec"]["enableInTreeAutoscaling"] is False
    assert job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["replicas"] == 6


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["kubernetes.scheduler=volcano"], {"ray.io/scheduler-name": "volcano"}),
        (
            ["kubernetes.scheduler=volcano", "kubernetes.queue=a", "kubernetes.priority_class=low"],
            {
                "ray.io/scheduler-name": "volcano",
                "volcano.sh/queue-name": "a",
                "ray.io/priority-class-name": "low",
            },
        ),
        (
            ["kubernetes.scheduler=yunikorn", "kubernetes.queue=root.a"],
            {
                "ray.io/gang-scheduling-enabled": "true",
                "yunikorn.apache.org/app-id": "digits",
                "yunikorn.apache.org/queue": "root.a",
            },
        ),
    ],
)
def test_gang_schedulers_go_by_labels(overrides: list[str], expected: dict[str, str]) -> None:
    job = rendered(*overrides).rayjob
    plain = rendered().rayjob["metadata"]["labels"]
    assert job["metadata"]["labels"] == plain | expected
    assert "suspend" not in job["spec"]


def test_deletion_rules_replace_the_time_to_live() -> None:
    rules = "[{after: success, delete: cluster}, {after: failure, delete: job, wait_s: 60}]"
    spec = rendered(f"kubernetes.deletion={rules}").rayjob["spec"]
    assert "shutdownAfterJobFinishes" not in spec and "ttlSecondsAfterFinished" not in spec
    assert spec["deletionStrategy"]["deletionRules"] == [
        {"condition": {"jobStatus": "SUCCEEDED", "ttlSeconds": 0}, "policy": "DeleteCluster"},
        {"condition": {"jobStatus": "FAILED", "ttlSeconds": 60}, "policy": "DeleteSelf"},
        {"condition": {"jobDeploymentStatus": "Failed", "ttlSeconds": 60}, "policy": "DeleteSelf"},
    ]


def test_a_gpu_is_counted_per_rank() -> None:
    overrides = ["cluster.workers=4", "cluster.gpus_per_worker=1", "cluster.cpus_per_worker=3"]
    group = cluster_of(rendered(*overrides, "kubernetes.workers_per_pod=2"))["workerGroupSpecs"][0]
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "6", "memory": "4Gi", "nvidia.com/gpu": "2"}
    assert (group["replicas"], group["rayStartParams"]) == (2, {"num-cpus": "6", "num-gpus": "2"})


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["kubernetes.volumes=[]"], "kubernetes.volumes names no claim to write to"),
        (["kubernetes.volumes=[{claim: a, path: /a, read_only: true}]"], "names no claim to write to"),
        (["folder=/data/runs"], "folder=/data/runs is on none of the job's volumes (/mnt/ringmaster)"),
        (["folder=/mnt/ringmaster/my runs"], "its path may hold letters, digits"),
        (["cluster.workers=3", "kubernetes.workers_per_pod=2"], "cluster.workers=3 do not fill pods"),
        (["cluster.cpus_per_worker=4", "kubernetes.worker.cpus=2"], "kubernetes.worker.cpus=2 is less than the 4"),
        (["tracking.uri=sqlite:///x.db"], "pods reach an MLflow server by http:// or https:// only"),
        (["tracking.uri=https://me:hunter2@mlflow.example.com"], "tracking.uri holds a password"),
        (
            ["cluster.workers=4", "cluster.min_workers=2", "kubernetes.deletion=[{after: success, delete: workers}]"],
            "RayJob digits: deletion of workers does not go with autoscaling",
        ),
    ],
)
def test_what_pods_cannot_do_is_found_before(overrides: list[str], expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        rendered(*overrides)
    assert expected in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("train.csv", False),
        ("/home/me/train.csv", False),
        ("/mnt/ringmaster/train.csv", True),
        ("/mnt/ringmasterly/train.csv", False),
    ],
)
def test_data_of_this_machine_do_not_travel(small_job: Callable[..., JobSpec], path: str, allowed: bool) -> None:
    spec = small_job(f"data.csv={path}", VOLUME)
    if allowed:
        assert render_job(spec, {}, name="small")
        return
    with pytest.raises(SpecError, match="is on this machine, and data do not travel with a job"):
        render_job(spec, {}, name="small")


def test_files_keep_their_folders() -> None:
    files = {"a.py": b"1\n", "pkg/__init__.py": b"", "pkg/b__c.py": b"2\n", "pkg/table.bin": b"\xff\x00"}
    job = rendered(files=files)
    template = cluster_of(job)["workerGroupSpecs"][0]["template"]["spec"]
    volume = next(one["configMap"] for one in template["volumes"] if "configMap" in one)
    contents = {**job.config["data"], **job.config["binaryData"]}
    assert {item["path"] for item in volume["items"]} == {*files, "job.yaml"}
    assert {item["key"] for item in volume["items"]} == set(contents)
    assert len(set(contents)) == 5
    assert job.config["immutable"] is True


def test_the_jobs_own_yaml_is_not_replaced_by_a_file() -> None:
    assert "name: digits" in rendered(files={"job.yaml": b"name: other"}).config["data"]["job.yaml"]


def test_files_beyond_a_configmap() -> None:
    with pytest.raises(SpecError) as caught:
        rendered(files={"small.py": b"1", "big.py": b"#" * CONFIGMAP_LIMIT})
    assert "the job's files are 1.0 MiB, and a ConfigMap holds 1 MiB (the largest is big.py)" in str(caught.value)
    assert "kubernetes.code.by to image or runtime_env" in str(caught.value)


def test_code_in_the_image_leaves_files_at_home() -> None:
    job = rendered("kubernetes.code.by=image", files={"mymodel.py": b"x" * CONFIGMAP_LIMIT})
    assert set(job.config["data"]) == {"job.yaml"}


def test_overrides_are_written_into_the_file_not_onto_the_command() -> None:
    job = rendered("train.epochs=3", "name=it's $HOME; rm -rf *".replace("'s $HOME; rm -rf *", "s"))
    assert "epochs: 3" in job.config["data"]["job.yaml"]
    assert "epochs" not in job.rayjob["spec"]["entrypoint"]


@pytest.mark.parametrize(
    ("name", "suffix", "expected"),
    [
        ("titanic", "", "titanic"),
        ("My_Job.v2", "x7k2p", "my-job-v2-x7k2p"),
        ("2nd", "", "job-2nd"),
        ("a" * 60, "", "a" * 47),
        ("a" * 40 + "-" * 5 + "b", "abcde", "a" * 40 + "-abcde"),
        ("...", "", "job"),
    ],
)
def test_names(name: str, suffix: str, expected: str) -> None:
    assert object_name(name, suffix) == expected.rstrip("-")


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]*", fullmatch=True), st.sampled_from(["", "ab3de"]))
def test_every_name_is_one_that_kuberay_takes(name: str, suffix: str) -> None:
    found = object_name(name, suffix)
    document = {"kind": "RayJob", "metadata": {"name": found}}
    assert len(found) <= MAX_NAME and found.endswith(suffix)
    assert list(faults({**document, "kind": "Other"})) == []
    assert found[0].isalpha() and found == found.lower().strip("-")


def test_the_driver_has_time_to_close_its_run_when_the_head_is_deleted() -> None:
    pod = cluster_of(rendered("kubernetes.python=/opt/venv/bin/python"))["headGroupSpec"]["template"]["spec"]
    head = pod["containers"][0]
    command = head["lifecycle"]["preStop"]["exec"]["command"]
    assert command == [
        *("/opt/venv/bin/python", "-m", "orchestrator.submit.stop_driver"),
        *("/opt/ringmaster/job/job.yaml", "60"),
    ]
    assert pod["terminationGracePeriodSeconds"] == 90
    assert {"name": "RAY_JOB_STOP_WAIT_TIME_S", "value": "60"} in head["env"], "Ray kills a job after 3 s"
    assert command[3] in rendered().rayjob["spec"]["entrypoint"].split(), "by which the hook knows the driver"


def test_shared_memory_is_a_part_of_memory() -> None:
    group = cluster_of(rendered("kubernetes.worker.memory=6Gi"))["workerGroupSpecs"][0]
    volume = next(one for one in group["template"]["spec"]["volumes"] if "emptyDir" in one)
    assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": "3072Mi"}
    assert memory_bytes("3072Mi") * 2 == memory_bytes("6Gi")


def test_a_flat_configmap_needs_no_list_of_files() -> None:
    assert volume_items(["a.py", "job.yaml"]) == []
    assert config_map("a", "b", {}, {"a.py": b"1"})["data"] == {"a.py": "1"}
