"""What the objects of a RayJob say about it, in words for a person. Pure: dictionaries in, text out."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from orchestrator.submit.target import TERMINAL, State

Manifest = Mapping[str, Any]
KUEUE_LABEL = "kueue.x-k8s.io/queue-name"
STOPPED_EVENT = "StoppedByRingmaster"
"""Reason of the event that `ringmaster stop` leaves, as the RayJob itself is gone afterwards."""
SUBMITTER = "ray-job-submitter"

PULL_FAILURES = {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"}
START_FAILURES = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff"}


@dataclass(frozen=True)
class Condition:
    """How a RayJob stands."""

    state: State
    reason: str = ""
    """Why it waits or what ended it, one line."""
    exit_code: int | None = None
    """Of the job's process, once it has ended."""


def condition(rayjob: Manifest, pods: Iterable[Manifest] = (), events: Iterable[Manifest] = ()) -> Condition:
    """Work out how a RayJob stands; pods and events are those of the job, and may be left out."""
    status = rayjob.get("status") or {}
    deployment, job = status.get("jobDeploymentStatus") or "", status.get("jobStatus") or ""
    if rayjob["metadata"].get("deletionTimestamp"):
        return Condition("STOPPED", "it is being deleted")
    if deployment in {"Complete", "Failed", "ValidationFailed"}:
        return _ended(status, deployment, job, pods)
    if deployment in {"Suspending", "Suspended"} or (not deployment and rayjob["spec"].get("suspend")):
        return Condition("QUEUED", _queue(rayjob, events))
    if deployment == "Running" and job == "RUNNING":
        return Condition("RUNNING", trouble(pods, ()))
    reason = trouble(pods, events)
    if not deployment and not reason:
        reason = "KubeRay's operator has not taken it up yet; if that lasts, check that the operator runs"
    return Condition("PENDING", reason or {"Retrying": "it starts again"}.get(deployment, "its pods are starting"))


def _ended(status: Manifest, deployment: str, job: str, pods: Iterable[Manifest]) -> Condition:
    if deployment == "Complete" and job == "SUCCEEDED":
        return Condition("SUCCEEDED", "", 0)
    if deployment == "Complete" and job == "STOPPED":
        return Condition("STOPPED", "it was stopped from inside the cluster", 130)
    message = str(status.get("message") or "")
    if status.get("reason") == "DeadlineExceeded":
        return Condition("FAILED", "it took longer than kubernetes.active_deadline_s", 1)
    if status.get("reason") == "PreRunningDeadlineExceeded":
        why = trouble(pods, ())
        return Condition(
            "FAILED", f"it did not start within kubernetes.start_deadline_s{f': {why}' if why else ''}", 1
        )
    found = re.search(r"exit code (\d+)", message)
    killed = trouble(pods, ())
    reason = killed if "out of memory" in killed else last_line(message) or killed or str(status.get("reason") or "")
    return Condition("FAILED", reason, int(found[1]) if found and int(found[1]) else 1)


