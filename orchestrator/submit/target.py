"""What a place that runs jobs can do: the verbs are the same for a Ray cluster and for Kubernetes."""

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from configs.errors import Unreachable
from configs.job import JobSpec

State = Literal["QUEUED", "PENDING", "RUNNING", "SUCCEEDED", "FAILED", "STOPPED"]
TERMINAL: frozenset[State] = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})
STOPPED_CODE = 130
"""What `ringmaster train` itself ends with when it is interrupted."""
POLL_S = 1.0
PATIENCE_S = 300.0
"""A target that answered once may be away for so long: a head node or an API server is replaced in less."""
UNKNOWN_CODE = 75
"""What `ringmaster wait` ends with where it cannot find out: not 1, which could be the job's (EX_TEMPFAIL)."""
RUN_PAGE = re.compile(r"https?://[^\s\x1b]+/#/experiments/\d+/runs/[0-9a-f]{32}\b")
"""The page of an MLflow run, in what the job prints."""


@dataclass(frozen=True)
class Submission:
    """A job on its way to a target."""

    id: str
    """Readable and unique at the target; the user types it."""
    spec: JobSpec
    """With the overrides applied: what runs there is this, not the file that it was read from."""
    files: Mapping[str, bytes]
    """Path relative to the YAML file's folder -> content, of the code that travels."""


@dataclass(frozen=True)
class JobStatus:
    """How a job stands."""

    id: str
    state: State
    """QUEUED: waits for its turn; PENDING: it is being started; the last three are final."""
    reason: str = ""
    """Why it waits or what ended it, one line; empty where there is nothing to say."""
    submitted: datetime | None = None
    """With its time zone; None where the target does not know."""
    mlflow_url: str | None = None
    """The page of its MLflow run, once there is one."""
    exit_code: int | None = None
    """Of the job's process, once it has ended and the target knows it."""

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in TERMINAL

    @property
    def verdict(self) -> int:
        """The exit code of `ringmaster wait`: the job's own, never 0 unless the job succeeded.

        Raises ValueError while the job runs.
        """
        if not self.ended:
            raise ValueError(f"{self.id} is {self.state}; it has no exit code yet")
        if self.state == "SUCCEEDED":
            return 0
        return self.exit_code or (STOPPED_CODE if self.state == "STOPPED" else 1)


class Target(Protocol):
    """A place that runs jobs. All methods raise ClusterError when it cannot be reached or refuses."""

    def submit(self, job: Submission) -> str:
        """Hand over a job and return its id; a name that is taken is a ClusterError."""

    def jobs(self) -> list[JobStatus]:
        """Every job of Ringmaster that the target still knows."""

    def status(self, id: str) -> JobStatus:
        """How one job stands; an id that the target does not know is a ClusterError."""

    def ended(self, id: str) -> bool:
        """Whether nothing will change any more; asked often, so it is to cost little."""

    def logs(self, id: str, follow: bool) -> Iterator[str]:
        """Yield the lines that the job has printed; with `follow` also those to come, until the job ends."""

    def stop(self, id: str) -> str:
        """End a job in order, so that it can close its MLflow run; return what was done, in words."""


def wait(target: Target, id: str, *, poll_s: float = POLL_S, patience_s: float = PATIENCE_S) -> JobStatus:
    """Return how a job stands once it has ended. Leaves the job alone when interrupted.

    A target that answered before may be away for `patience_s`: then Unreachable is raised. Raises ClusterError.
    """
    answered = None
    while True:
        try:
            if target.ended(id):
                return target.status(id)
            answered = time.monotonic()
        except Unreachable as error:
            if answered is None:
                raise
            if time.monotonic() - answered >= patience_s:
                raise Unreachable(f"{error}. The job may run on; come back with ringmaster wait {id}") from error
        time.sleep(poll_s)
