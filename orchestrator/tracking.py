"""One MLflow run per job, written from the driver alone. Knows nothing about models; see `registry.py`."""

import fcntl
import http.client
import json
import logging
import os
import posixpath
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from configs.errors import TrackingError, one_line
from configs.job import JobSpec
from configs.secrets import without_password

logger = logging.getLogger(__name__)
Client = MlflowClient
PROBE_TIMEOUT_S = 5.0


def tracking_uri(uri: str | None, folder: Path) -> str:
    """The given URI, or MLFLOW_TRACKING_URI, or SQLite in the job's folder."""
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder / 'mlflow.db').absolute()}"


def connect(uri: str, folder: Path) -> MlflowClient:
    """Return a client for a tracking store that answers; a SQLite file is made where there is none.

    Raises TrackingError naming the URI.
    """
    # Without a limit MLflow repeats each request for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    if uri.startswith(("http://", "https://")):
        _probe(uri)
    elif uri.startswith("sqlite:///"):
        make_folder(Path(uri.removeprefix("sqlite:///")).parent)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        with _alone(uri):
            client = MlflowClient(uri, uri)
            client.search_experiments(max_results=1)
    except Exception as error:  # sqlalchemy, requests and MLflow itself raise unrelated types here
        raise TrackingError(
            f"MLflow cannot be used at {without_password(uri)}: {_cause(error)}. "
            "Check tracking.uri, or leave it out to use a file under the job's folder"
        ) from error
    return client


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Let one process at a time make MLflow's tables in a SQLite file; two at once would leave neither with all.

    MLflow's own lock lies in the temporary folder, which is another one for every job.
    """
    if not uri.startswith("sqlite:///"):
        yield
        return
    folder = os.open(Path(uri.removeprefix("sqlite:///")).parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def connect_existing(uri: str | None, folder: Path) -> str:
    """Return the URI of a store that answers, and make none where there is none. Raises TrackingError."""
    store = tracking_uri(uri, folder)
    if store.startswith("sqlite:///") and not Path(store.removeprefix("sqlite:///")).is_file():
        raise TrackingError(f"{folder} holds no MLflow database; train a job first, or name its folder with --folder")
    connect(store, folder)
    if without_password(store) != store:
        os.environ["MLFLOW_TRACKING_URI"] = store  # where a replica looks for the password
    return store


def make_folder(folder: Path) -> None:
    """Create the job's folder. Raises TrackingError when it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"no permission to write to {folder}")
    except OSError as error:
        raise TrackingError(
            f"the folder {folder} cannot be used: {error.strerror or error}. "
            "Choose another with folder=PATH or tracking.uri"
        ) from error


