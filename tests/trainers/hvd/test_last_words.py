"""A script under a launcher, with no word about failures in it, says at its end which rank was the cause."""

import pytest

CASES = "cases_last_words.py"


@pytest.mark.parametrize(
    ("case", "cause"),
    [
        ("case_rank_raises", "lost the ring: Rank 1 on host {} failed: ValueError: Connection reset by peer, row 17"),
        ("case_rank_stops", "lost the ring: rank 1 on host {} had ended the program, without an error, while this"),
    ],
)
def test_cause_is_the_rank_that_failed(ring, case, cause):
    end = ring(CASES, 2, only=case, timeout_s=90.0)
    (said,) = [line for line in end.stderr[0].splitlines() if line.startswith("hvd: ")]
    host = said.split(" on host ")[1].split()[0]
    assert said.startswith(f"hvd: Rank 0 on host {host} {cause.format(host)}")
    assert end.codes[0] == 1
