"""Tuning knobs become environment variables; wrong ones are named. No Horovod, no TensorFlow."""

import subprocess
import sys

import pytest

from configs.errors import SpecError
from trainers.hvd.environment import best_autotuned, tuning_environment
from trainers.hvd.settings import ReductionSettings

LOG = """\
hierarchical_allreduce,hierarchical_allgather,torus_allreduce,cache_enabled,cycle_time_ms,tensor_fusion_threshold,score
0,0,0, 1,1,64,100.5
1,0,0, 1,3.5,32,180.25
0,0,0, 0,20,8,90
"""


def test_knobs_become_variables():
    knobs = {
        "fusion_threshold_mb": 32,
        "cycle_time_ms": 2.5,
        "cache_capacity": 0,
        "hierarchical_allreduce": True,
        "autotune": False,
        "timeline": "/tmp/timeline.json",
        "stall_warning_s": 20,
        "stall_shutdown_s": 60,
        "log_level": None,
    }
    assert tuning_environment(knobs) == {
        "HOROVOD_FUSION_THRESHOLD": "33554432",
        "HOROVOD_CYCLE_TIME": "2.5",
        "HOROVOD_CACHE_CAPACITY": "0",
        "HOROVOD_HIERARCHICAL_ALLREDUCE": "1",
        "HOROVOD_AUTOTUNE": "0",
        "HOROVOD_TIMELINE": "/tmp/timeline.json",
        "HOROVOD_STALL_CHECK_TIME_SECONDS": "20",
        "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": "60",
    }


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"cycle_time": 1}, "'cycle_time' is unknown.*Did you mean 'cycle_time_ms'"),
        ({"cycle_time_ms": "fast"}, "cycle_time_ms='fast' has the wrong kind. Expected float"),
        ({"cache_capacity": True}, "cache_capacity=True has the wrong kind. Expected int"),
        ({"cycle_time_ms": 0}, "cycle_time_ms=0 is too small. Expected at least 0.01"),
        ({"stall_shutdown_s": 30}, "stall_shutdown_s=30 is not above stall_warning_s=60"),
    ],
)
def test_wrong_knobs_are_named(knobs, message):
    with pytest.raises(SpecError, match=message):
        tuning_environment(knobs)


def test_best_line_of_the_autotune_log_is_kept():
    knobs = best_autotuned(LOG)
    assert knobs == {
        "fusion_threshold_mb": 32.0,
        "cycle_time_ms": 3.5,
        "hierarchical_allreduce": True,
        "hierarchical_allgather": False,
    }
    assert tuning_environment(knobs)["HOROVOD_FUSION_THRESHOLD"] == "33554432"
    assert best_autotuned("") == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"op": "mean"}, "op='mean' is unknown. Expected one of: average, sum, adasum"),
        ({"op": "max"}, "op='max' is unknown"),
        ({"compression": "fp61"}, "Did you mean 'fp16'"),
        ({"backward_passes_per_step": 0}, "backward_passes_per_step=0"),
        ({"gradient_predivide_factor": 0.0}, "gradient_predivide_factor=0.0 is not positive"),
        ({"op": "sum", "gradient_predivide_factor": 2.0}, "was given with op=sum"),
        ({"groups": -1}, "groups=-1 is not a number of buckets"),
    ],
)
def test_wrong_reductions_are_named(arguments, message):
    with pytest.raises(SpecError, match=message):
        ReductionSettings(**arguments)


def test_the_driver_needs_neither_horovod_nor_tensorflow():
    code = (
        "import sys; import trainers.hvd.environment, trainers.hvd.settings, trainers.hvd.verify;"
        "sys.exit(any(name in sys.modules for name in ('horovod', 'tensorflow', 'keras')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
