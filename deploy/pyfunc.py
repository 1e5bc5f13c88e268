"""The registered model as `mlflow.pyfunc` sees it: a pandas frame of raw columns in, labels out."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deploy.predictor import Predictor


class RawRowsModel:
    """What `mlflow.pyfunc.load_model("models:/name@alias")` wraps."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict(self, frame: pd.DataFrame, params: Any = None) -> np.ndarray:
        """Raw columns -> one label per row. Raises DataError naming what is wrong."""
        columns = {str(name): np.asarray(frame[name]) for name in frame}
        return np.asarray(self._predictor.predict(columns).labels)


def _load_pyfunc(path: str) -> RawRowsModel:
    """Called by MLflow with the registered folder."""
    return RawRowsModel(Predictor.load(Path(path)))
