"""Quantiles of many values: the same answers for the same values, near the rank that was asked for."""

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.preprocessing import rank_sketch
from configs.preprocessing.rank_sketch import RANK_ERROR, RankSketch

RANKS = np.linspace(0.001, 0.999, 199)


@pytest.fixture
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_sketch, "BUFFER_VALUES", 64)


def sketch_of(values: np.ndarray, cuts: tuple[int, ...] = ()) -> RankSketch:
    sketch = RankSketch()
    for block in np.split(values, cuts):
        sketch.add(block)
    return sketch


@pytest.mark.usefixtures("small_buffers")
@given(st.integers(0, 3000), st.lists(st.integers(0, 3000), max_size=5))
def test_blocks_of_any_size_give_the_same_answers(count: int, cuts: list[int]) -> None:
    values = np.random.default_rng(count).normal(size=count)
    in_blocks = sketch_of(values, tuple(sorted(min(cut, count) for cut in cuts)))
    np.testing.assert_array_equal(in_blocks.at(RANKS), sketch_of(values).at(RANKS))


ORDERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "rising": lambda values: values,
    "falling": lambda values: values[::-1],
    "by chance": lambda values: np.random.default_rng(0).permutation(values),
    "from both ends": lambda values: np.stack([values[: len(values) // 2], values[: len(values) // 2 - 1 : -1]], 1),
    "few distinct": lambda values: np.floor(values / len(values) * 3),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("pieces", [1, 7])
def test_answers_are_near_the_rank(order: str, pieces: int) -> None:
    values = ORDERS[order](np.arange(1_200_000, dtype=np.float64)).reshape(-1)
    merged = RankSketch()
    for piece in np.array_split(values, pieces):
        merged.merge(sketch_of(piece))
    found = merged.at(RANKS)
    rising = np.sort(values)
    below, upto = (np.searchsorted(rising, found, side) / len(values) for side in ("left", "right"))
    assert (below - RANK_ERROR <= RANKS).all()
    assert (RANKS <= upto + RANK_ERROR).all()
    assert merged.at([0, 1]).tolist() == [rising[0], rising[-1]]


def test_nothing_was_added() -> None:
    assert np.isnan(RankSketch().at([0, 0.5, 1])).all()


FITS = """
import numpy as np
from configs.data import DataSpec
from configs.preprocessing import Preprocessing
values = np.random.default_rng(0).normal(size=1_100_000)
spec = {"csv": "x.csv", "features": {"x": {"kind": "number", "fill": "median", "scale": "robust", "clip": [0.1, 0.9]}}}
spec["target"] = {"column": "y", "kind": "number"}
print(Preprocessing.fit({"x": values, "y": values}, DataSpec.model_validate(spec)).model_dump_json())
"""


def test_two_processes_write_the_same_document() -> None:
    documents = [subprocess.run([sys.executable, "-c", FITS], capture_output=True, check=True).stdout for _ in "ab"]
    assert documents[0] == documents[1] != b""
