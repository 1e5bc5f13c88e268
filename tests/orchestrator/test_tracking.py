"""One MLflow run per job, in a real SQLite store; a server that is away for a while loses nothing."""

import json
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from configs.errors import SpecError, TrackingError
from configs.job import JobSpec
from orchestrator.tracking import Tracker, connect, connect_existing, flatten, tracking_uri

Make = Callable[..., JobSpec]


@pytest.fixture
def job(small_job: Make, connect_to_new: Callable[[JobSpec], MlflowClient]) -> tuple[JobSpec, MlflowClient]:
    spec = small_job()
    return spec, connect_to_new(spec)


class Server:
    """A client whose server can go away: `down` makes every write fail, as MLflow does without a network."""

    def __init__(self, client: MlflowClient) -> None:
        self._client, self.down = client, False

    def __getattr__(self, name: str) -> Any:
        if self.down and name in {"log_batch", "set_tag", "set_terminated", "log_text"}:
            return self._fail
        return getattr(self._client, name)

    def _fail(self, *arguments: Any, **options: Any) -> None:
        raise MlflowException("connection\nrefused")


def history(client: MlflowClient, run_id: str, name: str) -> list[tuple[int, float]]:
    return [(metric.step, metric.value) for metric in client.get_metric_history(run_id, name)]


def test_which_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The given one, else the environment's, else a file under the job's folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(None, Path("runs")) == f"sqlite:///{tmp_path}/runs/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://from-environment")
    assert tracking_uri(None, Path("runs")) == "http://from-environment"
    assert tracking_uri("http://given", Path("runs")) == "http://given"


def test_a_run_from_start_to_end(job: tuple[JobSpec, MlflowClient]) -> None:
    spec, client = job
    tracker = Tracker(client, spec)
    tracker.log_epoch({"epoch": 1, "loss": 0.5, "weights_sha256": "a"}, "/checkpoints/1")
    tracker.log_epoch({"epoch": 2, "loss": 0.25, "weights_sha256": "b"}, None)
    tracker.log_final({"loss": 0.25, "test_loss": 0.75}, epoch=2, tags={"ringmaster.weights_sha256": "b"})
    tracker.finish()

    run = client.get_run(tracker.run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "small")
    assert client.get_experiment(run.info.experiment_id).name == "ringmaster"
    assert run.data.params["train.global_batch_rows"] == "8"
    assert run.data.params["train.optimizer.params.learning_rate"] == "0.01"
    assert run.data.tags["ringmaster.best_epoch"] == "2"
    assert run.data.tags["ringmaster.weights_sha256"] == "b"
    assert history(client, tracker.run_id, "loss") == [(1, 0.5), (2, 0.25)]
    assert history(client, tracker.run_id, "test_loss") == [(2, 0.75)]
    folder = Path(spec.folder, "artifacts", tracker.run_id, "artifacts")
    assert JobSpec.model_validate_json((folder / "job.json").read_text()).model_dump() == spec.model_dump()
    assert json.loads((folder / "checkpoints.json").read_text()) == [
        {"epoch": 1, "path": "/checkpoints/1", "loss": 0.5, "weights_sha256": "a"},
        {"epoch": 2, "path": None, "loss": 0.25, "weights_sha256": "b"},
    ]


def test_metrics_wait_while_the_server_is_away(
    job: tuple[JobSpec, MlflowClient], caplog: pytest.LogCaptureFixture
) -> None:
    spec, client = job
    server: Any = Server(client)
    tracker = Tracker(server, spec)
    server.down = True
    with caplog.at_level(logging.WARNING):
        tracker.log_epoch({"epoch": 1, "loss": 0.5, "accuracy": 0.75}, None)
        tracker.note("ringmaster.last_failure", "ranks [1]")
    assert "MLflow does not answer; 2 metrics wait" in caplog.messages
    assert "could not set tag ringmaster.last_failure" in caplog.messages
    assert history(client, tracker.run_id, "loss") == []

    server.down = False
    tracker.log_epoch({"epoch": 2, "loss": 0.25, "accuracy": 0.5}, None)
    assert history(client, tracker.run_id, "loss") == [(1, 0.5), (2, 0.25)]
    assert history(client, tracker.run_id, "accuracy") == [(1, 0.75), (2, 0.5)]
    tracker.finish()
    assert client.get_run(tracker.run_id).info.status == "FINISHED"