class Tracker:
    """The MLflow run of one job.

    A server that does not answer for a while must not end a training run: metrics that could not be written are kept
    and written with the next ones, and `finish` raises TrackingError if some are still not.
    """

    def __init__(self, client: MlflowClient, spec: JobSpec) -> None:
        self._client, self._folder = client, spec.folder
        self._waiting: list[Metric] = []
        self._checkpoints: list[dict[str, Any]] = []
        try:
            experiment = _experiment(client, spec)
            self.run_id = client.create_run(experiment, run_name=spec.name).info.run_id
            client.log_batch(
                self.run_id,
                params=_params(spec),
                tags=[RunTag("ringmaster.host", socket.gethostname())],
            )
            client.log_text(self.run_id, spec.model_dump_json(indent=1), "job.json")
        except Exception as error:  # sqlalchemy, requests and MLflow itself raise unrelated types here
            raise TrackingError(f"MLflow refused the run: {_cause(error)}") from error
        server = without_password(tracking_uri(spec.tracking.uri, spec.folder)).rstrip("/")
        page = f"{server}/#/experiments/{experiment}/runs/{self.run_id}"
        self.page = page if page.startswith(("http://", "https://")) else None
        """The run in a browser; None where the store is no server."""

    def log_epoch(self, metrics: dict[str, Any], checkpoint: str | None) -> None:
        """Record the metrics of one epoch (`epoch` is the step) and where its checkpoint was written."""
        step = int(metrics["epoch"])
        self._log({name: value for name, value in metrics.items() if isinstance(value, float)}, step)
        self._checkpoints.append({"epoch": step, "path": checkpoint, **metrics})

    def log_final(self, metrics: dict[str, float], *, epoch: int, tags: dict[str, str]) -> None:
        """Record what was measured on the best model. Raises TrackingError when it cannot be recorded."""
        self._log({name: value for name, value in metrics.items() if name.startswith("test_")}, epoch)
        with self._writing():
            for name, value in {"ringmaster.best_epoch": str(epoch), **tags}.items():
                self._client.set_tag(self.run_id, name, value)

    def attach(self, name: str, text: str) -> None:
        """Keep a text as a file of the run."""
        with self._writing():
            self._client.log_text(self.run_id, text, name)

    def log_dataset(self, name: str, digest: str, *, source: str, schema: str, rows: Mapping[str, int]) -> None:
        """Name the data of the run, as MLflow's dataset."""
        dataset = Dataset(
            name=name,
            digest=digest,
            source_type="ringmaster",
            source=json.dumps({"source": source}),
            schema=schema,
            profile=json.dumps({"num_rows": sum(rows.values()), **rows}),
        )
        with self._writing():
            used = [InputTag("mlflow.data.context", "training")]
            self._client.log_inputs(self.run_id, [DatasetInput(dataset, used)])

    def note(self, name: str, value: str) -> None:
        """Set a tag, for the record; a failure to do so is only logged."""
        try:
            self._client.set_tag(self.run_id, name, value)
        except Exception:
            logger.warning("could not set tag %s", name, exc_info=True)

    def save(self) -> None:
        """Write what still waits. Raises TrackingError when that fails."""
        with self._writing():
            self._flush()
            self._client.log_text(self.run_id, json.dumps(self._checkpoints, indent=1), "checkpoints.json")

    def finish(self) -> None:
        """Close the run as FINISHED. Raises TrackingError when metrics could not be written."""
        self.save()
        with self._writing():
            self._client.set_terminated(self.run_id, "FINISHED")

    def fail(self, error: BaseException) -> None:
        """Close the run as FAILED, or KILLED after Ctrl-C, with the error as a tag."""
        self.note("ringmaster.error", f"{type(error).__name__}: {error}"[:4000])
        try:
            self._client.set_terminated(self.run_id, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        except Exception:
            logger.warning("could not close run %s", self.run_id, exc_info=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # sqlalchemy, requests and MLflow itself raise unrelated types here
            raise TrackingError(
                f"MLflow lost run {self.run_id}: {_cause(error)}. Its checkpoints stay in "
                f"{self._folder / 'checkpoints'}"
            ) from error

    def _log(self, metrics: dict[str, float], step: int) -> None:
        now_ms = int(time.time() * 1000)
        self._waiting += [Metric(recorded_name(name), value, now_ms, step) for name, value in metrics.items()]
        try:
            self._flush()
        except Exception:
            logger.warning("MLflow does not answer; %d metrics wait", len(self._waiting), exc_info=True)

    def _flush(self) -> None:
        while self._waiting:
            batch = self._waiting[:500]
            self._client.log_batch(self.run_id, metrics=batch)
            del self._waiting[: len(batch)]


def _experiment(client: MlflowClient, spec: JobSpec) -> str:
    name = spec.tracking.experiment
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    local = tracking_uri(spec.tracking.uri, spec.folder).startswith("sqlite:")
    # Beside the database: MLflow's default would be a folder in the user's working directory.
    location = (spec.folder / "artifacts").absolute().as_uri() if local else None
    try:
        return str(client.create_experiment(name, artifact_location=location))
    except Exception:
        found = client.get_experiment_by_name(name)  # another job was faster
        if found is None:
            raise
        return str(found.experiment_id)


def _params(spec: JobSpec) -> list[Param]:
    """The spec, flat. MLflow allows few characters in a name and a column may hold any, so others become `_`."""
    flat = flatten(spec.model_dump(mode="json"))
    plain = {recorded_name(name): str(value)[:6000] for name, value in flat.items()}
    return [Param(name, value) for name, value in plain.items()]


def recorded_name(name: str) -> str:
    """A name of a parameter or metric as MLflow takes it: others of its characters become `_` (`acc@0.5`: `acc_0.5`).

    Nor may it be a path that leads out of its folder, as `/a`, `a//b` or `../a` do.
    """
    plain = re.sub(r"[^\w\-. :/]", "_", name)[:250]
    return plain if plain and posixpath.normpath(plain) == plain and plain[0] not in "/." else plain.translate(UNSAFE)


UNSAFE = str.maketrans("/", "_") | {ord("."): "_"}


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}; empty branches are left out."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


def _probe(uri: str) -> None:
    try:
        urllib.request.urlopen(f"{without_password(uri).rstrip('/')}/health", timeout=PROBE_TIMEOUT_S).close()  # noqa: S310
    except urllib.error.HTTPError:
        return  # it answers; whether it lets us in is seen next
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise TrackingError(
            f"no MLflow server answers at {without_password(uri)} ({error}). Start it, correct tracking.uri or "
            "MLFLOW_TRACKING_URI, or leave both out to use a file under the job's folder"
        ) from error


def _cause(error: BaseException) -> str:
    """The message on one line, without the SQL statement that failed."""
    text = PASSWORD.sub(r"\1***@", " ".join(str(error).split()) or type(error).__name__)
    return one_line(ValueError(text.partition(" [SQL:")[0].partition(" (Background on this error")[0]))


PASSWORD = re.compile(r"([a-z][a-z0-9+.-]*://[^/\s:@]*:)[^/\s]+@")
