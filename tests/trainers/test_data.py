"""Sharding covers every row exactly once, in step, and weighs so that the ranks' average is the global mean."""

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.data import (
    evaluation_dataset,
    may_be_empty,
    rank_batches,
    rank_chunks,
    rank_slice,
    steps_per_epoch,
    training_dataset,
)
from trainers.job import Split
from trainers.order import epoch_order

ROWS, BATCH, SIZE = st.integers(1, 60), st.integers(1, 20), st.integers(1, 9)


def real_rows(order: np.ndarray, batch: int, **shard: int) -> list[np.ndarray]:
    """Per step the rows that this rank trains on: none where its share is 0."""
    return [rows if share else rows[:0] for rows, share in rank_batches(order, batch, **shard)]


@given(ROWS, BATCH, SIZE)
def test_every_row_is_seen_exactly_once_and_all_ranks_step_together(rows: int, batch: int, size: int) -> None:
    order = epoch_order(rows, seed=1, epoch=2)
    ranks = [real_rows(order, batch, rank=rank, size=size) for rank in range(size)]
    assert {len(steps) for steps in ranks} == {steps_per_epoch(rows, batch)}
    joined = [np.concatenate(parts).tolist() for parts in zip(*ranks, strict=True)]
    assert joined == [order[start : start + batch].tolist() for start in range(0, rows, batch)]
    assert sorted(sum(joined, [])) == list(range(rows))


@given(ROWS, BATCH, SIZE)
def test_global_batches_do_not_depend_on_the_number_of_ranks(rows: int, batch: int, size: int) -> None:
    order = epoch_order(rows, seed=3, epoch=0)
    alone = [part.tolist() for part in real_rows(order, batch, rank=0, size=1)]
    ranks = [real_rows(order, batch, rank=rank, size=size) for rank in range(size)]
    assert [np.concatenate(parts).tolist() for parts in zip(*ranks, strict=True)] == alone


@given(ROWS, BATCH, SIZE, st.integers(0, 2**32 - 1))
def test_the_average_of_weighted_local_means_is_the_global_mean(rows: int, batch: int, size: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=rows)
    order = np.arange(rows)
    steps = zip(*(rank_batches(order, batch, rank=rank, size=size) for rank in range(size)), strict=True)
    for start, step in zip(range(0, rows, batch), steps, strict=True):
        average = sum(share * values[mine].mean() for mine, share in step) / size
        assert average == pytest.approx(values[start : start + batch].mean(), abs=1e-12)
        assert sum(share for _, share in step) == pytest.approx(size)


@given(ROWS, BATCH, SIZE)
def test_a_rank_always_has_a_row_to_step_with(rows: int, batch: int, size: int) -> None:
    """Also when there are fewer rows than ranks: a row of that batch, with share 0."""
    order = epoch_order(rows, seed=0, epoch=0)
    empty = False
    for rank in range(size):
        for step, (mine, share) in enumerate(rank_batches(order, batch, rank=rank, size=size)):
            assert len(mine) >= 1
            assert set(mine) <= set(order[step * batch : (step + 1) * batch])
            empty = empty or share == 0
    assert may_be_empty(rows, batch, size) == empty


@given(ROWS, BATCH, SIZE, st.data())
def test_a_resume_on_any_number_of_ranks_goes_on_with_the_very_next_row(
    rows: int, batch: int, size: int, data: st.DataObject
) -> None:
    """The rows of the first steps, on one number of ranks, and the rest, on another, are the epoch."""
    done = data.draw(st.integers(0, steps_per_epoch(rows, batch)))
    other = data.draw(SIZE)
    order = epoch_order(rows, seed=5, epoch=1)
    before = [real_rows(order, batch, rank=rank, size=size)[:done] for rank in range(size)]
    after = [real_rows(order, batch, rank=rank, size=other, first_step=done) for rank in range(other)]
    seen = [part for ranks in (before, after) for step in zip(*ranks, strict=True) for part in step]
    assert np.concatenate(seen).tolist() == order.tolist()


@given(ROWS, BATCH, SIZE, st.integers(1, 8))
def test_how_many_steps_travel_together_changes_nothing(rows: int, batch: int, size: int, steps: int) -> None:
    order = epoch_order(rows, seed=5, epoch=1)
    for rank in range(size):
        chunks = rank_chunks(order, batch, rank=rank, size=size, steps=steps)
        found = [(row.tolist(), share) for rows_of_chunk, share in chunks for row in rows_of_chunk]
        single = [(row.tolist(), share) for row, share in rank_batches(order, batch, rank=rank, size=size)]
        assert found == single


METRICS = [
    keras.metrics.MeanMetricWrapper(keras.losses.mean_squared_error),
    keras.metrics.BinaryAccuracy(),
    keras.metrics.AUC(num_thresholds=11),
]


