"""`name@alias` -> the folder of a registered model on disk. The only place of this package that knows MLflow."""

from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from configs.errors import DeployError, one_line


@dataclass(frozen=True)
class ModelVersion:
    """A model in the registry, found."""

    name: str
    version: int
    tracking_uri: str

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"


def find_version(reference: str, tracking_uri: str) -> ModelVersion:
    """`name@alias`, `name/version` or `name` (its champion) -> the version.

    Raises DeployError naming what the registry does have.
    """
    client = MlflowClient(tracking_uri, tracking_uri)
    name, _, number = reference.partition("/")
    name, _, alias = name.partition("@")
    try:
        found = client.get_model_version(name, number) if number else None
        found = found or client.get_model_version_by_alias(name, alias or "champion")
    except MlflowException as error:
        raise DeployError(f"no registered model {reference!r}; {_what_there_is(client)}") from error
    return ModelVersion(name, int(found.version), tracking_uri)


def download(model: ModelVersion, to: Path | None = None) -> Path:
    """Return the registered folder, fetched from the server where it is not on this disk; a copy in `to` if given.

    Raises DeployError.
    """
    mlflow.set_tracking_uri(model.tracking_uri)
    mlflow.set_registry_uri(model.tracking_uri)
    try:
        return Path(mlflow.artifacts.download_artifacts(model.uri, dst_path=None if to is None else str(to)))
    except Exception as error:
        raise DeployError(
            f"cannot download {model.uri}: {one_line(error)}. If its files were removed, train it again"
        ) from error


def _what_there_is(client: MlflowClient) -> str:
    models = client.search_registered_models()
    names = [f"{model.name}@{alias}" for model in models for alias in sorted(model.aliases)]
    return f"the registry has {', '.join(names)}" if names else "the registry is empty: train a model first"
