"""Every rank gets cores of its own, and together they use all."""

import pytest

from trainers.hvd.affinity import cores_of_rank


@pytest.mark.parametrize(
    ("cores", "ranks", "expected"),
    [
        ([0, 1], 2, [[0], [1]]),
        ([0, 1, 2, 3, 4], 2, [[0, 1], [2, 3, 4]]),
        ([7, 3, 5], 1, [[3, 5, 7]]),
        ([4, 6], 3, [[4], [6], [4]]),
    ],
)
def test_cores_are_shared_out(cores, ranks, expected):
    assert [cores_of_rank(cores, rank, ranks) for rank in range(ranks)] == expected
