"""Codes as columns: right, and no larger than the columns themselves."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.features import CategoryFeature
from configs.preprocessing import FittedCategory, FittedNumber, Scaling
from configs.preprocessing.categories import CategoryFitter
from configs.preprocessing.hot import hot

VALUES = 20_000


@given(st.lists(st.integers(-1, 4), max_size=20))
def test_a_code_is_a_1_in_its_column(codes: list[int]) -> None:
    expected = np.concatenate([np.eye(5), np.zeros((1, 5))])[np.array(codes, int)]
    np.testing.assert_array_equal(hot(np.array(codes, int), 5), expected)


ASKED = np.array(["u5"], object)
NAMES = tuple(f"u{number}" for number in range(VALUES))


@pytest.mark.parametrize(
    ("fitted", "asked", "place"),
    [
        (FittedCategory(values=NAMES, scaling=Scaling(), encode="one_hot"), ASKED, 6),
        (FittedCategory(values=NAMES, scaling=Scaling(), encode="multi_hot"), ASKED, 6),
        (FittedCategory(values=(), scaling=Scaling(), encode="hash", buckets=VALUES), ASKED, None),
        (
            FittedNumber(fill=0, scaling=Scaling(), edges=tuple(map(float, range(1, VALUES))), one_hot=True),
            np.array([5.0]),
            5,
        ),
    ],
    ids=["one_hot", "multi_hot", "hash", "buckets"],
)
def test_one_row_of_20_000_columns_takes_a_row_of_memory(
    fitted: FittedCategory | FittedNumber, asked: np.ndarray, place: int | None
) -> None:
    fitted = fitted.model_copy(update={"as_input": False})
    if isinstance(fitted, FittedCategory) and fitted.values:
        fitted.code("u5")  # the dictionary of the values is made once
    tracemalloc.start()
    try:
        row = fitted.transform("c", asked)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * 4 * fitted.outputs
    if place is not None:
        assert np.flatnonzero(row[0]).tolist() == [place]


def test_windows_of_several_values_in_one_cell() -> None:
    fitter = CategoryFitter("c", CategoryFeature(encode="multi_hot"))
    cells = np.array([["a|b", None], ["b", "c"]], object)
    fitter.update(cells)
    table = np.ones((2, 2, 6), np.float32)
    fitter.finish().write("c", cells, table[..., 1:5])
    assert table[..., 1:5].tolist() == [[[0, 1, 1, 0], [1, 0, 0, 0]], [[0, 0, 1, 0], [0, 0, 0, 1]]]
    assert table[..., [0, 5]].all()
