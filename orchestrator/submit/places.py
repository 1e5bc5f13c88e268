"""Where jobs were submitted to: remembered in the job's folder, so that the other verbs need no more than an id."""

import json
import os
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from configs.errors import SpecError
from configs.kubernetes import KubernetesSpec
from orchestrator.submit.target import Target

ADDRESS_VARIABLE = "RAY_API_SERVER_ADDRESS"
FILE = Path("logs", "submitted.jsonl")


@dataclass(frozen=True)
class Place:
    """A cluster, as the options of the command line name it."""

    to: Literal["ray", "kuberay"]
    address: str | None = None
    """Of the dashboard; for ray."""
    namespace: str | None = None
    context: str | None = None

    @property
    def options(self) -> str:
        """What to type to name it."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return " ".join(f"--{name} {shlex.quote(value)}" for name, value in given.items())


def choose(
    to: str | None, *, address: str | None, namespace: str | None = None, context: str | None = None
) -> Place | None:
    """Return the place that the options name; None where they name none. Raises SpecError."""
    if to is None and (namespace or context) and not address:
        to = "kuberay"
    if to == "kuberay":
        if address:
            raise SpecError("--address goes with --to ray; Kubernetes is found by --context")
        return Place("kuberay", namespace=namespace, context=context)
    if namespace or context:
        raise SpecError("--namespace and --context go with --to kuberay; remove them, or --to ray and --address")
    if address:
        return Place("ray", address=address)
    if to == "ray" and environment() is None:
        raise SpecError(
            f"--to ray needs --address, that of the cluster's dashboard (http://head:8265), or {ADDRESS_VARIABLE}"
        )
    return environment() if to == "ray" else None


def environment() -> Place | None:
    """The Ray cluster that RAY_API_SERVER_ADDRESS names."""
    address = os.environ.get(ADDRESS_VARIABLE)
    return Place("ray", address=address) if address else None


def open_target(place: Place, *, python: str | None = None, kubernetes: KubernetesSpec | None = None) -> Target:
    """Connect to a place. Raises ClusterError."""
    if place.to == "ray":
        from orchestrator.submit.ray import RayTarget

        return RayTarget(str(place.address), python=python)
    from orchestrator.submit.kuberay_target import KubeRayTarget

    given = {"namespace": place.namespace, "context": place.context}
    named = {name: value for name, value in given.items() if value is not None}
    return KubeRayTarget((kubernetes or KubernetesSpec()).model_copy(update=named))


def remember(folder: Path, id: str, place: Place) -> None:
    """Note where a job is. A folder that cannot be written to is no reason to lose the job."""
    with suppress(OSError):
        path = folder / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"id": id, **asdict(place)}) + "\n")


def recall(folder: Path, id: str | None) -> Place | None:
    """Where the job of that id was submitted to, or without an id the last one; None where nothing is known."""
    found = [place for known, place in _remembered(folder) if id in {None, known}]
    return found[-1] if found else None


def _remembered(folder: Path) -> Iterator[tuple[str, Place]]:
    try:
        lines = (folder / FILE).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        with suppress(ValueError, TypeError, KeyError):  # a line that somebody else wrote
            entry = json.loads(line)
            yield entry.pop("id"), Place(**entry)