def last_line(message: str) -> str:
    """The line of a failure message that tells most: our own error line, else the last one."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith("error: ")]
    return (ours or lines or [""])[-1].removeprefix("error: ")[:400]


def trouble(pods: Iterable[Manifest], events: Iterable[Manifest]) -> str:
    """Why pods do not run, or what killed one: the first cause found, or nothing."""
    pods = list(pods)
    for finder in (_killed, _unstartable, _unscheduled):
        for pod in pods:
            if text := finder(pod):
                return text
    return _warning(events)


def _killed(pod: Manifest) -> str:
    status = pod.get("status") or {}
    for container in _containers(pod):
        for state in (container.get("state") or {}, container.get("lastState") or {}):
            if (state.get("terminated") or {}).get("reason") == "OOMKilled":
                limit = _limit(pod, container["name"])
                return f"{_place(pod)} was killed: out of memory{limit}; raise {_memory_key(pod)}"
    if status.get("reason") in {"Evicted", "Preempting", "Shutdown", "NodeLost"}:
        return f"{_place(pod)} was evicted: {one_line(status.get('message', status['reason']))}"
    return ""


def _unstartable(pod: Manifest) -> str:
    for container in _containers(pod):
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason, message = waiting.get("reason", ""), one_line(waiting.get("message", ""))
        if reason in PULL_FAILURES:
            return (
                f"{_place(pod)} cannot pull image {container.get('image', '')}: {message or reason}; check "
                "kubernetes.image and kubernetes.image_pull_secrets"
            )
        if reason in START_FAILURES:
            return f"{_place(pod)} cannot start: {message or reason}"
    return ""


def _unscheduled(pod: Manifest) -> str:
    for one in (pod.get("status") or {}).get("conditions") or []:
        if one.get("type") == "PodScheduled" and one.get("status") == "False":
            return f"{_place(pod)} waits for a node: {one_line(one.get('message') or one.get('reason', ''))}"
    return ""


def _warning(events: Iterable[Manifest]) -> str:
    """The last warning, as what failed first may have been mended since."""
    warnings = sorted((event for event in events if event.get("type") == "Warning"), key=event_time)
    if not warnings:
        return ""
    event = warnings[-1]
    message = one_line(event.get("message", ""))
    about = event.get("involvedObject", {})
    text = f"{about.get('kind', 'object')} {about.get('name', '')}: {event.get('reason', '')}: {message}"
    if "exceeded quota" in message:
        return f"{quota(message)} ({about.get('kind')} {about.get('name')})"
    return text


def quota(message: str) -> str:
    """ "exceeded quota: compute, requested: cpu=4, used: cpu=6, limited: cpu=8" in words."""
    found = re.search(r"exceeded quota: ([^,]+), requested: (.+?), used: (.+?), limited: ([^\s\"]+)", message)
    if not found:
        return f"a quota of the namespace is exceeded: {one_line(message)}"
    name, requested, used, limited = found.groups()
    return (
        f"quota {name} of the namespace is exceeded: requested {requested}, used {used}, limited {limited}; ask for "
        "less, wait for other jobs, or have the quota raised"
    )


def _queue(rayjob: Manifest, events: Iterable[Manifest]) -> str:
    queue = (rayjob["metadata"].get("labels") or {}).get(KUEUE_LABEL)
    if queue is None:
        return "it is suspended (spec.suspend)"
    waiting = [event for event in events if event.get("reason") in {"Pending", "QuotaReserved", "Preempted"}]
    why = f": {one_line(max(waiting, key=event_time).get('message', ''))}" if waiting else ""
    return f"it waits for admission by queue {queue}{why}"


def expired(rayjob: Manifest, now: datetime) -> str:
    """What a finished job's time to live took away already, or nothing."""
    status, spec = rayjob.get("status") or {}, rayjob["spec"]
    if not (spec.get("shutdownAfterJobFinishes") and status.get("endTime")):
        return ""
    end = time_of(status["endTime"]) + timedelta(seconds=spec.get("ttlSecondsAfterFinished") or 0)
    return f"its Ray cluster was removed at {end:%Y-%m-%d %H:%M:%S} UTC (ttl_s)" if end <= now else ""


def gone(name: str, namespace: str, events: Iterable[Manifest], seen: State | None = None) -> tuple[bool, str]:
    """Whether a RayJob that is not there was stopped by `ringmaster stop`, and a line that says what is known.

    seen: its state when it was still there, where the caller saw it.
    """
    events = sorted(events, key=event_time)
    stopped = [event for event in events if event.get("reason") == STOPPED_EVENT]
    if stopped:
        return True, one_line(stopped[-1].get("message", ""))
    if seen is not None and seen not in TERMINAL:
        state = seen.lower()
        return False, f"RayJob {name} in namespace {namespace} was deleted by someone else while it was {state}"
    if events:
        last = events[-1]
        return False, (
            f"RayJob {name} in namespace {namespace} was deleted by someone else, or by its deletion rules; the last "
            f"that was heard of it: {last.get('reason')}: {one_line(last.get('message', ''))}"
        )
    return False, (
        f"there is no RayJob {name} in namespace {namespace}: the name is wrong, or it was deleted; "
        f"`ringmaster jobs --to kuberay --namespace {namespace}` lists what is there"
    )


def submitter_pod(pods: Iterable[Manifest]) -> Manifest | None:
    """The newest pod that follows the job's output."""
    ours = [
        pod for pod in pods if any(container["name"] == SUBMITTER for container in pod["spec"].get("containers") or [])
    ]
    return max(ours, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), default=None)


def event_time(event: Manifest) -> str:
    """When an event was seen last, as text that sorts."""
    series = (event.get("series") or {}).get("lastObservedTime")
    return str(series or event.get("lastTimestamp") or event.get("eventTime") or event.get("firstTimestamp") or "")


def time_of(text: str) -> datetime:
    """A Kubernetes time stamp."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def one_line(text: object) -> str:
    """Without line breaks, cut to a readable length."""
    line = " ".join(str(text).split())
    return line if len(line) <= 400 else f"{line[:400]} ..."


def _containers(pod: Manifest) -> list[Manifest]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _place(pod: Manifest) -> str:
    node = pod["spec"].get("nodeName")
    return f"pod {pod['metadata']['name']}" + (f" on node {node}" if node else "")


def _limit(pod: Manifest, name: str) -> str:
    for container in pod["spec"].get("containers") or []:
        limit = ((container.get("resources") or {}).get("limits") or {}).get("memory")
        if container["name"] == name and limit:
            return f" (limit {limit})"
    return ""


def _memory_key(pod: Manifest) -> str:
    head = (pod["metadata"].get("labels") or {}).get("ray.io/node-type") == "head"
    return "kubernetes.head.memory" if head else "kubernetes.worker.memory"
