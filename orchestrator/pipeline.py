"""One job from its spec to a registered model: the steps in order, each in a module of its own."""

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from configs.job import JobSpec
from configs.preprocessing import describe
from orchestrator.datasets import Prepared, prepare
from orchestrator.engine import Event, train
from orchestrator.loading import Loading, chosen_loading, stream_folder
from orchestrator.modules import check_model_function
from orchestrator.registry import Registered, register
from orchestrator.report import page, warnings
from orchestrator.session import ray_session, require_resources
from orchestrator.streaming import on_ray, streamed
from orchestrator.tracking import Client, Tracker, connect, make_folder, tracking_uri
from orchestrator.tuning import RECORDS, keep_autotuned

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunResult:
    """What a finished job leaves: its MLflow run and a registered model version."""

    run_id: str
    model: str
    version: int
    alias: str
    metrics: dict[str, float]
    best_epoch: int
    epochs: int
    workers: int
    ranks: tuple[str, ...]
    weights_sha256: str
    tracking_uri: str

    @property
    def reference(self) -> str:
        return f"{self.model}@{self.alias}"


@dataclass(frozen=True)
class OpenJob:
    """A job that can start: data prepared, MLflow answering, Ray up and large enough."""

    spec: JobSpec
    data: Prepared
    client: Client
    name: str


def run(spec: JobSpec, *, on_event: Callable[[Event], None] = lambda event: None, verbose: bool = False) -> RunResult:
    """Train a job and register its best model.

    on_event: called in this thread with every event (kinds: run, note, worker, step, checkpoint, epoch, failure).
    Raises a RingmasterError; whatever can be known before the workers start is raised before.
    """
    with open_job(spec, on_event=on_event, verbose=verbose) as job:
        return train_job(job, on_event)


@contextmanager
def open_job(
    spec: JobSpec, *, on_event: Callable[[Event], None] = lambda event: None, verbose: bool = False
) -> Iterator[OpenJob]:
    """Check and prepare everything that needs no worker; close Ray afterwards.

    What is in memory is prepared before Ray starts; what is streamed, by tasks of Ray.
    """
    check_model_function(spec)
    with chosen_loading(spec) as loading:
        on_event({"kind": "note", "text": str(loading)})
        with _prepared_job(spec, loading, on_event, verbose=verbose) as job:
            yield job


@contextmanager
def _prepared_job(
    spec: JobSpec, loading: Loading, on_event: Callable[[Event], None], *, verbose: bool
) -> Iterator[OpenJob]:
    data = None if loading.streams else prepare(spec, loading)
    make_folder(spec.folder)
    name = f"{spec.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}"
    data_bytes = sum(split.nbytes for split in data.splits.values()) if data else 0
    uri = tracking_uri(spec.tracking.uri, spec.folder)
    with ThreadPoolExecutor(1) as pool:
        # Both take seconds and wait for other processes most of the time.
        connecting = pool.submit(connect, uri, spec.folder)
        with ray_session(spec.cluster, data_bytes=data_bytes, logs=spec.folder / "logs" / name, verbose=verbose):
            client = connecting.result()
            require_resources(spec.cluster)
            if data is not None:
                yield OpenJob(spec, data, client, name)
                return
            folder = stream_folder(spec) / name
            with streamed(spec, loading, on_ray(loading.files, folder), folder, _noted(on_event)) as rows:
                yield OpenJob(spec, rows, client, name)


def _noted(on_event: Callable[[Event], None]) -> Callable[[str], None]:
    return lambda text: on_event({"kind": "note", "text": text})


def train_job(job: OpenJob, on_event: Callable[[Event], None]) -> RunResult:
    """Train, record, register."""
    spec = job.spec
    tracker = Tracker(job.client, spec)
    on_event({"kind": "run", "page": tracker.page})

    def record(event: Event) -> None:
        if event["kind"] == "epoch":
            tracker.log_epoch(event["metrics"], event["checkpoint"])
        elif event["kind"] == "failure":
            tracker.note("ringmaster.last_failure", f"ranks {event['ranks']}")
        on_event(event)

    inferred = [f"inferred {job.data.facts.inferred}"] if job.data.facts.inferred else []
    for line in [*inferred, *job.data.facts.left_out]:
        on_event({"kind": "note", "text": line})
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="report") as pool:
            reporting = pool.submit(report, tracker, spec, job.data)
            trained = train(spec, job.data, name=job.name, on_event=record)
            for warning in reporting.result():
                on_event({"kind": "note", "text": f"data: {warning}"})
        outcome = trained.outcome
        tracker.log_final(
            dict(outcome.metrics),
            epoch=outcome.best_epoch,
            tags={
                "ringmaster.weights_sha256": outcome.weights_sha256,
                "ringmaster.ranks": ", ".join(outcome.ranks),
            },
        )
        keep_records(tracker, spec, outcome.records)
        tracker.save()  # what MLflow cannot record is not registered either
        registered = register(job.client, spec, job.data, trained, run_id=tracker.run_id)
        tracker.finish()
    except BaseException as error:
        tracker.fail(error)
        raise
    return _result(spec, trained.outcome, registered, tracker)


def report(tracker: Tracker, spec: JobSpec, data: Prepared) -> list[str]:
    """Attach the data report and name the data set in MLflow; return the report's warnings.

    The report is worth less than the training: what goes wrong with it is logged.
    """
    facts = data.facts
    try:
        fingerprint = facts.fingerprint
        tracker.log_dataset(
            spec.name,
            fingerprint,
            source=facts.source,
            schema=json.dumps({name: describe(fitted) for name, fitted in facts.preprocessing.features.items()}),
            rows=dict(facts.rows),
        )
        warned = list(warnings(facts))
        tracker.attach("data_report.html", page(facts, warned, fingerprint))
        return warned
    except Exception:
        logger.warning("the data report failed", exc_info=True)
        return []


def keep_records(tracker: Tracker, spec: JobSpec, records: Mapping[str, str]) -> None:
    """Attach what Horovod wrote to the run; keep autotuned settings for the next one."""
    for name, text in records.items():
        tracker.attach("horovod_timeline.json" if name == RECORDS["timeline"] else "horovod_autotune.csv", text)
    if RECORDS["autotune"] in records:
        found = keep_autotuned(spec, records[RECORDS["autotune"]])
        tracker.note("ringmaster.autotuned", str(found or "not finished: train longer"))


def _result(spec: JobSpec, outcome: Any, registered: Registered, tracker: Tracker) -> RunResult:
    return RunResult(
        run_id=tracker.run_id,
        model=registered.name,
        version=registered.version,
        alias=registered.alias,
        metrics=dict(outcome.metrics),
        best_epoch=outcome.best_epoch,
        epochs=spec.train.epochs,
        workers=len(outcome.ranks),
        ranks=outcome.ranks,
        weights_sha256=outcome.weights_sha256,
        tracking_uri=tracking_uri(spec.tracking.uri, spec.folder),
    )
