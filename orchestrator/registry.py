"""Best checkpoint -> MLflow model version with signature, preprocessing and golden batch, and the alias on it.

The registered folder holds `model.keras` (stock layers, no optimizer), `preprocessing.json` and `golden.json`: plain
files, no pickle. `deploy/models.py` reads them.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.models import Model, ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import Array

from configs.errors import TrackingError
from configs.job import JobSpec
from configs.preprocessing import Preprocessing
from configs.registered import FLAVOR, GOLDEN, MODEL, PREPROCESSING
from orchestrator.datasets import Prepared
from orchestrator.engine import Trained


@dataclass(frozen=True)
class Registered:
    """A version in the model registry."""

    name: str
    version: int
    alias: str

    @property
    def uri(self) -> str:
        return f"models:/{self.name}@{self.alias}"


def register(client: MlflowClient, spec: JobSpec, data: Prepared, trained: Trained, *, run_id: str) -> Registered:
    """Register the best model and move the alias to it. Raises TrackingError, leaving no version behind."""
    name, alias = spec.registered_model, spec.tracking.alias
    try:
        with mlflow.start_run(run_id=run_id):
            logged = Model.log(
                artifact_path=None,
                name="model",
                flavor=_Flavor(data, trained),
                signature=signature(data.preprocessing),
                registered_model_name=name,
                metadata={"ringmaster.weights_sha256": trained.outcome.weights_sha256},
            )
        version = str(logged.registered_model_version)
        client.set_registered_model_alias(name, alias, version)
    except BaseException as error:
        _remove_versions(client, name, run_id)
        if isinstance(error, Exception):
            raise TrackingError(f"MLflow could not register {name!r}: {' '.join(str(error).split())[:300]}") from error
        raise
    return Registered(name, int(version), alias)


class _Flavor:
    """What `mlflow.models.Model.log` expects of a flavor: a `save_model`."""

    __name__ = "orchestrator.registry"

    def __init__(self, data: Prepared, trained: Trained) -> None:
        self._data, self._trained = data, trained

    def save_model(self, path: str, mlflow_model: Model, signature: ModelSignature, **unused: Any) -> None:
        """Write the folder that is uploaded."""
        folder = Path(path)
        folder.mkdir(parents=True)
        with self._trained.checkpoint.as_directory() as checkpoint:
            shutil.copyfile(Path(checkpoint) / MODEL, folder / MODEL)
        (folder / PREPROCESSING).write_text(self._data.preprocessing.model_dump_json(indent=1), encoding="utf-8")
        golden = {
            "rows": self._data.golden_rows,
            "outputs": self._trained.outcome.golden_outputs.tolist(),
        }
        (folder / GOLDEN).write_text(json.dumps(golden), encoding="utf-8")
        mlflow_model.signature = signature
        mlflow_model.add_flavor(FLAVOR, model=MODEL, preprocessing=PREPROCESSING, golden=GOLDEN)
        mlflow.pyfunc.add_to_model(mlflow_model, loader_module="deploy.pyfunc")
        mlflow_model.save(str(folder / "MLmodel"))


def signature(preprocessing: Preprocessing) -> ModelSignature:
    """Raw columns in, label out: what the endpoint takes and gives."""
    features = preprocessing.features
    target = preprocessing.target
    textual = target.classes is not None and isinstance(target.classes[0], str)
    one = DataType.string if textual else DataType.double if target.classes is None else DataType.long
    several = target.kind == "multi_label" or (target.classes is None and target.width is not None)
    label = Array(one) if several else one
    if any(feature.kind in {"tensor", "image"} for feature in features.values()):
        # MLflow does not mix tensors and columns in one schema.
        inputs: list[ColSpec | TensorSpec] = [
            TensorSpec(np.dtype("float32"), (-1, *getattr(feature, "shape", ())), name)
            if feature.kind in {"number", "tensor", "image"}
            else TensorSpec(np.dtype("str"), (-1,), name)
            for name, feature in features.items()
        ]
    else:
        inputs = [ColSpec(_column_type(feature), name, required=False) for name, feature in features.items()]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema([ColSpec(label, target.column)]))


def _column_type(feature: Any) -> DataType | Array:
    """A number, or a text for everything else; a list of them where a row is a window of a series."""
    one = DataType.double if feature.kind == "number" else DataType.string
    return one if getattr(feature, "width", None) is None else Array(one)


def _remove_versions(client: MlflowClient, name: str, run_id: str) -> None:
    """Take back what this run registered, and the name itself if it was new."""
    versions = client.search_model_versions(f"name='{name}'")
    ours = [version for version in versions if version.run_id == run_id]
    for version in ours:
        client.delete_model_version(name, str(version.version))
    if ours and len(ours) == len(versions):
        client.delete_registered_model(name)
