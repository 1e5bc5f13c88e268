"""Rows are held in memory where they fit, and streamed where they do not; the job may say which."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.errors import SpecError
from configs.job import JobSpec
from orchestrator import loading
from orchestrator.loading import chosen_loading, size_shown, stream_folder
from orchestrator.plan import make_plan

Make = Callable[..., JobSpec]


def chosen(spec: JobSpec) -> loading.Loading:
    with chosen_loading(spec) as found:
        return found


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        (10**9, "loading: indexed, as the rows need about 3.1 kB, and 500.0 MB of memory is for them"),
        (5000, "loading: streaming, as the rows need about 3.1 kB, and 2.5 kB of memory is for them"),
    ],
)
def test_memory_decides(small_job: Make, monkeypatch: pytest.MonkeyPatch, free: int, expected: str) -> None:
    monkeypatch.setattr(loading, "free_memory", lambda: free)
    assert str(chosen(small_job())) == expected


def test_the_job_decides(small_job: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "free_memory", lambda: 1)
    assert not chosen(small_job("data.loading=indexed")).streams
    monkeypatch.setattr(loading, "free_memory", lambda: 10**12)
    assert str(chosen(small_job("data.loading=streaming"))) == "loading: streaming, as data.loading=streaming"


def test_a_compressed_file_grows_more(small_job: Make, tmp_path: Path) -> None:
    (tmp_path / "small.csv.gz").write_bytes(b"x" * 100)
    found = chosen(small_job("data.csv=null", "data.files=small.csv.gz"))
    assert str(found).startswith("loading: indexed, as the rows need about 2.4 kB")


def test_windows_need_all_rows(small_job: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "free_memory", lambda: 1)
    series = ("data.window.width=3", "data.split.by=time", "data.target.kind=number", "train.loss=mse")
    assert str(chosen(small_job(*series))) == "loading: indexed, as windows need all rows"
    with pytest.raises(SpecError, match="loading=streaming does not go with window, whose rows overlap"):
        small_job(*series, "data.loading=streaming")


def test_arrays_of_a_function_are_in_memory(small_job: Make, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "in_memory.py").write_text("def load():\n    return {'size': [1.0, 2.0], 'label': [0, 1]}\n")
    options = ("data.csv=null", "data.function=in_memory:load", "data.features={size: number}")
    found = chosen(small_job(*options))
    assert not found.streams
    np.testing.assert_array_equal(found.columns["size"], [1, 2])
    with pytest.raises(SpecError, match="needs files or a ray.data.Dataset, but in_memory:load gives rows in memory"):
        chosen(small_job(*options, "data.loading=streaming"))


def test_what_a_killed_job_left_is_removed(small_job: Make) -> None:
    spec = small_job()
    mine = stream_folder(spec)
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    here = socket.gethostname()
    names = [f"{here}-{int(dead.stdout)}", f"{here}-{os.getppid()}", f"another-{int(dead.stdout)}"]
    for name in names:
        (mine.parent / name / "train").mkdir(parents=True)
    assert stream_folder(spec) == mine
    assert sorted(path.name for path in mine.parent.iterdir()) == sorted(names[1:])


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0.0 kB"), (2500, "2.5 kB"), (3 * 10**6, "3.0 MB"), (10**9, "1.0 GB")]
)
def test_sizes(count: int, shown: str) -> None:
    assert size_shown(count) == shown


def test_the_plan_of_streaming_says_what_lies_on_disk(small_job: Make, tmp_path: Path) -> None:
    told: list[str] = []
    spec = small_job("data.loading=streaming", "data.shuffle_rows=4")
    plan, indexed = make_plan(spec, told.append), make_plan(small_job())
    assert plan.rows == indexed.rows
    assert plan.shard_rows == indexed.shard_rows
    assert plan.batch_bytes_per_worker == indexed.batch_bytes_per_worker
    row_bytes = 2 * 4 + 8 + 8  # two numbers, label, source row
    assert (plan.data_bytes_per_host, plan.disk_bytes, plan.window_bytes_per_worker) == (
        0,
        41 * row_bytes,
        8 * row_bytes,
    )
    assert told == ["streaming 0.5 kB in 1 piece(s): counting rows", "learning from 41 rows"]
    assert not (tmp_path / "ringmaster-runs").exists()
