"""Horovod's settings: from the YAML file to variables, and what autotune found to the next run."""

from collections.abc import Callable

import pytest

from configs.errors import SpecError
from configs.job import JobSpec
from orchestrator.tuning import autotuned, horovod_environment, keep_autotuned, records_of

Make = Callable[..., JobSpec]

LOG = """cache_enabled,hierarchical_allreduce,hierarchical_allgather,cycle_time_ms,tensor_fusion_threshold,score
1,0,0,5.0,64,100.0
1,0,0,2.5,32,140.0
1,0,0,9.0,16,90.0
"""


def test_only_what_is_set_reaches_horovod(small_job: Make) -> None:
    assert horovod_environment(small_job()) == {}
    spec = small_job(
        "horovod.fusion_threshold_mb=2", "horovod.cycle_time_ms=1.5", "horovod.hierarchical_allreduce=false"
    )
    assert horovod_environment(spec) == {
        "HOROVOD_FUSION_THRESHOLD": str(2 * 2**20),
        "HOROVOD_CYCLE_TIME": "1.5",
        "HOROVOD_HIERARCHICAL_ALLREDUCE": "0",
    }


def test_the_best_autotuned_settings_serve_the_next_run_of_the_same_job(small_job: Make) -> None:
    spec = small_job("horovod.autotune=true")
    assert horovod_environment(spec) == {"HOROVOD_AUTOTUNE": "1"}
    assert records_of(spec) == ("HOROVOD_AUTOTUNE_LOG",)

    assert keep_autotuned(spec, LOG)["cycle_time_ms"] == 2.5
    assert autotuned(spec)["fusion_threshold_mb"] == 32
    assert records_of(spec) == ()
    environment = horovod_environment(spec)
    assert (environment["HOROVOD_CYCLE_TIME"], environment["HOROVOD_FUSION_THRESHOLD"]) == ("2.5", str(32 * 2**20))
    assert "HOROVOD_AUTOTUNE" not in environment

    chosen = small_job("horovod.autotune=true", "horovod.cycle_time_ms=7.0")
    assert horovod_environment(chosen)["HOROVOD_CYCLE_TIME"] == "7.0"
    assert autotuned(small_job("horovod.autotune=true", "cluster.workers=3")) == {}
    assert autotuned(small_job()) == {}


def test_autotune_that_had_no_time_keeps_nothing(small_job: Make) -> None:
    spec = small_job("horovod.autotune=true")
    assert keep_autotuned(spec, LOG.splitlines()[0]) == {}
    assert records_of(spec) == ("HOROVOD_AUTOTUNE_LOG",)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("horovod.cycle_time=1", "unknown key 'cycle_time'; did you mean 'cycle_time_ms'"),
        ("horovod.compression=int8", "horovod.compression='int8'"),
        ("horovod.fusion_threshold_mb=-1", "horovod.fusion_threshold_mb=-1"),
    ],
)
def test_wrong_settings_are_named(small_job: Make, override: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        small_job(override)
