"""The tables of Keras names, which spare the driver an import of TensorFlow, equal the installed Keras."""

import keras
import pytest

from configs.job import MAXIMISED
from configs.names import LOSSES, METRICS, OPTIMIZERS

NOT_BY_NAME = {"Optimizer", "LossScaleOptimizer", "MultiOptimizer", "ScheduleFreeAdamW"}
"""The base class; wrappers, which take optimizers; and one that trains other weights than it evaluates."""


def test_the_optimizers_are_those_of_keras() -> None:
    classes = {
        name
        for name, value in vars(keras.optimizers).items()
        if isinstance(value, type) and issubclass(value, keras.optimizers.Optimizer)
    }
    assert classes >= NOT_BY_NAME
    assert {name.lower() for name in classes - NOT_BY_NAME} == OPTIMIZERS


@pytest.mark.parametrize("name", sorted(OPTIMIZERS - {"lamb"}))  # Keras has it, but not by name
def test_optimizer(name: str) -> None:
    found = keras.optimizers.get({"class_name": name, "config": {"learning_rate": 0.5}})
    assert type(found).__name__.lower() == name
    assert float(found.learning_rate) == 0.5


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_loss(name: str) -> None:
    assert callable(keras.losses.get(name))


@pytest.mark.parametrize("name", sorted(METRICS))
def test_metric(name: str) -> None:
    assert callable(keras.metrics.get(name))


def test_what_is_maximised_is_a_metric() -> None:
    assert set(MAXIMISED) <= METRICS
