"""Gaps, repeated times, short series and rows out of order are counted; the fix that a warning names works."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from configs.job import JobSpec
from orchestrator.datasets import Prepared, prepare
from orchestrator.report import warnings

HOURS = pd.date_range("2024-01-01", periods=120, freq="h")
JOB = {
    "name": "series",
    "model": {"function": "trainers.zoo.series:build"},
    "train": {"epochs": 1, "global_batch_rows": 16, "optimizer": "adam", "loss": "mean_squared_error"},
}


def ready(folder: Path, times: Any, window: dict[str, Any] | None = None, **columns: Any) -> Prepared:
    frame = pd.DataFrame({"t": times, "y": np.arange(len(times)), **columns})
    frame.to_parquet(folder / "rows.parquet")
    data = {
        "files": str(folder / "rows.parquet"),
        "features": {"y": {"kind": "number", "scale": "none"}},
        "split": {"by": "time", "column": "t", "valid": 0.2},
        "window": {"width": 3, "order": "t", **(window or {})},
        "target": {"column": "y", "kind": "number"},
    }
    return prepare(JobSpec.model_validate(JOB | {"data": data, "cluster": {"workers": 1}}))


def test_windows_across_a_gap_are_counted_and_can_be_left_out(tmp_path: Path) -> None:
    times = HOURS.delete(range(50, 60))
    warned = list(ready(tmp_path, times).facts.notes)
    assert warned == [
        "3 of 107 windows (2.8%) cross a gap in the times of 't': the usual step is 1h, and 1 step(s) are longer, the "
        "first of 11h after 2024-01-03T01:00:00; leave them out with data.window.max_gap: 1h"
    ]
    fixed = ready(tmp_path, times, {"max_gap": "1h"}).facts
    assert fixed.notes == () and len(fixed.labels) == 104
    assert fixed.left_out == ("left out 3 window(s): across a gap longer than data.window.max_gap=1h",)


def test_months_are_no_gaps(tmp_path: Path) -> None:
    assert ready(tmp_path, pd.date_range("2020-01-01", periods=40, freq="MS")).facts.notes == ()


def test_a_forgotten_group_is_asked_for(tmp_path: Path) -> None:
    times, station = HOURS.repeat(2), ["a", "b"] * 120
    warned = list(warnings(ready(tmp_path, times, station=station).facts))
    assert warned[0] == (
        "240 of 240 rows (100.0%) have a time in 't' that stands there several times in the series, the first of them "
        "2024-01-01; is data.window.group missing?"
    )
    assert ready(tmp_path, times, {"group": "station"}, station=station).facts.notes == ()


def test_series_shorter_than_a_window_are_counted(tmp_path: Path) -> None:
    station = ["a"] * 100 + ["b"] * 17 + ["c"] * 3
    assert ready(tmp_path, HOURS, {"group": "station"}, station=station).facts.left_out == (
        "left out 3 row(s): in series of 'station' with less than the 4 rows that a window and its target need "
        "(1 of 3 series)",
    )


def test_rows_out_of_order_without_an_order(tmp_path: Path) -> None:
    (warned,) = ready(tmp_path, HOURS[::-1], {"order": None}).facts.notes
    assert warned == (
        "windows take the rows as they come, and 't' goes back in time at 119 of them; "
        "sort them with data.window.order: t"
    )


def test_milliseconds_order_rows(tmp_path: Path) -> None:
    shuffled = np.random.default_rng(0).permutation(200)
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(200) * 10, unit="ms")
    for rows in ready(tmp_path, times[shuffled], y=shuffled).splits.values():
        whole = np.c_[next(iter(rows.inputs.values()))[..., 0], rows.target]
        assert (np.diff(whole, axis=1) == 1).all()


def test_times_with_and_without_an_offset_are_counted(tmp_path: Path) -> None:
    texts = [f"{time.isoformat()}{'Z' if row < 100 else ''}" for row, time in enumerate(HOURS)]
    assert ready(tmp_path, texts).facts.notes == (
        "20 of 120 times in 't' have no offset such as Z or +02:00, and the others have one; "
        "those without are taken in UTC",
    )
