"""What `verify` runs; tests/cluster runs it."""

from collections.abc import Callable
from pathlib import Path

from configs.job import JobSpec
from orchestrator.verification import _short


def test_several_workers_are_compared_and_not_as_few_as_the_job_puts_up_with(
    small_job: Callable[..., JobSpec], tmp_path: Path
) -> None:
    spec = small_job("cluster.workers=4", "cluster.min_workers=1")
    assert [_short(spec, count, tmp_path).cluster.least_workers for count in (1, 3)] == [1, 3]
