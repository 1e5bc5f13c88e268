"""Every way a ring breaks ends with an error that names rank, host and cause, on every rank."""

import pytest

CASES = "cases_failures.py"


@pytest.fixture(scope="module")
def broken(ring):
    def run(case, **variables):
        return ring(CASES, 2, only=case, timeout_s=90.0, **variables)

    return run


def test_rank_that_raises_is_the_cause_on_all(broken):
    errors = broken("case_rank_raises").errors("case_rank_raises")
    cause = "failed: ValueError: row 17 has no label"
    assert errors[0][0] == "LostRankError"
    assert errors[0][1].startswith("Rank 0 on host")
    assert "lost the ring: Rank 1 on host" in errors[0][1]
    assert errors[0][1].endswith(cause)
    assert errors[1][0] == "TrainingError"
    assert errors[1][1].startswith("Rank 1 on host")
    assert errors[1][1].endswith(cause)


def test_rank_that_dies_is_named(broken):
    end = broken("case_rank_dies")
    assert end.codes == [3, 9]
    kind, message = end.answers[0]["case_rank_dies"]["error"]
    assert kind == "LostRankError"
    assert "lost the ring: rank 1 on host" in message
    assert "died or stopped answering, and left no reason" in message


def test_rank_that_sleeps_is_named_and_the_others_let_go(broken):
    for kind, message in broken("case_rank_stalls").errors("case_rank_stalls"):
        assert kind == "LostRankError"
        assert "lost the ring: rank 1 on host" in message
        assert "did not take part in step 4 within 8 s" in message


@pytest.mark.parametrize(
    ("case", "differences"),
    [
        ("case_other_dtype", ["Mismatched data types", "float32", "float16"]),
        ("case_other_shape", ["Mismatched ALLREDUCE tensor shapes", "[3]", "[4]"]),
    ],
)
def test_unlike_reductions_are_told_to_all(broken, case, differences):
    for rank, (kind, message) in enumerate(broken(case).errors(case)):
        assert kind == "TrainingError"
        assert message.startswith(f"Rank {rank} on host")
        assert "the ranks asked for different reductions" in message
        assert all(difference in message for difference in differences)


def test_models_that_differ_are_told_to_all_with_the_first_variable(broken):
    differences = {
        "shape": "variable 0: rank 1 has dense/kernel (6, 5) float32, rank 0 has dense/kernel (6, 4) float32",
        "count": "variable 4: rank 1 has dense#2/kernel (4, 4) float32",
        "name": "rank 1 has left/kernel (6, 4) float32, rank 0 has right/kernel (6, 4) float32",
        "dtype": "rank 1 has dense/kernel (6, 4) float64, rank 0 has dense/kernel (6, 4) float32",
    }
    for rank, told in enumerate(broken("case_models_differ").values("case_models_differ")):
        assert told.keys() == differences.keys()
        for kind, difference in differences.items():
            assert "Rank 1 on host" in told[kind]
            assert difference in told[kind]
            assert f"(Seen by rank {rank}.)" in told[kind]


def test_rank_that_never_arrives_is_named(broken):
    end = broken("case_rank_never_arrives", HOROVOD_GLOO_TIMEOUT_SECONDS="3")
    kind, message = end.answers[0]["case_rank_never_arrives"]["error"]
    assert kind == "TrainingError"
    assert "waited 3 s for rank 1 of 2, in vain" in message


def test_asking_before_init_says_so(broken):
    errors = broken("case_not_started").errors("case_not_started")
    assert [kind for kind, _ in errors] == ["TrainingError"] * 2
    assert all("hvd.rank() was called before hvd.init()" in message for _, message in errors)
