"""The binding on real rings of two and three processes, against one process with the same global
batches.
"""

import numpy as np
import pytest

CASES = "cases_binding.py"


@pytest.fixture(scope="module", params=[2, 3])
def answers(ring, request):
    return ring(CASES, request.param)


def assert_like_one_process(values):
    assert len({value["sha256"] for value in values}) == 1
    for value in values:
        assert value["difference"] < 1e-5
        assert value["history"].keys() == value["expected"].keys()
        for name, numbers in value["expected"].items():
            np.testing.assert_allclose(value["history"][name], numbers, atol=1e-5, err_msg=name)


def test_ranks_know_their_place(answers):
    n = len(answers.codes)
    assert answers.values("case_ring") == [[rank, n, rank, n, True] for rank in range(n)]


def test_collectives_give_the_values_of_all_ranks(answers):
    n = len(answers.codes)
    for value in answers.values("case_collectives"):
        assert value == {
            "average": [(n - 1) / 2, n - 1],
            "sum": [n * (n + 1) // 2],
            "max": [n - 1],
            "gathered": [rank for rank in range(n) for _ in range(rank + 1)],
            "unsigned": [4000000001],
            "object": {"from": 1},
            "objects": [[rank] * rank for rank in range(n)],
        }


@pytest.mark.parametrize("case", ["case_sgd", "case_adam_clipped_with_moving_average", "case_unequal_rows"])
def test_training_on_shards_equals_one_process(answers, case):
    assert_like_one_process(answers.values(case))


def test_gradient_share_is_forgotten_after_use(answers):
    assert [value["left"] for value in answers.values("case_unequal_rows")] == [None] * len(answers.codes)


def test_broadcast_state_gives_weights_slots_and_seeds_of_the_root(answers):
    values = answers.values("case_broadcast_state")
    assert len({value["sha256"] for value in values}) == 1
    assert all(value["slots"] == values[0]["slots"] for value in values)
    assert values[0]["slots"][0] == 2  # two steps of the root's training
    assert all(value["seeds"] == values[0]["seeds"] for value in values)
    assert values[0]["apart"] == values[0]["seeds"]
    assert len({str(value["apart"]) for value in values}) == len(values)


def test_average_batch_norm_is_the_mean_over_ranks(answers):
    values = answers.values("case_batch_norm_average")
    mean = np.mean([value["before"] for value in values], axis=0)
    assert len({str(value["before"]) for value in values}) == len(values)
    assert len({value["sha256"] for value in values}) == 1
    for value in values:
        np.testing.assert_allclose(value["after"], mean, atol=1e-6)


def test_apply_weighs_gradients_where_no_loss_was_scaled(answers):
    n = len(answers.codes)
    for weighed, plain in answers.values("case_share_without_scale_loss"):
        assert weighed == pytest.approx(-3.0 * (n - 1) / n)
        assert plain == pytest.approx(-1.0)
