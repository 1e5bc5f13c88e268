"""The verbs of a target, on an API server that speaks HTTP."""

import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from configs.errors import ClusterError, SpecError
from configs.kubernetes import KubernetesSpec
from configs.load import load_spec
from orchestrator.submit.kuberay_target import KubeRayTarget, rayjob_name
from orchestrator.submit.target import JobStatus, Submission, Target, wait

Manifest = dict[str, Any]
VOLUMES = [{"claim": "jobs", "path": "/mnt/ringmaster"}]
PAGE = "https://mlflow.example.com/#/experiments/3/runs/0123456789abcdef0123456789abcdef"
CREATED = datetime(2026, 1, 1, tzinfo=UTC)


def target(**settings: Any) -> KubeRayTarget:
    return KubeRayTarget(KubernetesSpec.model_validate({"volumes": VOLUMES, **settings}))


def job(id: str = "digits-1", *overrides: str) -> Submission:
    return Submission(id, load_spec("digits", list(overrides)), {"blocks.py": b"# blocks\n"})


def prints(cluster: Any, id: str, *lines: str, phase: str = "Running") -> None:
    """The pod that follows the job's output shows these lines."""
    cluster.put(
        "pods",
        {
            "metadata": {"name": f"{id}-s1", "labels": {"ringmaster/id": id}},
            "spec": {"containers": [{"name": "ray-job-submitter"}]},
            "status": {"phase": phase},
        },
    )
    cluster.logs[f"{id}-s1"] = [f"2026-01-01T00:00:00.{number}Z {line}" for number, line in enumerate(lines, 1)]


