"""`ringmaster demo`: the main job on the digits recipe, to the answers of the live endpoint."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import requests

from configs.job import JobSpec
from deploy.models import ModelVersion
from orchestrator import samples
from orchestrator.console import TrainingView, err
from orchestrator.pipeline import RunResult, open_job, train_job
from orchestrator.serving import endpoint, require_free_port, start_proxy
from orchestrator.splits import split_rows
from trainers.job import TEST


@dataclass(frozen=True)
class Shown:
    """What the endpoint answered to test images, beside the truth."""

    result: RunResult
    url: str
    answers: list[int]
    scores: list[float]
    truth: list[int]


def run_demo(spec: JobSpec, view: TrainingView, *, verbose: bool) -> Shown:
    """Train, register, serve, ask, stop. Raises a RingmasterError."""
    require_free_port(spec.serve.host, spec.serve.port, option="serve.port")
    with open_job(spec, on_event=view, verbose=verbose) as job, ThreadPoolExecutor(1) as pool:
        starting = pool.submit(start_proxy, spec.serve)  # while the workers start: Serve takes seconds too
        with view.watching():
            result = train_job(job, view)
        starting.result()
        err.print(f"Serving {result.reference} (version {result.version})")
        with endpoint(spec.serve, ModelVersion(result.model, result.version, result.tracking_uri)) as url:
            return _ask(spec, result, url)


def _ask(spec: JobSpec, result: RunResult, url: str) -> Shown:
    columns = samples.digits()
    tested = split_rows(len(columns["digit"]), spec.data.split)[TEST]
    # The first test image of each digit.
    rows = tested[np.unique(columns["digit"][tested], return_index=True)[1]]
    images = [{"image": columns["image"][row].tolist()} for row in rows]
    response = requests.post(f"{url}/predict", json={"rows": images}, timeout=60)
    response.raise_for_status()
    answer = response.json()
    return Shown(
        result=result,
        url=url,
        answers=answer["predictions"],
        scores=[max(scores) for scores in answer["scores"]],
        truth=columns["digit"][rows].tolist(),
    )
