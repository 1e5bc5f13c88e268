"""Fixtures for all tests: a small job that trains in a second, and where the real data sets lie."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from configs.job import JobSpec
from configs.load import load_spec

ROOT = Path(__file__).parents[1]

SMALL_CSV = "size,colour,label\n" + "".join(
    f"{size},{'red' if size % 3 else 'blue'},{'big' if size > 20 else 'small'}\n" for size in range(1, 42)
)
"""41 rows: not a multiple of the batch, so that the last global batch is short."""

SMALL_JOB = {
    "name": "small",
    "data": {
        "csv": "small.csv",
        "features": {"size": "number", "colour": "category"},
        "target": {"column": "label"},
        "split": {"valid": 0.2, "test": 0.2},
    },
    "model": {"function": "trainers.zoo.mlp:build", "params": {"hidden": [8], "dropout": 0.0}},
    "train": {
        "epochs": 2,
        "global_batch_rows": 8,
        "optimizer": {"name": "adam", "params": {"learning_rate": 0.01}},
        "loss": "binary_crossentropy",
        "metrics": ["accuracy"],
    },
    "cluster": {"workers": 2},
}


@pytest.fixture
def small_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., JobSpec]:
    """Return `make(*overrides)`: a job on 41 rows in a folder of its own, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "small.csv").write_text(SMALL_CSV)
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(SMALL_JOB))
    return lambda *overrides: load_spec("job.yaml", overrides)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets, which are not part of the project; skip where it is absent."""
    folder = Path(os.environ.get("RINGMASTER_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data sets at {folder}; set RINGMASTER_TEST_DATA")
    return folder
