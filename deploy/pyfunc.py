"""The registered model as `mlflow.pyfunc` sees it: a pandas frame of raw columns in, labels out."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from configs.preprocessing.raw import of_pandas
from deploy.predictor import Predictor


class RawRowsModel:
    """What `mlflow.pyfunc.load_model("models:/name@alias")` wraps."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict(self, frame: pd.DataFrame, params: Any = None) -> np.ndarray:
        """Raw columns -> one label per row, (rows, k) where it is several numbers, lists of labels as objects.

        Raises DataError naming what is wrong.
        """
        columns = {str(name): of_pandas(frame[name]) for name in frame}
        labels = self._predictor.predict(columns).labels
        if self._predictor.preprocessing.target.kind != "multi_label":
            return np.asarray(labels)
        rows = np.empty(len(labels), object)  # rows have different numbers of labels
        rows[:] = labels
        return rows


def _load_pyfunc(path: str) -> RawRowsModel:
    """Called by MLflow with the registered folder."""
    return RawRowsModel(Predictor.load(Path(path)))