@settings(max_examples=25)
@given(ROWS, BATCH, SIZE, st.booleans())
def test_metric_states_summed_over_ranks_give_the_metrics_of_one_process(
    rows: int, batch: int, size: int, weighted: bool
) -> None:
    rng = np.random.default_rng(rows)
    label, output = rng.integers(0, 2, rows).astype(np.float32), rng.random(rows, dtype=np.float32)
    weight = rng.random(rows, dtype=np.float32) if weighted else np.ones(rows, np.float32)
    order = epoch_order(rows, seed=5, epoch=1)
    for metric in METRICS:
        results = []
        for ranks in (1, size):
            total = [np.zeros(variable.shape) for variable in metric.variables]
            for rank in range(ranks):
                metric.reset_state()
                for mine in real_rows(order, batch, rank=rank, size=ranks):
                    if len(mine):
                        metric.update_state(label[mine, None], output[mine, None], sample_weight=weight[mine, None])
                total = [a + np.asarray(b) for a, b in zip(total, metric.variables, strict=True)]
            for variable, value in zip(metric.variables, total, strict=True):
                variable.assign(value)
            results.append(float(metric.result()))
        assert results[1] == pytest.approx(results[0], abs=1e-5)


@given(st.integers(0, 50), SIZE)
def test_slices_join_and_differ_by_one_row_at_most(batch: int, size: int) -> None:
    slices = [rank_slice(batch, rank=rank, size=size) for rank in range(size)]
    assert [slices[0].start, *(part.stop for part in slices)] == [*(part.start for part in slices), batch]
    lengths = [part.stop - part.start for part in slices]
    assert max(lengths) - min(lengths) <= 1
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize(
    ("rows", "batch", "size", "expected"),
    [
        (10, 5, 5, False),
        (10, 5, 6, True),
        (10, 4, 2, False),
        (10, 4, 3, True),
        (12, 4, 4, False),
        (3, 8, 4, True),
        (4, 8, 4, False),
        (1, 1, 1, False),
    ],
)
def test_may_be_empty(rows: int, batch: int, size: int, expected: bool) -> None:
    assert may_be_empty(rows, batch, size) is expected


@given(ROWS, st.integers(0, 1000), st.integers(0, 1000))
def test_an_order_is_a_permutation_that_seed_and_epoch_decide(rows: int, seed: int, epoch: int) -> None:
    order = epoch_order(rows, seed=seed, epoch=epoch)
    assert sorted(order) == list(range(rows))
    assert order.tolist() == epoch_order(rows, seed=seed, epoch=epoch).tolist()


def test_orders_differ_between_epochs_and_seeds() -> None:
    orders = [tuple(epoch_order(50, seed=seed, epoch=epoch)) for seed in range(3) for epoch in range(3)]
    assert len(set(orders)) == 9


@pytest.mark.parametrize(("rows", "batch", "steps"), [(1, 8, 1), (8, 8, 1), (9, 8, 2), (16, 8, 2), (41, 8, 6)])
def test_steps_per_epoch(rows: int, batch: int, steps: int) -> None:
    assert steps_per_epoch(rows, batch) == steps


def taken(dataset: Any, steps: int) -> list[tuple[list[float], ...]]:
    return [tuple(part.tolist() for part in batch) for batch in dataset.take(steps).as_numpy_iterator()]


SPLIT = Split({"x": np.arange(5, dtype=np.float32)[:, np.newaxis]}, np.arange(5) * 10)


def test_evaluation_batches_come_in_file_order_and_again() -> None:
    rank_1 = evaluation_dataset(SPLIT, global_batch_rows=3, rank=1, size=2)
    expected = [([[2.0]], [20], [pytest.approx(2 / 3)]), ([[4.0]], [40], [1.0])]
    assert taken(rank_1, 4) == expected * 2


def test_training_batches_follow_the_order_of_each_epoch() -> None:
    dataset = training_dataset(SPLIT, global_batch_rows=2, rank=0, size=1, seed=7, first_epoch=4)
    seen = [int(row[0]) for x, _, _ in taken(dataset, 6) for row in x]
    assert seen == [*epoch_order(5, seed=7, epoch=4), *epoch_order(5, seed=7, epoch=5)]


def test_a_resumed_run_sees_what_it_would_have_seen() -> None:
    shard = {"global_batch_rows": 2, "rank": 1, "size": 2, "seed": 0}
    whole = taken(training_dataset(SPLIT, **shard, first_epoch=0), 9)
    assert taken(training_dataset(SPLIT, **shard, first_epoch=2), 3) == whole[6:]
    assert taken(training_dataset(SPLIT, **shard, first_epoch=1, first_step=2), 4) == whole[5:]


def test_a_rank_without_rows_gets_one_of_share_0() -> None:
    dataset = evaluation_dataset(SPLIT.take(slice(0, 1)), global_batch_rows=4, rank=2, size=3)
    assert taken(dataset, 1) == [([[0.0]], [0], [0.0])]


def test_several_inputs_stay_a_dict_by_name() -> None:
    split = Split({"a": np.zeros((3, 1), np.float32), "b": np.ones((3, 2, 2), np.float32)}, np.zeros(3, np.float32))
    x, y, share = evaluation_dataset(split, global_batch_rows=3, rank=0, size=1).element_spec
    assert {name: tuple(spec.shape) for name, spec in x.items()} == {"a": (None, 1), "b": (None, 2, 2)}
    assert (tuple(y.shape), tuple(share.shape)) == ((None,), (None,))


def test_weights_travel_with_their_rows() -> None:
    split = Split(SPLIT.inputs, SPLIT.target, weight=np.arange(5, dtype=np.float32) / 4)
    dataset = evaluation_dataset(split, global_batch_rows=3, rank=1, size=2)
    assert [weight for _, _, weight, _ in taken(dataset, 2)] == [[0.5], [1.0]]
