"""What a rank sends to the driver, and which epochs it refuses to report."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import pytest
import ray.train

from configs.errors import SpecError, TrainingError
from configs.job import JobSpec
from trainers import callbacks, hvd
from trainers.callbacks import CHECKPOINT_FOLDER, EpochReport, LiveProgress, StepCheckpoint, remove_leftovers

Make = Callable[..., JobSpec]


class Clock:
    """Stands for the module `time`: the test says how late it is."""

    now_s = 100.0

    def perf_counter(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(callbacks, "time", clock)
    return clock


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
    """What goes to Ray Train: (metrics, progress.json of the checkpoint). This process stands for rank 0."""
    found: list[tuple[dict[str, Any], dict[str, Any] | None]] = []

    def report(metrics: dict[str, Any], checkpoint: ray.train.Checkpoint | None) -> None:
        progress = json.loads(Path(checkpoint.path, "progress.json").read_text()) if checkpoint else None
        found.append((metrics, progress))

    monkeypatch.setattr(ray.train, "report", report)
    monkeypatch.setattr(hvd, "rank", lambda: 0)
    monkeypatch.setattr(hvd, "check_equal_weights", lambda model: "abc")
    return found


def report_of(spec: JobSpec) -> EpochReport:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    callback = EpochReport(spec, rows=30)
    callback.set_model(model)
    return callback


def test_an_epoch_is_reported_with_its_checkpoint(
    small_job: Make, clock: Clock, reported: list[tuple[dict[str, Any], Any]]
) -> None:
    """Speed is that of training: the clock stops where validation begins."""
    callback = report_of(small_job())
    callback.on_epoch_begin(1)
    clock.now_s += 3
    callback.on_test_begin()
    clock.now_s += 50
    callback.on_epoch_end(1, {"loss": 0.5, "val_loss": 0.75})
    metrics = {"loss": 0.5, "val_loss": 0.75}
    assert reported == [
        (
            metrics | {"epoch": 2, "samples_per_s": pytest.approx(10), "weights_sha256": "abc"},
            {"epoch": 2, "metrics": metrics, "step": 0},
        )
    ]


@pytest.fixture
def averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the only rank: there is nothing to add up."""
    monkeypatch.setattr(hvd, "size", lambda: 1)
    monkeypatch.setattr(hvd, "average_batch_norm", lambda model: None)
    monkeypatch.setattr("trainers.unfinished.sum_metrics", lambda model: None)


@pytest.mark.parametrize(
    ("first_step", "every", "expected"), [(0, 3, [3, 6]), (4, 3, [6]), (0, 9, []), (0, 1, [*range(1, 9)])]
)
def test_checkpoints_inside_an_epoch(
    small_job: Make, reported: list[Any], averaged: None, first_step: int, every: int, expected: list[int]
) -> None:
    """After every so many steps of the epoch, wherever it was resumed, but not at its end."""
    spec = small_job(f"train.checkpoint_every_steps={every}")
    callback = StepCheckpoint(spec, steps=9, first_step=first_step)
    callback.set_model(report_of(spec).model)
    callback.on_epoch_begin(2)
    for batch in range(9 - first_step):
        callback.on_train_batch_end(batch)
    worst = sys.float_info.max
    assert [metrics for metrics, _ in reported] == [
        {"unfinished_epoch": 3, "step": step, "val_loss": worst} for step in expected
    ]
    assert [progress for _, progress in reported] == [{"epoch": 2, "metrics": {}, "step": step} for step in expected]


def test_only_rank_0_writes(
    small_job: Make, reported: list[tuple[dict[str, Any], Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hvd, "rank", lambda: 1)
    callback = report_of(small_job())
    callback.on_epoch_begin(0)
    callback.on_epoch_end(0, {"val_loss": 1.0})
    assert [(metrics["epoch"], progress) for metrics, progress in reported] == [(1, None)]


def test_a_monitor_that_the_model_does_not_report(small_job: Make, reported: list[Any]) -> None:
    callback = report_of(small_job("train.monitor=val_auc"))
    expected = "train.monitor='val_auc' is not reported by the model; it reports loss, val_loss"
    with pytest.raises(SpecError, match=f"^{expected}$"):
        callback.on_epoch_end(0, {"loss": 1.0, "val_loss": 1.0})
    assert reported == []


@pytest.mark.parametrize(("value", "shown"), [(float("nan"), "nan"), (float("inf"), "inf")])
def test_a_loss_that_is_not_finite_ends_the_job(
    small_job: Make, reported: list[Any], value: float, shown: str
) -> None:
    expected = (
        f"loss is {shown} after epoch 4: training diverged. "
        "Lower the learning rate, or look for extreme values in the data"
    )
    with pytest.raises(TrainingError, match=f"^{expected}$"):
        report_of(small_job()).on_epoch_end(3, {"loss": value, "val_loss": 1.0})
    assert reported == []


class Feed:
    """Stands for the actor handle."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.put = SimpleNamespace(remote=self.events.append)


def test_progress_is_sent_a_few_times_a_second(clock: Clock) -> None:
    feed = Feed()
    live = LiveProgress(feed, rows=80, steps=10)
    live.on_epoch_begin(2)
    for batch in range(10):
        clock.now_s += 0.1
        live.on_train_batch_end(batch, {"loss": batch})
    assert [event["step"] for event in feed.events] == [1, 4, 7, 10]
    assert feed.events[-1] == {
        "kind": "step",
        "epoch": 3,
        "step": 10,
        "steps": 10,
        "samples_per_s": pytest.approx(80),
        "metrics": {"loss": 9.0},
    }


def test_without_a_feed_there_is_silence(clock: Clock) -> None:
    live = LiveProgress(None, rows=8, steps=1)
    live.on_epoch_begin(0)
    live.on_train_batch_end(0, {"loss": 1.0})


def test_what_a_killed_process_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    names = (f"{CHECKPOINT_FOLDER}{int(ended.stdout)}-a", f"{CHECKPOINT_FOLDER}{os.getpid()}-b", "other")
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.keras").write_text("")
    remove_leftovers()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])
