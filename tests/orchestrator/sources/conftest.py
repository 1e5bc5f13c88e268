"""Fixtures for the readers: a job's data section as a spec, and its rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.errors import DataError
from configs.job import JobSpec
from orchestrator.sources import BadRows, Loaded, Reading, blocks_of, found_files, load_columns

JOB = {"name": "job", "model": {"function": "a:b"}, "train": {"loss": "mse"}}


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., JobSpec]:
    """Return `make(**data)`: a job in a folder of its own that predicts y from a number x, unless data says more."""
    monkeypatch.chdir(tmp_path)

    def make(**data: Any) -> JobSpec:
        plain = {"features": {"x": "number"}, "target": {"column": "y"}}
        return JobSpec.model_validate(JOB | {"data": plain | data})

    return make


@pytest.fixture
def load(job: Callable[..., JobSpec]) -> Callable[..., Loaded]:
    """Return `load(**data)`: the rows held in memory, once it has been seen that they are the same in blocks."""

    def read(**data: Any) -> Loaded:
        spec = job(**data)
        whole = load_columns(spec)
        reading = Reading.of(spec.data, BadRows(spec.data.bad_rows == "skip"), whole=False)
        blocks = [block for found in found_files(spec).values() for block in blocks_of(found, reading)]
        assert sum(map(len, blocks)) == sum(whole.parts.values())
        for name in spec.data.columns:
            parts = np.concatenate([block.columns[name] for block in blocks])
            assert parts.tolist() == whole.columns[name].tolist() or np.array_equal(
                parts.astype(float), whole.columns[name].astype(float), equal_nan=True
            )
        assert reading.bad == whole.skipped
        return whole

    return read


@pytest.fixture
def problem(load: Callable[..., Loaded], tmp_path: Path) -> Callable[..., str]:
    """Return `problem(**data)`: the one line of the DataError that reading ends in, without the test's folder."""

    def read(**data: Any) -> str:
        with pytest.raises(DataError) as caught:
            load(**data)
        text = str(caught.value)
        assert "\n" not in text
        return text.replace(f"{tmp_path}/", "")

    return read