def lost(tracker: Tracker) -> str:
    """The whole message, as a pattern: what is not recorded is still on disk."""
    stay = "Its checkpoints stay in ringmaster-runs/checkpoints"
    return f"^MLflow lost run {tracker.run_id}: connection refused. {stay}$"


def test_a_final_tag_that_cannot_be_written_is_one_line(job: tuple[JobSpec, MlflowClient]) -> None:
    spec, client = job
    server: Any = Server(client)
    tracker = Tracker(server, spec)
    server.down = True
    with pytest.raises(TrackingError, match=lost(tracker)):
        tracker.log_final({}, epoch=1, tags={})


def test_finish_writes_what_waits(job: tuple[JobSpec, MlflowClient]) -> None:
    spec, client = job
    server: Any = Server(client)
    tracker = Tracker(server, spec)
    server.down = True
    for epoch in range(1, 601):
        tracker.log_epoch({"epoch": epoch, "loss": 1 / epoch}, None)
    server.down = False
    tracker.finish()
    assert history(client, tracker.run_id, "loss") == [(epoch, 1 / epoch) for epoch in range(1, 601)]


def test_a_server_that_stays_away_is_an_error_in_the_end(job: tuple[JobSpec, MlflowClient]) -> None:
    spec, client = job
    server: Any = Server(client)
    tracker = Tracker(server, spec)
    server.down = True
    tracker.log_epoch({"epoch": 1, "loss": 0.5}, None)
    with pytest.raises(TrackingError) as caught:
        tracker.finish()
    assert re.match(lost(tracker), str(caught.value))
    tracker.fail(caught.value)  # raises nothing, so that the first error is the one that is seen


@pytest.mark.parametrize(
    ("error", "status", "tag"),
    [
        (ValueError("too bad"), "FAILED", "ValueError: too bad"),
        (KeyboardInterrupt(), "KILLED", "KeyboardInterrupt: "),
    ],
)
def test_a_run_that_fails(job: tuple[JobSpec, MlflowClient], error: BaseException, status: str, tag: str) -> None:
    spec, client = job
    tracker = Tracker(client, spec)
    tracker.fail(error)
    run = client.get_run(tracker.run_id)
    assert (run.info.status, run.data.tags["ringmaster.error"]) == (status, tag)


def test_columns_of_any_name_are_recorded(job: tuple[JobSpec, MlflowClient]) -> None:
    spec, client = job
    odd = spec.data.model_copy(update={"features": {"price (USD) / m\u00b2 *": spec.data.features["size"]}})
    tracker = Tracker(client, spec.model_copy(update={"data": odd}))
    params = client.get_run(tracker.run_id).data.params
    assert params["data.features.price _USD_ / m\u00b2 _.kind"] == "number"


def test_two_jobs_share_an_experiment(job: tuple[JobSpec, MlflowClient]) -> None:
    spec, client = job
    runs = [client.get_run(Tracker(client, spec).run_id) for _ in range(2)]
    assert runs[0].info.experiment_id == runs[1].info.experiment_id
    assert runs[0].info.run_id != runs[1].info.run_id


def test_a_server_that_refuses_the_run(job: tuple[JobSpec, MlflowClient]) -> None:
    spec, client = job
    server: Any = Server(client)
    server.down = True
    with pytest.raises(TrackingError) as caught:
        Tracker(server, spec)
    assert str(caught.value) == "MLflow refused the run: connection refused"


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_nothing_listens(closed_port: int, tmp_path: Path) -> None:
    """Found by one short look, and no password is shown."""
    with pytest.raises(TrackingError) as caught:
        connect(f"http://user:secret@127.0.0.1:{closed_port}", tmp_path)
    text = str(caught.value)
    assert text.startswith(f"no MLflow server answers at http://127.0.0.1:{closed_port} (")
    assert text.endswith(
        "). Start it, correct tracking.uri or MLFLOW_TRACKING_URI, "
        "or leave both out to use a file under the job's folder"
    )
    assert "secret" not in text
    assert list(tmp_path.iterdir()) == []


