"""Losses that divide by a mask's counts or by weights are those of one process."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def answers(ring):
    return ring("cases_losses.py", 2)


@pytest.mark.parametrize(
    "case",
    [
        "case_masked",
        "case_masked_and_weighted",
        "case_mean_by_weight",
        "case_mean_by_weight_and_mask",
        "case_no_weight_on_one_rank",
        "case_steps_several_at_once",
        "case_eagerly",
        "case_unequal_rows",
    ],
)
def test_training_equals_one_process(answers, case):
    for difference, losses, expected in answers.values(case):
        assert difference < 1e-6
        np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_a_rank_may_test_and_compute_a_loss_alone(answers):
    first, second = answers.values("case_alone")
    assert first == second
