"""Finding and fetching registered models, in a real MLflow registry on SQLite."""

from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from configs.errors import DeployError
from deploy.models import ModelVersion, download, find_version


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registry with small (versions 1 and 2: champion and challenger) and other (no alias)."""
    folder = tmp_path_factory.mktemp("registry")
    uri = f"sqlite:///{folder}/mlflow.db"
    client = MlflowClient(uri, uri)
    experiment = client.create_experiment("test", artifact_location=(folder / "artifacts").as_uri())
    run = client.create_run(experiment).info
    (folder / "weights.txt").write_text("one")
    client.log_artifact(run.run_id, str(folder / "weights.txt"), "model")
    client.create_registered_model("small")
    client.create_registered_model("other")
    for name in ("small", "small", "other"):
        client.create_model_version(name, f"{run.artifact_uri}/model", run.run_id)
    client.set_registered_model_alias("small", "champion", "1")
    client.set_registered_model_alias("small", "challenger", "2")
    return uri


@pytest.mark.parametrize(
    ("reference", "version"),
    [("small", 1), ("small@champion", 1), ("small@challenger", 2), ("small/1", 1), ("small/2", 2)],
)
def test_references(uri: str, reference: str, version: int) -> None:
    found = find_version(reference, uri)
    assert found == ModelVersion("small", version, uri)
    assert found.uri == f"models:/small/{version}"


@pytest.mark.parametrize("reference", ["smal", "small@champoin", "small/3", "other", "small/x", "@champion", ""])
def test_what_is_not_there_is_answered_with_what_is(uri: str, reference: str) -> None:
    with pytest.raises(DeployError) as caught:
        find_version(reference, uri)
    assert str(caught.value) == (
        f"no registered model {reference!r}; the registry has small@challenger, small@champion"
    )


def test_an_empty_registry(tmp_path: Path) -> None:
    with pytest.raises(DeployError) as caught:
        find_version("small", f"sqlite:///{tmp_path}/mlflow.db")
    assert str(caught.value) == "no registered model 'small'; the registry is empty: train a model first"


def test_the_folder_is_fetched(uri: str) -> None:
    assert (download(find_version("small", uri)) / "weights.txt").read_text() == "one"


def test_a_version_that_is_gone(uri: str) -> None:
    with pytest.raises(DeployError, match=r"^cannot download models:/small/9: \S.*small.*9"):
        download(ModelVersion("small", 9, uri))
