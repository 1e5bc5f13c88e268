"""`Predictor`: raw rows -> labels, by the preprocessing that was fitted in training and one compiled function."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from configs.errors import DataError, DeployError
from configs.preprocessing import Columns, Label, Preprocessing
from configs.registered import GOLDEN, MODEL, PREPROCESSING

CHUNK_ROWS = 4096
GOLDEN_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Predictions:
    """labels: one per row; scores: (rows, units) float32, the model's outputs (probabilities for classes)."""

    labels: list[Label]
    scores: np.ndarray


class Predictor:
    """A loaded model with its preprocessing.

    `keras.Model.predict` costs tens of milliseconds a call, so a `tf.function` is called instead.
    """

    def __init__(self, model: keras.Model, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing
        self._call = tf.function(lambda inputs: model(inputs, training=False), reduce_retracing=True)

    @classmethod
    def load(cls, folder: Path) -> "Predictor":
        """Load a registered folder and replay its golden batch.

        Raises DeployError when a file is missing or unreadable, or the outputs are not those of training.
        """
        missing = [name for name in (MODEL, PREPROCESSING, GOLDEN) if not (folder / name).is_file()]
        if missing:
            raise DeployError(f"{folder} lacks {missing[0]}; was this model registered by `ringmaster train`?")
        if not zipfile.is_zipfile(folder / MODEL):
            raise DeployError(f"{folder / MODEL} is damaged, it is no Keras file; train the model again")
        try:
            # safe_mode refuses code inside the file; no optimizer is stored in it.
            model = keras.saving.load_model(folder / MODEL, compile=False, safe_mode=True)
        except Exception as error:
            raise DeployError(
                f"Keras cannot load {folder / MODEL}: {' '.join(str(error).split())[:300].rstrip('.')}. "
                "A served model consists of stock Keras layers"
            ) from error
        try:
            fitted = Preprocessing.model_validate_json((folder / PREPROCESSING).read_text(encoding="utf-8"))
            predictor = cls(model, fitted)
            predictor.check_golden(json.loads((folder / GOLDEN).read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError, DataError) as error:
            raise DeployError(
                f"the files {PREPROCESSING} and {GOLDEN} of {folder} are not those that training wrote "
                f"({type(error).__name__}: {' '.join(str(error).split())[:200]}); train the model again"
            ) from error
        return predictor

    def predict(self, columns: Columns) -> Predictions:
        """Raw columns -> labels and scores. Raises DataError naming the column or row that is wrong."""
        inputs = self.preprocessing.transform(columns)
        rows = len(next(iter(inputs.values())))
        if rows == 0:
            raise DataError("there are no rows to predict; give at least one")
        chunks = [
            self._scores({name: array[start : start + CHUNK_ROWS] for name, array in inputs.items()})
            for start in range(0, rows, CHUNK_ROWS)
        ]
        scores = np.concatenate(chunks)
        return Predictions(self.preprocessing.target.decode(scores), scores)

    def predict_rows(self, rows: list[dict[str, Any]]) -> Predictions:
        """JSON rows -> labels and scores."""
        if not rows:
            raise DataError("there are no rows to predict; give at least one")
        return self.predict(self.preprocessing.columns_of(rows))

    def check_golden(self, golden: Mapping[str, Any]) -> None:
        """Raise DeployError unless this process gives the outputs that were recorded in training."""
        recorded = np.asarray(golden["outputs"], np.float32)
        here = self.predict_rows(golden["rows"]).scores
        worst = float(np.max(np.abs(here - recorded), initial=0.0)) if here.shape == recorded.shape else np.inf
        allowed = GOLDEN_TOLERANCE * max(1.0, float(np.abs(recorded).max(initial=0.0)))
        if not worst <= allowed:
            raise DeployError(
                f"the model's outputs on its golden batch differ by {worst:.3g} from those of training (allowed "
                f"{allowed:.3g}); use the library versions it was trained with"
            )

    def _scores(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        x = next(iter(inputs.values())) if len(inputs) == 1 else inputs
        # Tensors, not arrays: tf.function would trace anew for every number of rows.
        outputs = self._call(keras.tree.map_structure(tf.convert_to_tensor, x))
        scores = np.asarray(outputs, np.float32)
        return scores.reshape(len(scores), -1)
