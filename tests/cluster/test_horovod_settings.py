"""Settings of the `horovod` section on real ranks, and `ringmaster verify`."""

import json
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from configs.job import JobSpec
from orchestrator import run
from orchestrator.verification import verify

pytestmark = pytest.mark.cluster

Make = Callable[..., JobSpec]

BATCH_NORM = """
import keras

def build():
    return keras.Sequential([
        keras.layers.Dense(8), keras.layers.BatchNormalization(), keras.layers.Dense(1, activation="sigmoid")
    ])
"""


def test_timeline_of_the_reductions_is_attached_to_the_run(small_job: Make) -> None:
    result = run(small_job("horovod.timeline=true", "horovod.compression=bf16", "horovod.cycle_time_ms=2"))
    mlflow.set_tracking_uri(result.tracking_uri)
    text = mlflow.artifacts.load_text(f"runs:/{result.run_id}/horovod_timeline.json")
    events = json.loads(text.rstrip().rstrip(",").removesuffix("]") + "]")
    assert {"NEGOTIATE_ALLREDUCE", "ALLREDUCE"} <= {event.get("name") for event in events}


def test_verify_finds_one_and_two_workers_equal(small_job: Make, tmp_path: Path) -> None:
    spec = small_job("model.params={hidden: [8], dropout: 0.5}", "train.global_batch_rows=7")
    differences = verify(spec, workers=2, steps=4)
    assert len(differences) == 4  # kernel and bias of two layers
    assert all(one.largest <= 1e-6 for one in differences)
    assert not (tmp_path / "ringmaster-runs" / "mlflow.db").exists()


def test_verify_shows_a_layer_that_computes_across_rows(small_job: Make, tmp_path: Path) -> None:
    (tmp_path / "norm.py").write_text(BATCH_NORM)
    differences = verify(small_job("model.function=norm:build", "model.params={}"), workers=2, steps=4)
    assert differences[0].largest > 1e-3