def test_a_store_of_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(
        TrackingError, match=r"^MLflow cannot be used at nosuch://user: .*Check tracking\.uri, or leave it"
    ):
        connect("nosuch://user", tmp_path)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is no database, but long enough to be read as one" * 20)
    with pytest.raises(TrackingError, match=r"^MLflow cannot be used at sqlite:///.*mlflow\.db: .*not a database"):
        connect(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        TrackingError, match=r"file/runs cannot be used: .*Not a directory.* Choose another with folder=PATH"
    ):
        connect(f"sqlite:///{tmp_path}/file/runs/mlflow.db", tmp_path / "file" / "runs")


def test_looking_makes_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(TrackingError) as caught:
        connect_existing(None, tmp_path / "runs")
    assert str(caught.value) == (
        f"{tmp_path}/runs holds no MLflow database; train a job first, or name its folder with --folder"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_exists_is_found(job: tuple[JobSpec, MlflowClient]) -> None:
    spec, _ = job
    assert connect_existing(None, spec.folder) == tracking_uri(None, spec.folder)


def test_flatten() -> None:
    assert flatten({"a": {"b": 1, "c": {}}, "d": [{"e": 2}], "f": None}) == {"a.b": 1, "d": [{"e": 2}], "f": None}


def test_two_jobs_make_one_store_together(tmp_path: Path) -> None:
    """In processes of their own, with temporary folders of their own: what one process cannot show."""
    code = "import sys, pathlib; from orchestrator.tracking import connect; connect(sys.argv[1], pathlib.Path('.'))"
    uri = f"sqlite:///{tmp_path}/runs/mlflow.db"
    jobs = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        environment = {**os.environ, "TMPDIR": str(tmp_path / str(number))}
        command = [sys.executable, "-c", code, uri]
        jobs.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    for job in jobs:
        _, errors = job.communicate(timeout=120)
        assert job.returncode == 0, errors
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["mlflow.db"]


def test_an_experiment_that_another_job_makes_first(
    job: tuple[JobSpec, MlflowClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, client = job
    made = client.create_experiment(spec.tracking.experiment)
    find = client.get_experiment_by_name
    answers = iter([lambda name: None, find])
    monkeypatch.setattr(client, "get_experiment_by_name", lambda name: next(answers)(name))
    tracker = Tracker(client, spec)
    assert client.get_run(tracker.run_id).info.experiment_id == made


@pytest.mark.parametrize(
    ("name", "recorded"),
    [
        ("acc@0.5", "acc_0.5"),
        ("val_loss", "val_loss"),
        ("a/b", "a/b"),
        ("../up", "___up"),
        ("/a", "_a"),
        ("F1 (%)", "F1 ___"),
    ],
)
def test_metrics_of_any_name_are_recorded(job: tuple[JobSpec, MlflowClient], name: str, recorded: str) -> None:
    spec, client = job
    tracker = Tracker(client, spec)
    tracker.log_epoch({"epoch": 1, name: 0.5}, None)
    tracker.finish()
    assert history(client, tracker.run_id, recorded) == [(1, 0.5)]


def test_any_error_of_the_server_is_one_line(
    job: tuple[JobSpec, MlflowClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, client = job

    def reset(*arguments: Any, **options: Any) -> None:
        raise ConnectionResetError("postgresql://me:word@host/db:\nreset by peer")

    monkeypatch.setattr(client, "log_batch", reset)
    with pytest.raises(TrackingError) as caught:
        Tracker(client, spec)
    assert str(caught.value) == "MLflow refused the run: postgresql://me:***@host/db: reset by peer"


@pytest.mark.parametrize("uri", ["http://me:word@host:5000", "postgresql+psycopg2://me:word@host/db"])
def test_a_password_is_not_taken_from_the_yaml_file(small_job: Make, uri: str) -> None:
    with pytest.raises(
        SpecError, match="tracking.uri.* holds a password, which would be recorded with the run"
    ) as caught:
        small_job(f"tracking.uri={uri}")
    assert "word@" not in str(caught.value)
