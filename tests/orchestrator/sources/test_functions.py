"""What a Python function may return."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from configs.errors import DataError
from configs.job import JobSpec
from orchestrator.sources import load_columns


@pytest.fixture
def returned(job: Callable[..., JobSpec], monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], dict[str, np.ndarray]]:
    """Return `columns(result)`: the columns of a job whose function returns this."""

    def columns(result: Any) -> dict[str, np.ndarray]:
        module = ModuleType("rows")
        module.load = lambda: result  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "rows", module)
        monkeypatch.setattr(sys, "path", list(sys.path))
        return load_columns(job(function="rows:load")).columns

    return columns


DATA = {"x": [1.5, None, 3.0], "y": ["a", None, "b"], "unused": [1, 2, 3]}


@pytest.mark.parametrize(
    "result", [DATA, pd.DataFrame(DATA), pa.table(DATA)], ids=["lists", "a pandas frame", "an Arrow table"]
)
def test_the_same_rows(returned: Callable[[Any], dict[str, np.ndarray]], result: Any) -> None:
    columns = returned(result)
    assert list(columns) == ["x", "y"]
    np.testing.assert_array_equal(columns["x"].astype(float), [1.5, np.nan, 3])
    assert columns["y"].tolist() == ["a", None, "b"]


def test_an_arrow_table_with_a_column_twice(returned: Callable[[Any], dict[str, np.ndarray]]) -> None:
    with pytest.raises(DataError) as caught:
        returned(pa.table([pa.array([1]), pa.array([2])], ["x", "x"]))
    assert str(caught.value) == "data.function rows:load returned column 'x' twice; rename one"
