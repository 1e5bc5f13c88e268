"""What the Kubernetes API refuses: errors of one line with the fix. Pure: status, request and answer in, text out."""

import json
import re
from dataclasses import dataclass
from typing import Any

from configs.errors import ClusterError, Unreachable
from orchestrator.submit.rayjobs import one_line, quota

CRDS = (
    "the cluster has no KubeRay (resource {resource} of ray.io/v1 is unknown); an administrator installs it once, see "
    "docs/kubernetes.md"
)
ROLE = "an administrator binds you to the role of submitters, see docs/kubernetes.md"


class Away(Unreachable):
    """The API server does not answer now."""


class Absent(ClusterError):
    """The object of that name is not there."""


class TooOld(ClusterError):
    """The server no longer knows the version that a watch was to start from."""


@dataclass(frozen=True)
class Request:
    """What was asked of the API, for the message."""

    verb: str
    resource: str
    name: str
    namespace: str

    def __str__(self) -> str:
        return f"{self.resource} {self.name}".strip()


def explain(request: Request, status: int, body: str) -> str:
    """Return one line for an answer with an error status."""
    answer = _parse(body)
    message = one_line(answer.get("message") or body or f"status {status}")
    if status == 401:
        return "the API server does not accept your credentials (401); log in again, or choose another --context"
    if status == 403:
        return _forbidden(request, message)
    if status == 404:
        return _missing(request, answer, message)
    if status == 409:
        return f"{request} exists already in namespace {request.namespace}; choose another name"
    if status == 400 and "unknown field" in message:
        return (
            f"the cluster's KubeRay is older than v1.7, it does not know {_fields(message)}; an administrator "
            "upgrades its CRDs and its operator"
        )
    if status in {400, 422}:
        return f"the API server does not accept {request}: {message}"
    if status == 429:
        return f"the API server has too much to do (429: {message}); try again in a minute"
    return (
        f"the API server failed to {request.verb} {request} ({status}: {message}); try again, or ask its administrator"
    )


def _forbidden(request: Request, message: str) -> str:
    if "exceeded quota" in message:
        return quota(message)
    if found := re.search(r"status unknown for quota: ([^,]+)", message):
        return (
            f"quota {found[1]} of namespace {request.namespace} is new and has not been counted yet; try again in a "
            "few minutes"
        )
    if "is forbidden: User" not in message and "cannot" not in message:
        return f"the cluster's policy refuses {request}: {message}"
    found = re.search(r'User "([^"]+)"', message)
    user = f"user {found[1]}" if found else "you"
    return (
        f"{user} may not {request.verb} {request.resource} in namespace {request.namespace} (permission missing: verb "
        f"{request.verb} on resource {request.resource}; the answer is the same where there is no such namespace); "
        f"{ROLE}"
    )


def _missing(request: Request, answer: dict[str, Any], message: str) -> str:
    kind = (answer.get("details") or {}).get("kind")
    if kind == "namespaces":
        return (
            f"namespace {request.namespace} does not exist; create it (kubectl create namespace {request.namespace}) "
            "or name another with --namespace"
        )
    if kind is None and request.resource.endswith(".ray.io"):
        return CRDS.format(resource=request.resource.removesuffix(".ray.io"))
    return f"there is no {request} in namespace {request.namespace} ({message})"


def _fields(message: str) -> str:
    fields = re.findall(r'unknown field "([^"]+)"', message)
    return ", ".join(dict.fromkeys(fields)) or "a field of the job"


def _parse(body: str) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
