"""Registered folders, made without training: a model whose outputs are known by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from configs.data import DataSpec
from configs.preprocessing import Preprocessing

COLUMNS = {
    "size": np.array([1.0, 2.0, 3.0]),
    "colour": np.array(["blue", "red", "red"], object),
    "label": np.array(["no", "yes", "no"], object),
}
SPEC = {
    "csv": "x.csv",
    "features": {
        "size": {"kind": "number", "scale": "none", "fill": 0},
        "colour": {"kind": "category", "scale": "none"},
    },
}
GOLDEN = {"rows": [{"size": 5.5, "colour": "blue"}], "outputs": [[0.5]]}


def adding_model(activation: str) -> keras.Model:
    """size - 2.5 * code of the colour (missing 1, blue 2, red 3), then the activation."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, activation=activation)])
    model.set_weights([np.array([[1.0], [-2.5]], np.float32), np.zeros(1, np.float32)])
    return model


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Return `make(...)`: a registered folder, of the adding model unless another is given."""

    def make(
        *,
        kind: str = "number",
        golden: dict[str, Any] = GOLDEN,
        activation: str = "linear",
        model: keras.Model | None = None,
        fitted: Preprocessing | None = None,
    ) -> Path:
        if fitted is None:
            spec = DataSpec.model_validate(SPEC | {"target": {"column": "label", "kind": kind}})
            numbers = {"label": np.array([0.0, 1.0, 0.0])} if kind == "number" else {}
            fitted = Preprocessing.fit(COLUMNS | numbers, spec)
        path = tmp_path / "registered"
        path.mkdir(exist_ok=True)
        (model or adding_model(activation)).save(path / "model.keras")
        (path / "preprocessing.json").write_text(fitted.model_dump_json())
        (path / "golden.json").write_text(json.dumps(golden))
        return path

    return make
