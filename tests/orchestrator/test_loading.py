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

from configs.errors import DataError, SpecError
from configs.job import JobSpec
from orchestrator import loading, memory
from orchestrator.datasets import learn, prepare
from orchestrator.loading import chosen_loading, stream_folder
from orchestrator.memory import size_shown
from orchestrator.plan import make_plan

Make = Callable[..., JobSpec]


def chosen(spec: JobSpec) -> loading.Loading:
    with chosen_loading(spec) as found:
        return found


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        (10**9, "loading: indexed, as the rows need about 5.6 kB, and 500.0 MB of memory is for them"),
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


def test_a_compressed_file_grows_more(small_job: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small.csv.gz").write_bytes(b"x" * 100)
    monkeypatch.setattr(loading, "free_memory", lambda: 1)
    found = chosen(small_job("data.csv=null", "data.files=small.csv.gz"))
    assert str(found).startswith("loading: streaming, as the rows need about 2.4 kB")


WIDE_CSV = "size,colour,label\n" + "".join(f"{row},u{row // 2},{'ab'[row % 2]}\n" for row in range(3000))
ONE_HOT = "data.features={size: number, colour: {kind: category, encode: one_hot}}"


@pytest.mark.parametrize(
    ("options", "columns"),
    [
        ([ONE_HOT], 1 + 1502),
        (["data.features={colour: {kind: text, length: 700}}"], 700),
        (["data.features={size: {kind: number, buckets: 400, encode: one_hot}}"], 400),
        (["data.window={width: 300}", "data.split={by: time, valid: 0.2}", "data.features={size: number}"], 300),
    ],
)
def test_what_the_rows_need_is_what_they_take(csv: Make, options: list[str], columns: int) -> None:
    spec = csv(WIDE_CSV, *options, "data.split.test=0")
    _, why = loading._by_size(learn(spec).nbytes)  # windows are not asked how large they are
    shown = float(why.split("need about ")[1].split(" MB")[0])
    ready = prepare(spec, chosen(spec))
    real = sum(split.nbytes for split in ready.splits.values()) + sum(x.nbytes for x in ready.facts.columns.values())
    assert real / 1.5 < shown * 1e6 < real * 1.5
    assert sum(split.nbytes for split in ready.splits.values()) > 2400 * columns * 4


def test_columns_of_one_hot_turn_a_small_file_to_streaming(csv: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file takes 50 kB, its rows 16 MB."""
    monkeypatch.setattr(loading, "free_memory", lambda: 20 * 10**6)
    assert str(chosen(csv(WIDE_CSV, ONE_HOT))).startswith("loading: streaming, as the rows need about 16.")
    assert not chosen(csv(WIDE_CSV)).streams


def test_rows_that_do_not_fit_are_refused_with_a_fix_that_works(csv: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 10**7)
    with pytest.raises(DataError) as caught:
        prepare(csv(WIDE_CSV, ONE_HOT, "data.loading=indexed"))
    assert str(caught.value) == (
        "3,000 rows take 16.3 MB as the model sees them, and 10.0 MB of memory is free; 'colour' becomes 1,358 "
        "columns: use as_input: true without encode (codes for an Embedding), max_values, or encode: hash with "
        "few buckets"
    )
    for fix in ("as_input: true", "encode: one_hot, max_values: 20", "encode: hash, buckets: 50"):
        prepare(csv(WIDE_CSV, f"data.features={{colour: {{kind: category, {fix}}}}}"))


def test_very_many_columns_are_told(csv: Make) -> None:
    (told,) = make_plan(csv(WIDE_CSV, ONE_HOT)).notes
    assert told.startswith("colour becomes 1,")


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
