"""The plan of a job says what the workers will do, and whether the cluster holds them."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.job import JobSpec
from orchestrator.plan import make_plan, shard_rows
from trainers.data import rank_slice

Make = Callable[..., JobSpec]
ALL_ROWS = ("data.split.valid=0", "data.split.test=0")


@given(st.integers(1, 300), st.integers(1, 70), st.integers(1, 9))
def test_shards_are_those_that_the_workers_take(rows: int, batch: int, workers: int) -> None:
    taken = [0] * workers
    for start in range(0, rows, batch):
        part = np.arange(rows)[start : start + batch]
        for rank in range(workers):
            taken[rank] += len(part[rank_slice(len(part), rank=rank, size=workers)])
    assert shard_rows(rows, batch, workers) == taken
    assert sum(taken) == rows


def test_the_plan_of_a_small_job(small_job: Make) -> None:
    spec = small_job("cluster.workers=3", *ALL_ROWS)
    plan = make_plan(spec)
    assert plan.rows == {"train": 41}
    assert (plan.steps_per_epoch, plan.last_batch_rows, plan.epochs) == (6, 1, 2)
    assert (plan.batch_rows, plan.shard_rows) == ([3, 3, 2], [16, 15, 10])
    assert plan.learning_rate == "0.01, the same for any number of workers, as they share the global batch"
    assert plan.data_bytes_per_host > plan.batch_bytes_per_worker > 0


def test_the_command_needs_no_cluster(
    ask: Callable[..., SimpleNamespace], small_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    small_job()
    done = ask("plan", "job.yaml", *ALL_ROWS)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[1].startswith("rows: 41 train; loading: indexed, as the rows need about 5.6 kB, and ")
    assert [lines[0], *lines[2:5]] == [
        "small: 2 worker(s) of 1 CPU each",
        "steps: 6 per epoch, 12 in 2 epochs",
        "global batch: 8 rows, by rank 2 x 4; the last one of an epoch has 1, none are padded",
        "shard of an epoch: rows by rank 1 x 21, 1 x 20",
    ]
    assert lines[5].startswith("learning rate of adam: 0.01, the same")


def test_workers_that_do_not_fit_are_exit_code_1(
    ask: Callable[..., SimpleNamespace], small_job: Make, dashboard: tuple[Any, str]
) -> None:
    small_job()
    fake, address = dashboard
    fake.usage = {"CPU": [1.5, 2.0]}
    done = ask("plan", "job.yaml", "--address", address, "--json")
    assert (done.code, json.loads(done.out)["cluster"]) == (
        0,
        {
            "address": address,
            "nodes": 1,
            "workers": 2,
            "total": {"CPU": 2.0},
            "problem": None,
            "free": {"CPU": 0.5},
        },
    )
    done = ask("plan", "job.yaml", "cluster.workers=5", "--address", address)
    assert (done.code, done.err) == (
        1,
        "error: cluster.workers=5 with 1 CPU each do not fit: the cluster has 2 CPU on 1 node(s), 3 CPU too few; use "
        "cluster.workers=2, or add nodes\n",
    )
    assert f"cluster {address}: 1 node(s), 2 CPU (0.5 free now); it holds 2 worker(s)" in done.out


def test_what_would_be_rendered_for_kubernetes(
    ask: Callable[..., SimpleNamespace], small_job: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    small_job()
    place = [f"data.csv={tmp_path}/small.csv", f"kubernetes.volumes=[{{claim: jobs, path: {tmp_path}}}]"]
    done = ask("plan", "job.yaml", *ALL_ROWS, *place, "kubernetes.namespace=team-a", "cluster.min_workers=1")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-2:] == [
        "kubernetes: ConfigMap small",
        "kubernetes: RayJob small in namespace team-a: 1 head pod(s) of 2 cpu and 4Gi memory, "
        "1 to 2 worker pod(s) of 1 cpu and 4Gi memory",
    ]
