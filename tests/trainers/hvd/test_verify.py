"""Two trainings compared by variable."""

import numpy as np
import pytest

from configs.errors import TrainingError
from trainers.hvd.verify import compare_weights


def test_largest_difference_comes_first():
    expected = {"0:kernel": np.float32([[1, -4]]), "1:bias": np.float32([2])}
    found = {"0:kernel": np.float32([[1, -3.5]]), "1:bias": np.float32([1])}
    first, second = compare_weights(expected, found)
    assert (first.name, first.largest, first.scale) == ("1:bias", 1.0, 2.0)
    assert (second.name, second.largest, second.scale) == ("0:kernel", 0.5, 4.0)


def test_nan_in_one_training_is_no_small_difference():
    (difference,) = compare_weights({"w": np.float32([1])}, {"w": np.float32([np.nan])})
    assert difference.largest == np.inf


def test_other_models_are_refused():
    with pytest.raises(TrainingError, match="built different models; they differ first in 0:b"):
        compare_weights({"0:a": np.zeros(2)}, {"0:b": np.zeros(2), "0:a": np.zeros(2)})
