"""A Python function may return a ray.data.Dataset; the Ray that it starts is gone before the job starts its own."""

import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import ray

from configs.errors import DataError
from configs.job import JobSpec
from orchestrator.sources import load_columns
from orchestrator.sources.functions import called_source

pytestmark = pytest.mark.cluster

SOURCE = """
    import numpy as np
    import ray.data

    def rows(count):
        rows = ray.data.range(count, override_num_blocks=3)
        return rows.map(lambda row: {
            "x": None if row["id"] == 4 else row["id"] / 4,
            "image": np.full((2, 2), row["id"], np.uint8),
            "y": "ab"[row["id"] % 2],
        })
"""


def job(folder: Path, params: dict[str, int]) -> JobSpec:
    (folder / "from_ray.py").write_text(dedent(SOURCE))
    data = {
        "function": "from_ray:rows",
        "params": params,
        "features": {"x": "number", "image": "image"},
        "target": {"column": "y"},
    }
    spec = JobSpec.model_validate({"name": "job", "model": {"function": "a:b"}, "data": data})
    spec._home = folder
    return spec


@pytest.mark.filterwarnings("ignore")  # Ray's own, at the start of a cluster
def test_a_ray_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    columns = load_columns(job(tmp_path, {"count": 10})).columns
    order = np.argsort(columns["image"][:, 0, 0])
    assert columns["image"][order, 1, 1].tolist() == list(range(10))
    assert columns["image"].dtype == np.uint8
    assert columns["y"][order].tolist() == list("ababababab")
    expected = [number / 4 for number in range(10)]
    expected[4] = np.nan
    np.testing.assert_array_equal(columns["x"][order].astype(float), expected)
    assert not ray.is_initialized()


BAD = """
    import ray.data

    def rows(kind):
        if kind == "none":
            return ray.data.range(3).filter(lambda row: False)
        return ray.data.from_items([{"x": 1.0, "image": 0, "y": "a"}, {"x": 2.0, "image": 0, "y": "b"}])
"""


@pytest.mark.filterwarnings("ignore")
def test_what_goes_wrong_while_rows_are_stored_is_not_the_functions_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "taken").write_text("a file where a folder is to be made")
    spec = job(tmp_path, {})
    (tmp_path / "from_ray.py").write_text(dedent(BAD))
    monkeypatch.delitem(sys.modules, "from_ray", raising=False)
    for kind, folder, expected in (
        ("none", tmp_path / "rows", "data.function from_ray:rows has no rows; a job needs at least a few"),
        ("some", tmp_path / "taken" / "rows", "cannot be written to .*; give another folder with folder=PATH"),
    ):
        data = spec.data.model_copy(update={"params": {"kind": kind}})
        with pytest.raises(DataError, match=expected):
            called_source(data, tmp_path, folder, lambda size: True)
