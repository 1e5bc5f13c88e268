"""`Predictor`: raw rows -> labels, by the preprocessing that was fitted in training and one compiled function."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from configs.errors import DataError, DeployError, one_line
from configs.outputs import compiled, rounding
from configs.preprocessing import Columns, Label, Preprocessing
from configs.preprocessing.values import BadValue
from configs.registered import GOLDEN, MODEL, PREPROCESSING
from deploy.custom_code import Allowed, custom_objects

CHUNK_ROWS = 4096
GOLDEN_TOLERANCE = 1e-4
ROUNDINGS = 4.0
"""How many rounding errors of the coarsest number type in a model its outputs may differ by."""


@dataclass(frozen=True)
class Predictions:
    """labels: one per row; scores: (rows, units) float32, the model's outputs (probabilities for classes)."""

    labels: list[Label]
    scores: np.ndarray


class Predictor:
    """A loaded model with its preprocessing."""

    def __init__(self, model: keras.Model, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing
        self._outputs, self._rounding = compiled(model), rounding(model)

    @classmethod
    def load(cls, folder: Path, *, allowed: Allowed = lambda package: True) -> "Predictor":
        """Load a registered folder and replay its golden batch.

        allowed: which packages the model's own code may import.
        Raises DeployError when a file is missing or unreadable, or the outputs are not those of training.
        """
        missing = [name for name in (MODEL, PREPROCESSING, GOLDEN) if not (folder / name).is_file()]
        if missing:
            raise DeployError(f"{folder} lacks {missing[0]}; was this model registered by `ringmaster train`?")
        if not zipfile.is_zipfile(folder / MODEL):
            raise DeployError(f"{folder / MODEL} is damaged, it is not a Keras file; train the model again")
        model = _load_model(folder, allowed)
        try:
            fitted = Preprocessing.model_validate_json((folder / PREPROCESSING).read_text(encoding="utf-8"))
            predictor = cls(model, fitted)
            predictor.check_golden(json.loads((folder / GOLDEN).read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError, DataError) as error:
            raise DeployError(
                f"the files {PREPROCESSING} and {GOLDEN} of {folder} are not those that training wrote "
                f"({type(error).__name__}: {one_line(error)}); train the model again"
            ) from error
        return predictor

    def predict(self, columns: Columns) -> Predictions:
        """Raw columns -> labels and scores. Raises DataError naming the column or row that is wrong."""
        inputs = self.preprocessing.transform(columns)
        rows = len(next(iter(inputs.values())))
        if rows == 0:
            raise DataError("there are no rows to predict; give at least one")
        scores = self._scores(inputs, rows)
        _require_numbers(scores, classes=self.preprocessing.target.classes is not None)
        return Predictions(self.preprocessing.target.decode(scores), scores)

    def predict_rows(self, rows: list[dict[str, Any]]) -> Predictions:
        """JSON rows -> labels and scores."""
        if not rows:
            raise DataError("there are no rows to predict; give at least one")
        return self.predict(self.preprocessing.columns_of(rows))

    def check_golden(self, golden: Mapping[str, Any]) -> None:
        """Raise DeployError unless this process gives the outputs that were recorded in training."""
        recorded = np.asarray(golden["outputs"], np.float32)
        rows = golden["rows"]
        if not rows:
            raise DataError("there are no rows to predict; give at least one")
        here = self._scores(self.preprocessing.transform(self.preprocessing.columns_of(rows)), len(rows))
        coarsest = max(self._rounding, float(golden.get("rounding", 0.0)))
        allowed = max(GOLDEN_TOLERANCE, ROUNDINGS * coarsest) * max(1.0, _largest(recorded))
        same_shape = here.shape == recorded.shape
        worst = float(np.abs(_differences(here, recorded)).max(initial=0.0)) if same_shape else np.inf
        if not worst <= allowed:
            raise DeployError(
                f"the model's outputs on its golden batch differ by {worst:.3g} from those of training (allowed "
                f"{allowed:.3g}); use the library versions it was trained with"
            )

    def _scores(self, inputs: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
        """(rows, units) float32, computed in chunks of rows."""
        chunks = [
            self._outputs({name: array[start : start + CHUNK_ROWS] for name, array in inputs.items()})
            for start in range(0, rows, CHUNK_ROWS)
        ]
        return np.concatenate(chunks)


def _load_model(folder: Path, allowed: Allowed) -> keras.Model:
    with custom_objects(folder, allowed):
        try:
            # safe_mode refuses code inside the file; no optimizer is stored in it.
            return keras.saving.load_model(folder / MODEL, compile=False, safe_mode=True)
        except Exception as error:
            raise DeployError(
                f"Keras cannot load {folder / MODEL}: {one_line(error).rstrip('.')}. A served model consists of Keras "
                "layers and of registered classes and functions whose files were registered with it"
            ) from error


def _differences(here: np.ndarray, recorded: np.ndarray) -> np.ndarray:
    """Nothing where both are the same infinity, nan where either is nan."""
    with np.errstate(invalid="ignore"):
        return np.where(here == recorded, 0.0, here - recorded)


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))


def _require_numbers(scores: np.ndarray, *, classes: bool) -> None:
    """Raise BadValue for outputs that are not numbers: no label can be made of them.

    The score of a class may be infinite (a class that the model rules out), a predicted number may not.
    """
    bad = np.flatnonzero((np.isnan(scores) if classes else ~np.isfinite(scores)).any(axis=1))
    if bad.size:
        others = f" ({bad.size} rows in all)" if bad.size > 1 else ""
        raise BadValue(
            "the model's output is not a finite number in row ",
            int(bad[0]) + 1,
            f"{others}; look there for values far outside those of training, or leave these rows out",
        )
