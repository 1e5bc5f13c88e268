"""A windowed order is a permutation that seed and epoch decide, and stays within a few shards at a time."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainers.order import FileOrder, WindowedOrder

SHARDS = st.lists(st.integers(1, 9), min_size=1, max_size=12)


@given(SHARDS, st.integers(1, 30), st.integers(0, 50), st.integers(0, 50))
def test_every_row_comes_once(shards: list[int], window: int, seed: int, epoch: int) -> None:
    order = WindowedOrder(shards, window_rows=window, seed=seed, epoch=epoch)
    assert len(order) == sum(shards)
    assert sorted(order[:].tolist()) == list(range(sum(shards)))
    again = WindowedOrder(shards, window_rows=window, seed=seed, epoch=epoch)
    assert again[:].tolist() == order[:].tolist()


@given(SHARDS, st.integers(1, 30), st.integers(0, 60), st.integers(0, 60))
def test_a_slice_is_a_part_of_the_whole(shards: list[int], window: int, start: int, stop: int) -> None:
    order = WindowedOrder(shards, window_rows=window, seed=1, epoch=0)
    whole = order[:]
    assert order[start:stop].tolist() == whole[start:stop].tolist()
    assert order[start:].tolist() == whole[start:].tolist()


@given(st.integers(1, 12), st.integers(1, 9), st.integers(1, 40), st.integers(0, 9))
def test_so_many_shards_are_needed_at_a_time(count: int, rows: int, window: int, epoch: int) -> None:
    """Shards that are begun and not finished are those of one window: as many as it takes to fill it."""
    order = WindowedOrder([rows] * count, window_rows=window, seed=0, epoch=epoch)
    left = dict.fromkeys(range(count), rows)
    for shard in (order[:] // rows).tolist():
        left[shard] -= 1
        assert sum(0 < each < rows for each in left.values()) <= -(-window // rows)


def test_orders_differ_between_epochs_and_seeds() -> None:
    orders = {
        tuple(WindowedOrder([10] * 8, window_rows=30, seed=seed, epoch=epoch)[:].tolist())
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9


def test_shards_and_rows_are_both_shuffled() -> None:
    order = WindowedOrder([100] * 10, window_rows=200, seed=0, epoch=0)[:]
    firsts = [rows.min() // 100 for rows in np.split(order, 5)]
    assert firsts != sorted(firsts)
    assert order[:200].tolist() != sorted(order[:200].tolist())


def test_file_order() -> None:
    assert FileOrder(5)[1:4].tolist() == [1, 2, 3]
    assert FileOrder(5)[3:].tolist() == [3, 4]
    assert len(FileOrder(5)) == 5
