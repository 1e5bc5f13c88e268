"""The endpoint's HTTP answers, through the real application; Ray only holds the replica, so it is left out."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from ray import serve

from configs.errors import DeployError
from configs.serve import ServeSpec
from deploy.app import ModelEndpoint, api, build_app
from deploy.models import ModelVersion

MODEL = {"name": "small", "version": 3, "tracking_uri": "sqlite:///nowhere.db"}
PLAIN_CLASS = ModelEndpoint.func_or_class.__mro__[1]  # type: ignore[attr-defined]
NAMES = PLAIN_CLASS.reconfigure.__globals__
"""Serve keeps a copy of the class, which does not look its names up in deploy.app."""


@pytest.fixture
def endpoint(folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a replica holds: the class under Serve's wrapper, its model loaded."""
    endpoint = PLAIN_CLASS()
    monkeypatch.setitem(NAMES, "download", lambda model: folder())
    endpoint.reconfigure({"model": MODEL, "max_rows": 3})
    return endpoint


@pytest.fixture
def client(endpoint: Any, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(serve, "get_replica_context", lambda: SimpleNamespace(servable_object=endpoint))
    return TestClient(api)


def test_health(client: TestClient) -> None:
    assert client.get("/health").json() == {"status": "ok", "model": "small", "version": 3}


def test_schema(client: TestClient) -> None:
    assert client.get("/schema").json() == {
        "features": {"size": {"kind": "number"}, "colour": {"kind": "category"}},
        "target": "label",
        "target_kind": "number",
        "classes": None,
    }


def test_predict(client: TestClient) -> None:
    answer = client.post("/predict", json={"rows": [{"size": 10, "colour": "red"}, {"size": None, "colour": None}]})
    assert answer.status_code == 200
    assert answer.json() == {
        "model": "small",
        "version": 3,
        "predictions": [2.5, -2.5],
        "scores": [[2.5], [-2.5]],
    }


@pytest.mark.parametrize(
    ("rows", "status", "detail"),
    [
        ([{"size": "big", "colour": "red"}], 422, "column 'size', row 1: got 'big', expected a number"),
        ([{"size": 1}], 422, "row 1 lacks 'colour'; give null where the value is not known"),
        ([{"size": [1, 2], "colour": "red"}] * 2, 422, "column 'size', row 1: got [1, 2], expected a number"),
        ([{"size": 1, "colour": {}}], 422, "column 'colour', row 1: got {}, expected text or a number"),
        ([{"size": 1e300, "colour": "red"}], 422, "column 'size', row 1: 1e+300 is too large; mend or remove the row"),
        ([{"size": 1, "colour": "red"}] * 4, 413, "got 4 rows; at most 3 fit in a request"),
    ],
)
def test_wrong_requests(client: TestClient, rows: list[Any], status: int, detail: str) -> None:
    answer = client.post("/predict", json={"rows": rows})
    assert (answer.status_code, answer.json()) == (status, {"detail": detail})


@pytest.mark.parametrize("body", [{"rows": []}, {"rows": 1}, {"rows": [1]}, {}, []])
def test_a_body_of_another_shape_is_refused(client: TestClient, body: Any) -> None:
    assert client.post("/predict", json=body).status_code == 422


def test_infinity_is_named_not_answered(client: TestClient) -> None:
    body = '{"rows": [{"size": Infinity, "colour": "red"}]}'
    answer = client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json() == {"detail": "column 'size', row 1: got an infinite value; mend or remove the row"}


def test_the_model_is_swapped_in_place(endpoint: Any, client: TestClient) -> None:
    endpoint.reconfigure({"model": MODEL | {"version": 4}, "max_rows": 3})
    assert client.get("/health").json()["version"] == 4


def test_a_model_that_cannot_be_loaded_leaves_the_old_one(
    endpoint: Any, client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(NAMES, "download", lambda model: tmp_path / "nothing")
    with pytest.raises(DeployError, match=r"nothing lacks model\.keras"):
        endpoint.reconfigure({"model": MODEL | {"version": 4}, "max_rows": 3})
    assert client.get("/health").json()["version"] == 3
    assert client.post("/predict", json={"rows": [{"size": 10, "colour": "red"}]}).status_code == 200


def test_what_serve_is_told() -> None:
    built = build_app(ServeSpec(replicas=2, cpus_per_replica=0.5, max_rows=7), ModelVersion(**MODEL))  # type: ignore[arg-type]
    deployment = built._bound_deployment
    assert deployment.num_replicas == 2
    assert deployment.ray_actor_options == {"num_cpus": 0.5}
    assert deployment.user_config == {"model": MODEL, "max_rows": 7}
