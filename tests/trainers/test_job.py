"""What the driver hands to a worker: rows are taken from all arrays alike."""

import numpy as np

from trainers.job import Split

SPLIT = Split({"a": np.arange(4), "b": np.arange(8).reshape(4, 2)}, np.arange(4) * 10)


def test_rows_are_taken_from_every_array() -> None:
    part = SPLIT.take(np.array([3, 1]))
    assert part.inputs["a"].tolist() == [3, 1]
    assert part.inputs["b"].tolist() == [[6, 7], [2, 3]]
    assert part.target.tolist() == [30, 10]
    assert len(part) == 2


def test_one_input_is_an_array_and_several_are_a_dict() -> None:
    assert set(SPLIT.x) == {"a", "b"}
    assert Split({"a": SPLIT.inputs["a"]}, SPLIT.target).x.tolist() == [0, 1, 2, 3]