def message(action: Any) -> str:
    with pytest.raises(ClusterError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_job_goes_with_the_settings_of_the_target(cluster: Any) -> None:
    place: Target = target(queue="small", image="registry.example.com/train:1")
    assert place.submit(job("digits-1", "train.epochs=2")) == "digits-1"
    rayjob = cluster.objects["rayjobs", "ringmaster", "digits-1"]
    assert rayjob["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "small"
    head = rayjob["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert head["image"] == "registry.example.com/train:1"
    files = cluster.objects["configmaps", "ringmaster", "digits-1"]["data"]
    assert files["blocks.py"] == "# blocks\n"
    assert "epochs: 2" in files["job.yaml"] and "kubernetes" not in files["job.yaml"]


def test_what_pods_could_not_do_is_refused_before_anything_is_sent(cluster: Any) -> None:
    with pytest.raises(SpecError, match=r"^kubernetes\.volumes names no claim to write to"):
        KubeRayTarget(KubernetesSpec()).submit(job())
    assert cluster.requests == []


def test_a_cluster_without_kuberay_gets_nothing(cluster: Any) -> None:
    cluster.kuberay = False
    assert message(lambda: target().submit(job())).startswith("the cluster has no KubeRay")
    assert cluster.objects == {}


@pytest.mark.parametrize(
    ("id", "name"),
    [
        ("digits-1", "digits-1"),
        ("My_Job.2", "my-job-2"),
        ("7-digits", "job-7-digits"),
        ("x" * 60 + "-1", "x" * 38 + "-f75a748f"),
    ],
)
def test_an_id_becomes_a_name_that_kuberay_takes(id: str, name: str) -> None:
    assert rayjob_name(id) == name
    assert len(name) <= 47


def test_a_long_id_keeps_what_makes_it_unique() -> None:
    assert rayjob_name("x" * 60 + "-1") != rayjob_name("x" * 60 + "-2")


def test_how_a_job_stands(cluster: Any) -> None:
    place = target()
    place.submit(job())
    waits = "KubeRay's operator has not taken it up yet; if that lasts, check that the operator runs"
    assert place.status("digits-1") == JobStatus("digits-1", "PENDING", waits, submitted=CREATED)
    cluster.set_status("digits-1", jobDeploymentStatus="Running", jobStatus="RUNNING")
    prints(cluster, "digits-1", "digits: 2 Horovod rank(s), 5 epochs", f"  MLflow: {PAGE}")
    running = JobStatus("digits-1", "RUNNING", submitted=CREATED, mlflow_url=PAGE)
    assert place.status("digits-1") == running
    assert place.status("digits-1") == running
    assert cluster.asked("get", "pods/log") == 1, "the page is asked for until it is known, not again"
    cluster.set_status(
        "digits-1",
        jobDeploymentStatus="Failed",
        jobStatus="FAILED",
        message="Job entrypoint command failed with exit code 1, last available logs:\nerror: loss is NaN\n",
    )
    failed = place.status("digits-1")
    assert (failed.state, failed.reason, failed.verdict, failed.mlflow_url) == ("FAILED", "loss is NaN", 1, PAGE)


def test_the_page_is_read_from_the_beginning_of_the_output(cluster: Any) -> None:
    place = target()
    place.submit(job())
    cluster.set_status("digits-1", jobDeploymentStatus="Running", jobStatus="RUNNING")
    prints(cluster, "digits-1", "no page yet")
    assert place.status("digits-1").mlflow_url is None
    prints(cluster, "digits-1", "no page yet", f"MLflow run: {PAGE}\x1b[0m")
    assert place.status("digits-1").mlflow_url == PAGE
    query = next(query for verb, resource, query in cluster.requests if (verb, resource) == ("get", "pods/log"))
    assert query == {"container": "ray-job-submitter", "limitBytes": "65536"}


def test_who_may_not_read_pods_sees_the_state(cluster: Any) -> None:
    place = target()
    place.submit(job())
    cluster.set_status("digits-1", jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")
    for resource in ("pods", "events"):
        cluster.refuse("list", resource, 403, "no")
    assert place.status("digits-1") == JobStatus("digits-1", "SUCCEEDED", submitted=CREATED, exit_code=0)


def test_the_list_has_the_newest_job_first(cluster: Any) -> None:
    place = target()
    for id in ("digits-1", "digits-2"):
        place.submit(job(id))
    newer = cluster.objects["rayjobs", "ringmaster", "digits-1"]
    newer["metadata"]["creationTimestamp"] = "2026-01-02T00:00:00Z"
    cluster.set_status("digits-2", jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")
    assert [(one.id, one.state) for one in place.jobs()] == [("digits-1", "PENDING"), ("digits-2", "SUCCEEDED")]


def test_output_is_followed_to_the_end(cluster: Any) -> None:
    place = target()
    place.submit(job())
    cluster.set_status("digits-1", jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")
    prints(cluster, "digits-1", "one", "two", phase="Succeeded")
    assert list(place.logs("digits-1", follow=True)) == ["one", "two"]


def test_a_job_that_we_stopped_is_known_as_such(cluster: Any) -> None:
    place = target()
    place.submit(job())
    assert place.stop("digits-1") == "digits-1 was stopped by `ringmaster stop`"
    status = place.status("digits-1")
    assert (status.state, status.verdict) == ("STOPPED", 130)
    assert status.reason.startswith("digits-1 was stopped by `ringmaster stop` at ")


def test_a_job_that_someone_else_deletes_ends_the_waiting(cluster: Any) -> None:
    place = target()
    place.submit(job())
    cluster.set_status("digits-1", jobDeploymentStatus="Running", jobStatus="RUNNING")

    def delete() -> None:
        cluster.wait_for(lambda: cluster.asked("get", "rayjobs") >= 2)
        cluster.remove("rayjobs", "digits-1")

    someone = threading.Thread(target=delete)
    someone.start()
    text = message(lambda: wait(place, "digits-1", poll_s=0.01))
    someone.join(60)
    assert text == "RayJob digits-1 in namespace ringmaster was deleted by someone else while it was running"


def test_a_job_that_was_never_there(cluster: Any) -> None:
    assert message(lambda: target().status("nothing")) == (
        "there is no RayJob nothing in namespace ringmaster: the name is wrong, or it was deleted; "
        "`ringmaster jobs --to kuberay --namespace ringmaster` lists what is there"
    )
