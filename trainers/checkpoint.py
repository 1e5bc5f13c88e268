"""A checkpoint folder that `ls` explains: `model.keras`, `training.npz`, `progress.json`.

`model.keras` holds the layers and weights alone, so it is what gets registered; what only training needs, the
optimizer's slots and the seeds of dropout (which Keras does not save), stands beside it.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

MODEL, TRAINING, PROGRESS = "model.keras", "training.npz", "progress.json"


@dataclass(frozen=True)
class Progress:
    """What was done when the checkpoint was written: `epoch` counts finished epochs."""

    epoch: int
    metrics: dict[str, float]


def save(model: keras.Model, progress: Progress, folder: Path) -> None:
    """Write the three files into an existing folder."""
    with _without_training_state(model):
        model.save(folder / MODEL)
    np.savez(folder / TRAINING, *[variable.numpy() for variable in _training_variables(model)])
    (folder / PROGRESS).write_text(json.dumps(asdict(progress), indent=1), encoding="utf-8")


def restore(model: keras.Model, folder: str | Path) -> Progress:
    """Load weights, optimizer slots and seeds into a built, compiled model."""
    progress = restore_weights(model, folder)
    with np.load(Path(folder) / TRAINING) as arrays:
        for variable, name in zip(_training_variables(model), arrays.files, strict=True):
            variable.assign(arrays[name])
    return progress


def restore_weights(model: keras.Model, folder: str | Path) -> Progress:
    """Load the layers' variables alone."""
    with _without_training_state(model):  # else Keras warns that the file has none for the optimizer
        model.load_weights(Path(folder) / MODEL)
    return Progress(**json.loads((Path(folder) / PROGRESS).read_text(encoding="utf-8")))


def _training_variables(model: keras.Model) -> list[Any]:
    seeds = [variable for variable in model.variables if variable.path.endswith("seed_generator_state")]
    return [*model.optimizer.variables, *seeds]


@contextmanager
def _without_training_state(model: keras.Model) -> Iterator[None]:
    """Hide optimizer and compile configuration, which Keras would save with the layers and look for in the file."""
    hidden: dict[str, Any] = {"optimizer": model.optimizer, "compiled": model.compiled}
    model.optimizer, model.compiled = None, False
    try:
        yield
    finally:
        for name, value in hidden.items():
            setattr(model, name, value)
