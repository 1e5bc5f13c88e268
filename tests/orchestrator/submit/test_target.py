"""Waiting for a job, and what its end means for the shell."""

from collections.abc import Iterator

import pytest

from configs.errors import ClusterError, Unreachable
from orchestrator.submit.target import JobStatus, State, Submission, Target, wait


class Scripted:
    """A target that answers `status` with one state after the other."""

    def __init__(self, *states: State | ClusterError) -> None:
        self.left = list(states)

    def submit(self, job: Submission) -> str:
        return job.id

    def jobs(self) -> list[JobStatus]:
        return []

    def status(self, id: str) -> JobStatus:
        if not self.left:
            raise ClusterError(f"no job {id}")
        if isinstance(self.left[0], ClusterError):
            raise self.left.pop(0)
        return JobStatus(id, self.left[0])

    def ended(self, id: str) -> bool:
        ended = self.status(id).ended
        if not ended:
            self.left.pop(0)
        return ended

    def logs(self, id: str, follow: bool) -> Iterator[str]:
        yield from ()

    def stop(self, id: str) -> str:
        return "nothing to stop"


@pytest.mark.parametrize("final", ["SUCCEEDED", "FAILED", "STOPPED"])
def test_wait_returns_at_the_first_final_state_and_not_before(final: State) -> None:
    target = Scripted("QUEUED", "PENDING", "RUNNING", final, "RUNNING")
    assert wait(target, "a", poll_s=0) == JobStatus("a", final)
    assert target.left == [final, "RUNNING"], "it was not asked again after the end"


def test_wait_passes_on_that_the_job_is_gone() -> None:
    with pytest.raises(ClusterError, match="^no job a$"):
        wait(Scripted("RUNNING"), "a", poll_s=0)


def test_wait_outlives_a_server_that_is_away_for_a_while() -> None:
    away = Unreachable("nothing answers at http://head:8265")
    target: Target = Scripted("RUNNING", away, away, "RUNNING", away, "SUCCEEDED")
    assert wait(target, "a", poll_s=0) == JobStatus("a", "SUCCEEDED")


def test_wait_gives_up_when_the_server_stays_away() -> None:
    away = Unreachable("nothing answers at http://head:8265")
    with pytest.raises(Unreachable) as caught:
        wait(Scripted("RUNNING", away), "a", poll_s=0, patience_s=0)
    expected = "nothing answers at http://head:8265. The job may run on; come back with ringmaster wait a"
    assert str(caught.value) == expected
    with pytest.raises(Unreachable, match="^nothing answers at http://head:8265$"):
        wait(Scripted(away, "SUCCEEDED"), "a", poll_s=0)


@pytest.mark.parametrize(
    ("state", "code", "verdict"),
    [
        ("SUCCEEDED", 0, 0),
        ("SUCCEEDED", None, 0),
        ("FAILED", 3, 3),
        ("FAILED", None, 1),
        ("FAILED", 0, 1),
        ("STOPPED", None, 130),
        ("STOPPED", 0, 130),
    ],
)
def test_only_a_job_that_succeeded_is_zero(state: State, code: int | None, verdict: int) -> None:
    assert JobStatus("a", state, exit_code=code).verdict == verdict


def test_a_running_job_has_no_exit_code() -> None:
    with pytest.raises(ValueError, match="^a is RUNNING; it has no exit code yet$"):
        _ = JobStatus("a", "RUNNING").verdict
