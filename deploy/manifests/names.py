"""What rendered objects are called, and the labels by which they are found again."""

import re
from importlib import metadata

MAX_NAME = 47
"""KubeRay refuses a longer RayJob or RayService: it makes longer names from it, which Kubernetes limits to 63."""
JOB_LABEL = "ringmaster/job"
ID_LABEL = "ringmaster/id"
MANAGED_BY = "app.kubernetes.io/managed-by"
OWNER = "ringmaster"

CODE_FOLDER = "/opt/ringmaster/job"
"""Where the job's YAML file and its Python files lie in every pod."""
JOB_FILE = "job.yaml"
HEAD_CONTAINER = "ray-head"
WORKER_CONTAINER = "ray-worker"
SUBMITTER_CONTAINER = "ray-job-submitter"
WORKER_GROUP = "workers"


def object_name(name: str, suffix: str = "") -> str:
    """Return a name that KubeRay takes: "My_Job.2" -> "my-job-2", cut so that `-suffix` still fits."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not plain[:1].isalpha():
        plain = f"job-{plain}"
    ending = f"-{suffix}" if suffix else ""
    return plain[: MAX_NAME - len(ending)].rstrip("-") + ending


def labels(job: str, identifier: str, component: str) -> dict[str, str]:
    """Labels of everything that belongs to one job (component training) or service (component serving)."""
    return {
        MANAGED_BY: OWNER,
        "app.kubernetes.io/component": component,
        JOB_LABEL: object_name(job),
        ID_LABEL: identifier,
    }


def ray_version() -> str:
    """The version of Ray that is installed here, which is the one of the images."""
    return metadata.version("ray")


def image(given: str | None, kind: str) -> str:
    """The image asked for, or Ringmaster's own of this version; kind: train-cpu, train-gpu, serve."""
    return given or f"ringmaster-{kind}:{metadata.version('ringmaster')}"
