"""What Horovod's names and arguments do, by value on two ranks."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def answers(ring):
    return ring("cases_names.py", 2)


def test_allreduce_in_every_spelling(answers):
    for value in answers.values("case_allreduce"):
        assert value == {
            "average": [1.5, 4.0],
            "average=False": [3.0, 8.0],
            "keras order": [6.0, 16.0],
            "tensorflow order": [3.0, 8.0],
            "value=": [2.0, 4.0],
            "scaled": [6.0, 16.0],
            "adasum": [3.0, 4.0],
            "slices": [[1.0], [1.0], [0.0], [0.0]],
            "grouped": [[3.0, 8.0], [6.0, 16.0]],
        }


def test_exchanges(answers):
    for rank, value in enumerate(answers.values("case_exchange")):
        rows = [[float(rank)], [10.0 + rank]]
        assert value["alltoall"] == [rows, rows, [1, 1]]
        assert value["unsigned"] == ([2**32 - 1] * 2 if rank == 0 else [0, 1])
        assert value["scatter"] == [[10.0 + 2 * rank]]
        assert value["scatters"] == [[[5.0 + rank]], [[10.0 + 2 * rank]]]
        assert value["gathers"] == [[[0.0], [1.0], [10.0], [11.0]], [[1.0], [2.0], [11.0], [12.0]]]
        assert value["object"] == 1
        assert value["sizes"] == [2, rank, 2, rank]
        assert value["built"] == [True, True, False, True]


def test_broadcasts_leave_local_variables_alone(answers):
    assert answers.values("case_broadcasts") == [[[[2.0], [1]], True, 0.0]] * 2


def test_aggregated_passes_are_summed_unless_told_otherwise(answers):
    assert answers.values("case_sum_of_passes") == [[-4.0]] * 2


def test_local_layers_are_not_reduced(answers):
    for rank, (moved, differences) in enumerate(answers.values("case_local_layers")):
        np.testing.assert_allclose(moved, [1.0, rank], rtol=1e-5, atol=1e-6)
        assert differences[0] > 0
        assert differences[1] == 0


def test_tape_keeps_the_structure_and_unconnected_gradients(answers):
    assert answers.values("case_tape_keeps_structures") == [[[1.5], [0.0], [1.5]]] * 2


def test_load_model_takes_horovods_arguments(answers):
    assert answers.values("case_load_model") == [["Steep", True]] * 2


def test_best_model_checkpoint_asks_for_its_file(answers):
    assert (
        answers.values("case_best_model")
        == ['BestModelCheckpoint has no file to write. Set callback.filepath = "best.keras" before fit.'] * 2
    )


def test_warm_up_reaches_the_rate(answers):
    for value in answers.values("case_warm_up"):
        np.testing.assert_allclose(value["3 at once"][:4], [0.05 + 0.05 * s / 8 for s in (3, 4, 7, 8)], rtol=1e-5)
        np.testing.assert_allclose(value["3 at once"][4:], 0.1, rtol=1e-5)
        np.testing.assert_allclose(value["resumed"][:4], [0.05 + 0.05 * s / 8 for s in (5, 6, 7, 8)], rtol=1e-5)
        assert value["refused"] == (
            "LearningRateWarmup goes on at epoch 2, and the optimizer's rate 0.03 may be one of the way up. Give "
            "initial_lr, the rate to reach."
        )


def test_momentum_follows_the_rate(answers):
    for corrected, plain in answers.values("case_momentum_follows_the_rate"):
        np.testing.assert_allclose([corrected, plain], [-0.15, -0.6], rtol=1e-5)


def test_warm_up_reaches_the_scaled_rate(answers):
    n = len(answers.codes)
    way_up = [0.1 * (1 + (n - 1) * step / 8) for step in range(1, 9)]
    for rates in answers.values("case_warm_up_from_the_optimizers_rate"):
        np.testing.assert_allclose(rates, way_up + [0.1 * n] * 4, rtol=1e-5)


def test_wrapping_twice_is_the_same_or_an_error(answers):
    assert answers.values("case_wrapping_twice") == [[True, "SpecError"]] * len(answers.codes)
