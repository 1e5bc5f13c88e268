"""A Python function may return a ray.data.Dataset; the Ray that it starts is gone before the job starts its own."""

from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import ray

from configs.job import JobSpec
from orchestrator.sources import load_columns

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
