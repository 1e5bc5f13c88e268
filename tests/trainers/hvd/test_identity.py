"""What ranks train together meets, whatever each of them made before; what does not belong together is refused."""

import pytest

CASES = "cases_identity.py"


@pytest.fixture(scope="module")
def answers(ring):
    return ring(CASES, 2)


@pytest.mark.parametrize("case", ["case_retrace_on_one_rank", "case_more_was_made_on_one_rank"])
def test_ranks_meet_whatever_they_traced_or_made_before(answers, case):
    assert len(set(answers.values(case))) == 1


def test_what_rank_0_loaded_is_broadcast_to_ranks_that_built_or_kept(answers):
    values = answers.values("case_loaded_on_one_rank")
    assert values[0] == values[1]
    assert [iterations for _, iterations in values[0]] == [6, 9]


def test_gradients_of_other_variables_of_equal_size_are_refused_on_all(answers):
    for told in answers.values("case_other_variables_of_equal_size"):
        assert len(told) == 3
        for kind, message in told:
            assert kind == "TrainingError"
            assert "the values are as many, but not of the same variables" in message
            assert "tf.zeros_like(variable) in place of None" in message


def test_copies_of_a_distributed_optimizer_reduce(answers):
    assert answers.values("case_copies_stay_distributed") == [[[True, False, 0.25, 1]] * 5] * 2


def test_xla_is_off_wherever_a_collective_is(answers):
    values = answers.values("case_xla_is_off_wherever_a_collective_is")
    assert values[0] == values[1]
    (off, _, slots), (also_off, _, also_slots), (normal_off,) = values[0]
    assert [off, also_off, normal_off] == [False] * 3
    assert slots == also_slots == 2 + 2 * (2 + 2 * 4)  # of the unused model.optimizer, and of the two


def test_frozen_weights_are_not_averaged(answers):
    assert answers.values("case_only_moving_statistics_are_averaged") == [[True, 0.5]] * 2


def test_messages_arrive_as_they_were_sent(answers):
    assert answers.values("case_messages") == [[[True, True], "é", None, True, ["", "x"]]] * 2


def test_the_fix_that_the_refusal_names_works(answers):
    first, second = answers.values("case_zeros_where_a_rank_has_no_gradient")
    assert first == second
