"""Why a job waits or has ended, from what the operator, the kubelet and the scheduler report."""

from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator.submit.rayjobs import condition, expired

Manifest = dict[str, Any]


def rayjob(**status: Any) -> Manifest:
    return {"metadata": {"name": "digits"}, "spec": {}, "status": status}


def pod(kind: str = "worker", **status: Any) -> Manifest:
    metadata = {"name": f"digits-{kind}-1", "labels": {"ray.io/node-type": kind}}
    container = {"name": "ray", "resources": {"limits": {"memory": "4Gi"}}}
    return {"metadata": metadata, "spec": {"containers": [container]}, "status": status}


def container(state: str, **details: str) -> list[Manifest]:
    return [{"name": "ray", "image": "train:1", "state": {state: details}}]


UNSCHEDULED = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: 3 Insufficient cpu."}


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        (
            pod(conditions=[UNSCHEDULED]),
            "pod digits-worker-1 waits for a node: 0/3 nodes are available: 3 Insufficient cpu.",
        ),
        (
            pod(containerStatuses=container("waiting", reason="ImagePullBackOff", message="not found")),
            "pod digits-worker-1 cannot pull image train:1: not found; check kubernetes.image and "
            "kubernetes.image_pull_secrets",
        ),
        (
            pod(initContainerStatuses=container("waiting", reason="ErrImageNeverPull")),
            "pod digits-worker-1 cannot pull image train:1: ErrImageNeverPull; check kubernetes.image and "
            "kubernetes.image_pull_secrets",
        ),
        (
            pod(containerStatuses=container("waiting", reason="CreateContainerConfigError", message="secret no")),
            "pod digits-worker-1 cannot start: secret no",
        ),
    ],
)
def test_why_pods_do_not_start(pods: Manifest, expected: str) -> None:
    stands = condition(rayjob(jobDeploymentStatus="Initializing"), [pods])
    assert (stands.state, stands.reason) == ("PENDING", expected)


@pytest.mark.parametrize(
    ("status", "pods", "expected"),
    [
        (
            {"jobDeploymentStatus": "ValidationFailed", "message": "RayJob name should be no more than 47 characters"},
            [],
            "RayJob name should be no more than 47 characters",
        ),
        (
            {"jobDeploymentStatus": "Failed", "reason": "DeadlineExceeded", "message": "The RayJob has passed"},
            [],
            "it took longer than kubernetes.active_deadline_s",
        ),
        (
            {"jobDeploymentStatus": "Failed", "reason": "PreRunningDeadlineExceeded", "message": "The RayJob has"},
            [pod(conditions=[UNSCHEDULED])],
            "it did not start within kubernetes.start_deadline_s: pod digits-worker-1 waits for a node: 0/3 nodes are "
            "available: 3 Insufficient cpu.",
        ),
        (
            {"jobDeploymentStatus": "Failed", "message": "exit code 137"},
            [pod("head", containerStatuses=container("terminated", reason="OOMKilled"))],
            "pod digits-head-1 was killed: out of memory (limit 4Gi); raise kubernetes.head.memory",
        ),
    ],
)
def test_what_ended_a_job(status: Manifest, pods: list[Manifest], expected: str) -> None:
    stands = condition(rayjob(**status), pods)
    assert (stands.state, stands.reason) == ("FAILED", expected)


def test_a_job_in_the_queue_of_kueue() -> None:
    waiting = rayjob(jobDeploymentStatus="Suspended")
    waiting["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "training"}
    event = {
        "reason": "Pending",
        "message": "insufficient unused quota for cpu",
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }
    stands = condition(waiting, events=[event])
    assert (stands.state, stands.reason) == (
        "QUEUED",
        "it waits for admission by queue training: insufficient unused quota for cpu",
    )


def test_when_the_time_to_live_is_over() -> None:
    ended = rayjob(endTime="2026-01-01T00:00:00Z")
    ended["spec"] = {"shutdownAfterJobFinishes": True, "ttlSecondsAfterFinished": 60}
    assert expired(ended, datetime(2026, 1, 1, 0, 0, 59, tzinfo=UTC)) == ""
    assert expired(ended, datetime(2026, 1, 1, 0, 2, tzinfo=UTC)) == (
        "its Ray cluster was removed at 2026-01-01 00:01:00 UTC (ttl_s)"
    )
