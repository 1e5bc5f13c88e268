"""Metrics and logs on two ranks: alike on all, and those of one process."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def answers(ring):
    return ring("cases_metrics.py", 2)


def test_a_test_by_rank_0_alone_is_no_collective(answers):
    (first, tests), (second, none) = answers.values("case_lone_evaluate")
    assert first == second
    assert (tests, none) == (2, 0)


def test_evaluate_inside_fit_leaves_the_averaging_on(answers):
    first, second = answers.values("case_evaluate_inside_with_the_callback")
    assert first == second
    assert len(first["loss"]) == 3


def test_fit_without_the_callback_is_not_averaged(answers):
    first, second = answers.values("case_fit_without_the_callback_is_the_ranks_own")
    assert first[0] != second[0]


def test_a_rank_without_validation_rows_has_the_logs_of_the_others(answers):
    (history, tested), other = answers.values("case_empty_validation")
    assert [history, tested] == other
    assert history.keys() == {"loss", "mae", "val_loss", "val_mae"}
    assert len(tested) == 2


def test_numbers_of_any_shape_are_averaged_and_nested_ones_flattened(answers):
    first, second = answers.values("case_own_logs")
    assert first == second
    assert first["vector"] == [[0.5, 1.0]]
    assert first["matrix"] == [[[0.5], [1.0]]]
    assert (first["count"], first["flag"]) == ([0.5], [0.5])
    assert first["names"] == ["count", "flag", "loss", "matrix", "nothing", "text", "vector"]


@pytest.mark.parametrize("case", ["case_guide", "case_stock_metrics"])
def test_metrics_are_those_of_one_process(answers, case):
    for found, expected in answers.values(case):
        expected = dict(expected)
        if case == "case_guide":
            assert found.keys() == {"loss", "accuracy"}
        for name in found.keys() & expected.keys():
            np.testing.assert_allclose(found[name], expected[name], atol=1e-5, err_msg=name)
        assert found.keys() >= {"loss"}


def test_states_of_every_kind_are_joined(answers):
    expected = {"seen": [1.0], "rows": [8.0], "long": [[4.0, 8.0]], "half": [4.0], "rate": [0.5]}
    assert answers.values("case_kinds_of_states") == [expected] * 2


def test_logs_of_a_custom_train_step_are_averaged(answers):
    n = len(answers.codes)
    expected = {"my_rank": [(n - 1) / 2]}
    assert answers.values("case_custom_train_step_logs") == [expected] * n


def test_evaluate_on_unequal_rows_equals_one_process(answers):
    for mine, alone in answers.values("case_evaluate_alone"):
        np.testing.assert_allclose(mine, alone, atol=1e-5)
