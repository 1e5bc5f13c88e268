"""What one-hot, multi-label and several numeric targets give at the endpoint, to pyfunc and in MLflow's signature."""

from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from mlflow.types import DataType
from mlflow.types.schema import Array

from configs.data import DataSpec
from configs.preprocessing import Preprocessing
from deploy.app import PredictResponse
from deploy.predictor import Predictor
from deploy.pyfunc import RawRowsModel
from orchestrator.registry import signature

FRAME = pd.DataFrame({"x": [1.0, -1.0, 0.0]})
RAW = np.array([1.0, -1.0, 0.0])


def predictor(labels: np.ndarray, activation: str | None, **target: Any) -> Predictor:
    """A model whose outputs are x, -x and 3x - 1 for raw x, after the activation."""
    data = {
        "csv": "x.csv",
        "features": {"x": {"kind": "number", "scale": "none"}},
        "target": {"column": "y", **target},
    }
    fitted = Preprocessing.fit({"x": RAW, "y": labels}, DataSpec.model_validate(data))
    model = keras.Sequential([keras.layers.Dense(3, activation=activation)])
    model.build((None, 1))
    model.set_weights([np.array([[1.0, -1.0, 3.0]]), np.array([0.0, 0.0, -1.0])])
    return Predictor(model, Preprocessing.model_validate_json(fitted.model_dump_json()))


def answered(loaded: Predictor) -> list[Any]:
    """The predictions of the endpoint, as JSON."""
    found = loaded.predict_rows([{"x": value} for value in RAW.tolist()])
    response = PredictResponse(model="m", version=1, predictions=found.labels, scores=found.scores.tolist())
    return list(PredictResponse.model_validate_json(response.model_dump_json()).model_dump(mode="json")["predictions"])


SEVERAL = np.array(["a|b", "c", ""], object)


@pytest.mark.parametrize(
    ("labels", "activation", "target", "expected", "kind"),
    [
        (np.eye(3), "softmax", {"kind": "one_hot", "classes": ["a", "b", "c"]}, ["c", "b", "a"], DataType.string),
        (np.eye(3), "softmax", {"kind": "one_hot"}, [2, 1, 0], DataType.long),
        (SEVERAL, "sigmoid", {"kind": "multi_label"}, [["a", "c"], ["b"], []], Array(DataType.string)),
        (np.eye(3), "sigmoid", {"kind": "multi_label"}, [[0, 2], [1], []], Array(DataType.long)),
        (
            np.eye(3),
            None,
            {"kind": "number"},
            [[1.0, -1.0, 2.0], [-1.0, 1.0, -4.0], [0, 0, -1]],
            Array(DataType.double),
        ),
    ],
    ids=["names", "numbers of classes", "labels", "numbers of labels", "numbers"],
)
def test_what_a_row_is_told_to_be(
    labels: np.ndarray, activation: str | None, target: dict[str, Any], expected: list[Any], kind: Any
) -> None:
    loaded = predictor(labels, activation, **target)
    assert answered(loaded) == expected
    assert RawRowsModel(loaded).predict(FRAME).tolist() == expected
    outputs = signature(loaded.preprocessing).outputs
    assert outputs is not None
    assert outputs.inputs[0].type == kind
