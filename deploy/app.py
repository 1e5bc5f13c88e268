"""The HTTP endpoint: a Ray Serve deployment that swaps its model in place when its `user_config` changes."""

import os
from dataclasses import replace
from typing import Any

import numpy as np
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from ray import serve

from configs.errors import DataError
from configs.preprocessing import Label
from configs.secrets import without_password
from configs.serve import ServeSpec
from deploy.models import ModelVersion, download


class PredictRequest(BaseModel):
    """Raw rows, as in the training data: one object per row, null where a value is not known."""

    rows: list[dict[str, Any]] = Field(min_length=1)


class PredictResponse(BaseModel):
    """One label per row, and the model's outputs (probabilities for classes)."""

    model: str
    version: int
    predictions: list[Label]
    scores: list[list[float]]


api = FastAPI(title="Ringmaster model")


@api.exception_handler(DataError)
def _answer_data_error(request: Request, error: DataError) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=422)


@serve.deployment
@serve.ingress(api)
class ModelEndpoint:
    """Serves one registered model."""

    def reconfigure(self, config: dict[str, Any]) -> None:
        """Load the model named by `user_config`; the one before answers until the new one is ready."""
        # Imported by the replica: whoever only builds the application needs no TensorFlow.
        from deploy.predictor import Predictor

        model = ModelVersion(**config["model"])
        known = os.environ.get("MLFLOW_TRACKING_URI", "")
        if without_password(known) == model.tracking_uri:
            model = replace(model, tracking_uri=known)
        self._predictor = Predictor.load(download(model))
        self._model, self._max_rows = model, int(config["max_rows"])

    @api.get("/health")
    def health(self) -> dict[str, Any]:
        """Which model answers."""
        return {"status": "ok", "model": self._model.name, "version": self._model.version}

    @api.get("/schema")
    def schema(self) -> dict[str, Any]:
        """What a row holds, and what comes back."""
        fitted = self._predictor.preprocessing
        features = {
            name: {
                "kind": feature.kind,
                **({"shape": feature.shape} if feature.kind in {"tensor", "image"} else {}),
            }
            for name, feature in fitted.features.items()
        }
        return {
            "features": features,
            "target": fitted.target.column,
            "target_kind": fitted.target.kind,
            "classes": fitted.target.classes,
        }

    @api.post("/predict")
    def predict(self, request: PredictRequest) -> PredictResponse:
        """Labels for raw rows. 422 names the row and column that is wrong."""
        if len(request.rows) > self._max_rows:
            raise HTTPException(413, f"got {len(request.rows)} rows; at most {self._max_rows} fit in a request")
        predictions = self._predictor.predict_rows(request.rows)
        return PredictResponse(
            model=self._model.name,
            version=self._model.version,
            predictions=predictions.labels,
            scores=np.nan_to_num(predictions.scores).tolist(),  # JSON has no infinity
        )


def build_app(spec: ServeSpec, model: ModelVersion) -> serve.Application:
    """The Serve application for a registered model."""
    config = {
        "model": {
            "name": model.name,
            "version": model.version,
            # Serve shows its configuration; a replica finds the password in its environment.
            "tracking_uri": without_password(model.tracking_uri),
        },
        "max_rows": spec.max_rows,
    }
    deployment = ModelEndpoint.options(  # type: ignore[attr-defined]
        num_replicas=spec.replicas,
        ray_actor_options={"num_cpus": spec.cpus_per_replica},
        user_config=config,
    )
    return deployment.bind()


def application(args: dict[str, str]) -> serve.Application:
    """The same application for Serve's configuration file, which brings replicas and `user_config` itself."""
    return ModelEndpoint.bind()  # type: ignore[attr-defined]
