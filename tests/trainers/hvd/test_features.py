"""What a Horovod user turns on, on two real ranks (three with -m slow), by value."""

import math

import numpy as np
import pytest

CASES = "cases_features.py"


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow)])
def answers(ring, request):
    return ring(CASES, request.param, HOROVOD_DYNAMIC_PROCESS_SETS="1")


@pytest.mark.parametrize(
    "case",
    [
        "case_keras_accumulation",
        "case_predivide",
        "case_two_groups",
        "case_sum_is_average_times_ranks",
        "case_run_eagerly",
        "case_several_steps_per_execution",
        "case_two_inputs_and_outputs",
    ],
)
def test_training_equals_one_process(answers, case):
    values = answers.values(case)
    assert len({value["sha256"] for value in values}) == 1
    for value in values:
        assert value["difference"] < 1e-5
        for name, numbers in value["expected"].items():
            np.testing.assert_allclose(value["history"][name], numbers, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(("case", "rounding"), [("case_fp16", 1e-3), ("case_bf16", 8e-3)])
def test_compression_rounds_and_keeps_ranks_equal(answers, case, rounding):
    values = answers.values(case)
    assert len({value["sha256"] for value in values}) == 1
    for value in values:
        # Not exact, or nothing was compressed; not far off, or something else went wrong.
        assert 1e-6 < value["difference"] < rounding


def test_local_aggregation_applies_the_mean_of_the_passes(answers):
    for value in answers.values("case_backward_passes"):
        assert value["difference"] < 1e-5
        assert value["iterations"] == 4  # eight batches, two passes each


def test_adasum_averages_equal_and_adds_orthogonal_gradients(answers):
    n = len(answers.codes)
    for value in answers.values("case_adasum"):
        np.testing.assert_allclose(value[0], [-2.0] * n + [0.0] * (4 - n), atol=1e-6)
        np.testing.assert_allclose(value[1], [-3.0, -4.0], atol=1e-6)


def test_sparse_gradients_equal_one_process(answers):
    for sparse, fp16, bf16, dense in answers.values("case_sparse"):
        assert sparse < 1e-5
        assert 1e-6 < fp16 < 2e-3
        assert 1e-6 < bf16 < 2e-2
        assert dense < 1e-5


def test_sparse_gradients_stay_sparse(answers):
    n = len(answers.codes)
    for indices, rows in answers.values("case_sparse_stays_sparse"):
        assert indices == list(range(n))
        np.testing.assert_allclose(rows, [(1 + rank) / n for rank in range(n)], rtol=1e-6)


def test_non_finite_gradient_of_one_rank_skips_the_step_on_all(answers):
    expected = ["LossScaleOptimizer", True, True, 2.0**14, True]
    assert answers.values("case_non_finite_gradient_skips_on_all") == [expected] * len(answers.codes)


def test_loss_scaling_around_the_reduction_is_put_right_or_refused_before_it_hangs(answers):
    for moved, kind, message in answers.values("case_loss_scale_around_the_reduction"):
        assert moved == [True, False]
        assert kind == "TrainingError"
        assert "DistributedOptimizer(LossScaleOptimizer(optimizer))" in message


def test_frozen_layers_stay_and_train_again(answers):
    assert answers.values("case_freeze_and_recompile") == [[True, False]] * len(answers.codes)


def test_tape_equals_one_process(answers):
    assert max(answers.values("case_tape_and_custom_loop")) < 1e-6


def test_sync_batch_norm_on_unequal_rows_equals_one_process(answers):
    for value in answers.values("case_sync_batch_norm"):
        assert value["changed"] == 1
        assert value["difference"] < 1e-5
        assert value["saved"] == ["keras.layers", "BatchNormalization"]


def test_process_sets_reduce_apart(answers):
    n = len(answers.codes)
    mean_of_others = sum(range(1, n)) / (n - 1)
    values = answers.values("case_process_sets")
    assert values == [[0.0]] + [[-mean_of_others]] * (n - 1)


def test_watch_names_the_variable_that_differs(answers):
    for rank, (steps, kind, message) in enumerate(answers.values("case_equal_weights_are_watched")):
        assert (steps, kind) == (8, "TrainingError")
        assert "After step 1 rank 1 on host" in message
        assert "/kernel." in message
        assert f"(Seen by rank {rank}.)" in message


def test_saved_model_holds_the_stock_optimizer_with_its_slots(answers):
    for value in answers.values("case_saved_optimizer_is_stock"):
        assert value == {
            "type": "keras.src.optimizers.adam.Adam",
            "same": True,
            "distributed": [True, False, True],
            "config": "keras.optimizers",
        }


def test_xla_is_switched_off_with_a_message_however_training_starts(answers):
    values = answers.values("case_xla_is_switched_off")
    assert all(value == values[0] for value in values)
    for way in values[0]:
        assert way["jit_compile"] is False
        (said,) = way["said"]
        assert said.startswith("Model '")
        assert said.endswith(
            "was compiled with jit_compile on. XLA cannot compile Horovod's reduction, so jit_compile is off now. "
            "Pass jit_compile=False to model.compile to say so yourself."
        )


def test_xla_stays_on_for_a_stock_optimizer(answers):
    assert answers.values("case_xla_stays_on_for_a_stock_optimizer") == [True] * len(answers.codes)


def test_learning_rate_rules():
    from trainers import hvd

    rates = [hvd.scale_learning_rate(0.1, rule=rule, ranks=4) for rule in ("none", "linear", "sqrt")]
    np.testing.assert_allclose(rates, [0.1, 0.4, 0.1 * math.sqrt(4)])
