"""A checkpoint folder that `ls` explains: `model.keras`, `training.npz`, `progress.json`; in an epoch `metrics.npz`.

`model.keras` holds the layers and weights alone, so it is what gets registered; what only training needs, the
optimizer's slots and the seeds of dropout (which Keras does not save), stands beside it, and so does what the metrics
have counted in an epoch that is not over.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from trainers import hvd

MODEL, TRAINING, PROGRESS, METRICS = "model.keras", "training.npz", "progress.json", "metrics.npz"


@dataclass(frozen=True)
class Progress:
    """What was done when the checkpoint was written.

    epoch: finished epochs; step: finished steps of the next one; metrics: of the last finished epoch, none inside one.
    """

    epoch: int
    metrics: dict[str, float]
    step: int = 0


def save(model: keras.Model, progress: Progress, folder: Path, counted: Sequence[np.ndarray] = ()) -> None:
    """Write the files into an existing folder. counted: metric states of an epoch that is not over."""
    save_model(model, folder)
    np.savez(folder / TRAINING, *[variable.numpy() for variable in _training_variables(model)])
    (folder / PROGRESS).write_text(json.dumps(asdict(progress), indent=1), encoding="utf-8")
    if progress.step:
        np.savez(folder / METRICS, *counted)


def save_model(model: keras.Model, folder: Path) -> None:
    """Write layers and weights alone, as they are registered."""
    with _without_training_state(model):
        served(model).save(folder / MODEL)


def served(model: keras.Model) -> keras.Model:
    """The model without what only training needs: of a class of the user's own that Keras calls layer by layer (it has
    a train_step, say, but no `call`), the same layers in a plain Model, which needs no code of his to be loaded."""
    kind = type(model)
    is_own = not kind.__module__.startswith("keras.")
    if is_own and kind.call.__module__.startswith("keras.") and getattr(model, "outputs", None):
        functional = getattr(model, "_functional", model)  # a Sequential holds one
        return keras.Model(functional._inputs_struct, functional._outputs_struct, name=model.name)
    return model


def restore(model: keras.Model, folder: str | Path) -> Progress:
    """Load weights, optimizer slots and seeds into a built, compiled model."""
    progress = restore_weights(model, folder)
    with np.load(Path(folder) / TRAINING) as arrays:
        for variable, name in zip(_training_variables(model), arrays.files, strict=True):
            variable.assign(arrays[name])
    return progress


def counted_metrics(folder: str | Path) -> list[np.ndarray]:
    """The metric states of the unfinished epoch; none where the checkpoint was written at the end of one."""
    path = Path(folder) / METRICS
    if not path.is_file():
        return []
    with np.load(path) as arrays:
        return [arrays[name] for name in arrays.files]


def restore_weights(model: keras.Model, folder: str | Path) -> Progress:
    """Load the layers' variables alone."""
    with _without_training_state(model):  # else Keras warns that the file has none for the optimizer
        model.load_weights(Path(folder) / MODEL)
    return Progress(**json.loads((Path(folder) / PROGRESS).read_text(encoding="utf-8")))


def _training_variables(model: keras.Model) -> list[Any]:
    seeds = [variable for variable in model.variables if variable.path.endswith("seed_generator_state")]
    return [*hvd.slots_of(model), *seeds]


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
