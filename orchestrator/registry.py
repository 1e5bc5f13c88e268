"""Best checkpoint -> MLflow model version with signature, preprocessing and golden batch, and the alias on it.

The registered folder holds `model.keras` (no optimizer), `preprocessing.json`, `golden.json` and, for custom layers,
their source files: plain files, no pickle. `deploy/` reads them.
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import AnyType, Array

from configs.dates import EPOCHS
from configs.errors import DeployError, RingmasterError, TrackingError, one_line
from configs.job import JobSpec
from configs.preprocessing import Preprocessing
from configs.registered import FLAVOR, GOLDEN, MODEL, PREPROCESSING
from deploy.models import ModelVersion, download
from orchestrator.datasets import Prepared
from orchestrator.engine import Trained
from orchestrator.gate import require_servable

logger = logging.getLogger(__name__)


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
    """Register the best model and move the alias to it, once the registered folder was loaded and replayed.

    Raises TrackingError or DeployError, leaving no version behind.
    """
    name, alias = spec.registered_model, spec.tracking.alias
    before = _is_registered(client, name)
    try:
        with _only_run(run_id):
            logged = Model.log(
                artifact_path=None,
                name="model",
                flavor=_Flavor(data, trained),
                signature=signature(data.preprocessing),
                registered_model_name=name,
                metadata={"ringmaster.weights_sha256": trained.outcome.weights_sha256},
            )
        version = str(logged.registered_model_version)
        _require_servable(client, spec, version)
        client.set_registered_model_alias(name, alias, version)
    except BaseException as error:
        _remove_versions(client, name, run_id, whole=before is False)
        if isinstance(error, Exception) and not isinstance(error, RingmasterError):
            raise TrackingError(f"MLflow could not register {name!r}: {one_line(error)}") from error
        raise
    return Registered(name, int(version), alias)


@contextmanager
def _only_run(run_id: str) -> Iterator[None]:
    """Make a run the active one; a run of the calling script, and what MLFLOW_RUN_ID names, wait aside meanwhile."""
    from mlflow.tracking import fluent

    runs: Any = fluent._active_run_stack  # without type hints
    stack = runs.get()
    runs.set([])
    aside = {name: os.environ.pop(name) for name in RUN_VARIABLES if name in os.environ}
    try:
        with mlflow.start_run(run_id=run_id):
            yield
    finally:
        os.environ.update(aside)
        runs.set(stack)


RUN_VARIABLES = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")


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
        outcome = self._trained.outcome
        self._data.documents.write(folder, outcome.golden, outcome.code)
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


def _column_type(feature: Any) -> DataType | Array | AnyType:
    """A number, or a text for everything else; a list of them where a row is a window of a series."""
    if feature.kind == "date" and feature.width is None and set(feature.formats) & {*EPOCHS, "%Y%m%d", "%Y"}:
        return AnyType()  # type: ignore[no-untyped-call]  # numbers as well as texts
    one = DataType.double if feature.kind == "number" else DataType.string
    return one if getattr(feature, "width", None) is None else Array(one)


def _require_servable(client: MlflowClient, spec: JobSpec, version: str) -> None:
    """Raise DeployError unless what the registry gives back can be served."""
    model = ModelVersion(spec.registered_model, int(version), client.tracking_uri)
    with tempfile.TemporaryDirectory(prefix="ringmaster-version-") as folder:
        try:
            require_servable(download(model, Path(folder)), spec)
        except DeployError as error:
            raise DeployError(
                f"the trained model is not registered, as it cannot be served: {error}. The best checkpoint stays in "
                f"{spec.folder / 'checkpoints'}"
            ) from error


def _is_registered(client: MlflowClient, name: str) -> bool | None:
    """Whether the name exists; None where the registry does not say."""
    try:
        client.get_registered_model(name)
        return True
    except MlflowException as error:
        return False if error.error_code == "RESOURCE_DOES_NOT_EXIST" else None
    except Exception:
        return None


def _remove_versions(client: MlflowClient, name: str, run_id: str, *, whole: bool) -> None:
    """Take back what this run registered, and the name itself if this run made it (`whole`) and nothing else is in it.

    A failure is logged: the error that led here is the one to be seen.
    """
    try:
        versions = client.search_model_versions(f"name='{name}'")
        ours = [version for version in versions if version.run_id == run_id]
        for version in ours:
            client.delete_model_version(name, str(version.version))
        if whole and len(ours) == len(versions):
            client.delete_registered_model(name)
    except Exception:
        logger.warning("could not take back what run %s registered as %s", run_id, name, exc_info=True)
