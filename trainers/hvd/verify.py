"""Two trainings of one job compared, variable by variable; what `ringmaster verify` prints.

Knows nothing about how the trainings were run.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from configs.errors import TrainingError


@dataclass(frozen=True)
class Difference:
    """How far one variable of two trainings is apart."""

    name: str
    largest: float
    scale: float
    """The largest absolute value of the variable in the first training."""


def compare_weights(expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> list[Difference]:
    """Return the largest difference of every variable, the largest first.

    Raises TrainingError when the two hold other variables or shapes.
    """
    shapes = [{name: array.shape for name, array in side.items()} for side in (expected, found)]
    if shapes[0] != shapes[1]:
        odd = sorted(set(shapes[0].items()) ^ set(shapes[1].items()))
        raise TrainingError(
            f"The two trainings built different models; they differ first in {odd[0][0]} "
            f"{odd[0][1]}. Expected the model function to build the same model whatever the rank."
        )
    differences = [
        Difference(name, _largest(array - found[name]), _largest(array)) for name, array in expected.items()
    ]
    return sorted(differences, key=lambda difference: -difference.largest)


def _largest(array: np.ndarray) -> float:
    # NaN in one training only must not pass for a small difference.
    return float(np.max(np.abs(np.nan_to_num(array, nan=np.inf)), initial=0.0))
