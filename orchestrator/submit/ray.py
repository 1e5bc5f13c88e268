"""A running Ray cluster as a place that runs jobs, through Ray's Jobs API.

A job is the same command as everywhere, started on the head node in a folder that holds its YAML file and its Python
files; Ringmaster itself is installed on the cluster.
"""

import asyncio
import os
import shlex
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import aiohttp

from configs.errors import ClusterError, SpecError
from configs.job import JobSpec
from configs.secrets import require_no_secret
from deploy.manifests.jobfiles import data_paths, dump, job_tree
from deploy.manifests.names import JOB_FILE
from deploy.manifests.pods import STOP_S
from orchestrator.session import RAY_ENVIRONMENT
from orchestrator.submit.ray_dashboard import Dashboard, Refused
from orchestrator.submit.rayjobs import last_line
from orchestrator.submit.room import require_room
from orchestrator.submit.target import RUN_PAGE, JobStatus, State, Submission

OURS, NAME, MLFLOW = "ringmaster", "ringmaster.job", "ringmaster.mlflow"
"""Keys of the metadata that Ray keeps with a job."""
LOCALHOST = ("://127.0.0.1", "://localhost", "://[::1]")
CLOSE_S = 0.25
QUIET_S = 10.0
"""After so long without a line the job is asked for, as a connection may be dead without a word."""
RETRY_S, PATIENCE_S = 1.0, 120.0
"""A dashboard that answered once is asked again this often, and for this long."""


class RayTarget:
    """A cluster by the address of its dashboard; implements `Target`. An id is Ray's submission id."""

    def __init__(self, address: str, *, python: str | None = None) -> None:
        """Connect. python: the cluster's interpreter that has Ringmaster. Raises ClusterError."""
        self._dashboard = Dashboard(address)
        self.url, self._client = self._dashboard.url, self._dashboard.client
        here = sys.executable if any(host in self.url for host in LOCALHOST) else "python"
        self._python = python or here
        self._pages: dict[str, str] = {}

    def submit(self, job: Submission) -> str:
        """Upload the job's files, start it and return its id.

        Raises SpecError for what would not be there, before anything is sent; ClusterError when the workers do not fit
        or the id is taken.
        """
        tree = job_tree(job.spec)
        require_portable(job.spec, tree)
        require_room(job.spec.cluster, self._dashboard.nodes())
        server = mlflow_server(job.spec)
        metadata = {OURS: "1", NAME: job.spec.name} | ({MLFLOW: server} if server else {})
        with tempfile.TemporaryDirectory(prefix="ringmaster-submit-") as folder:
            for path, content in {**job.files, JOB_FILE: dump(tree).encode()}.items():
                file = Path(folder, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            environment = {"working_dir": folder, "env_vars": job_environment(job.spec)}
            try:
                with self._dashboard.explained():
                    return str(
                        self._client.submit_job(
                            entrypoint=entrypoint(job.spec, self._python),
                            submission_id=job.id,
                            runtime_env=environment,
                            metadata=metadata,
                        )
                    )
            except Refused as error:
                if "already exists" not in str(error):
                    raise
                raise ClusterError(
                    f"the id {job.id} is taken at {self.url}; choose another with --id, or leave it out"
                ) from error

    def jobs(self) -> list[JobStatus]:
        """Every job of Ringmaster that the cluster still knows, the newest first."""
        with self._dashboard.explained():
            found = self._client.list_jobs()
        ours = [one for one in found if one.submission_id and OURS in (one.metadata or {})]
        ours.sort(key=lambda one: one.start_time or 0, reverse=True)
        waiting = self._dashboard.waiting_groups() if ours else {}
        return [self._status(one, waiting) for one in ours]

    def status(self, id: str) -> JobStatus:
        """How one job stands; an id that the cluster does not know is a ClusterError."""
        details = self._details(id)
        waiting = self._dashboard.waiting_groups() if details.status == "RUNNING" else {}
        return self._status(details, waiting)

    def ended(self, id: str) -> bool:
        """Whether nothing will change any more, asked without reading what the job printed."""
        return bool(self._details(id).status.is_terminal())

    def logs(self, id: str, follow: bool) -> Iterator[str]:
        """Yield the lines that the job has printed; with `follow` also those to come, until the job ends."""
        details = self._details(id)
        if follow and not details.status.is_terminal():
            yield from self._follow(id)
        else:
            yield from self._output(id).splitlines()

    def stop(self, id: str) -> str:
        """End a job in order, so that it can close its MLflow run; return what was done, in words."""
        details = self._details(id)
        if details.status.is_terminal():
            return f"{id} had ended already ({details.status.lower()}); nothing was stopped"
        with self._dashboard.explained():
            self._client.stop_job(id)
        deadline = time.monotonic() + STOP_S + 2 * RETRY_S
        while not (details := self._details(id)).status.is_terminal():
            if time.monotonic() > deadline:
                return f"{id} was told to stop and has not ended yet; `ringmaster wait {id}` tells when it has"
            time.sleep(RETRY_S / 2)
        return f"{id} was stopped" if details.status == "STOPPED" else f"{id} ended ({details.status.lower()})"

    def _details(self, id: str) -> Any:
        try:
            with self._dashboard.explained():
                return self._client.get_job_info(id)
        except Refused as error:
            if error.status != 404:
                raise
            raise ClusterError(
                f"there is no job {id} at {self.url}; `ringmaster jobs --address {self.url}` lists what is there"
            ) from error

    def _status(self, details: Any, waiting: Mapping[str, list[dict[str, float]]]) -> JobStatus:
        id, reason = details.submission_id, _reason(details)
        state = cast(State, details.status.value)
        if state == "RUNNING" and details.job_id in waiting:
            state, reason = "QUEUED", f"it waits for room: {_bundles(waiting[details.job_id])}"
        started = details.start_time
        return JobStatus(
            id,
            state,
            reason,
            submitted=datetime.fromtimestamp(started / 1000, UTC) if started else None,
            mlflow_url=self._page(id) if state != "PENDING" else None,
            exit_code=details.driver_exit_code,
        )

    def _page(self, id: str) -> str | None:
        """The page of the job's MLflow run: only the job knows it, so it is read from what it printed."""
        if id not in self._pages:
            with suppress(ClusterError):  # its node may be gone
                if found := RUN_PAGE.search(self._output(id)):
                    self._pages[id] = found[0]
        return self._pages.get(id)

    def _output(self, id: str) -> str:
        with self._dashboard.explained():
            return str(self._client.get_job_logs(id))

    def _follow(self, id: str) -> Iterator[str]:
        """Lines until the job ends. A connection that breaks is taken up again, without repeating a line."""
        seen, deadline = 0, time.monotonic() + PATIENCE_S
        while True:
            count = 0
            try:
                for line in _synchronous(self._tail(id)):
                    count += 1
                    if count > seen:
                        seen, deadline = count, time.monotonic() + PATIENCE_S
                        yield line
                if self._details(id).status.is_terminal():
                    yield from self._output(id).splitlines()[seen:]
                    return
            except _Broken as error:
                if time.monotonic() > deadline:
                    raise ClusterError(str(error)) from error
            time.sleep(RETRY_S)

    async def _tail(self, id: str) -> AsyncGenerator[str]:
        """Complete lines from one connection. Raises _Broken when it breaks."""
        rest, chunks = "", self._client.tail_job_logs(id)
        pending: asyncio.Future[str] | None = None
        try:
            while True:
                pending = pending or asyncio.ensure_future(anext(chunks))
                done, _ = await asyncio.wait([pending], timeout=QUIET_S)
                if not done:
                    self._details(id)
                    continue
                *lines, rest = (rest + pending.result()).split("\n")
                pending = None
                for line in lines:
                    yield line
        except StopAsyncIteration:
            if rest:
                yield rest
        except (ClusterError, OSError, RuntimeError, aiohttp.ClientError) as error:
            raise _Broken(f"the connection to {self.url} broke and does not come back: {error}") from error
        finally:
            if pending is not None:
                pending.cancel()
                await asyncio.wait([pending])
            await chunks.aclose()


class _Broken(Exception):
    """The connection broke; the job may well run on."""


def entrypoint(spec: JobSpec, python: str) -> str:
    """The same command as everywhere, for the shell on the head node."""
    # A relative folder would lie in the one that Ray removes some time after the job.
    folder = str(spec.folder) if spec.folder.is_absolute() else f"~/{spec.folder}"
    words = [python, "-m", "orchestrator", "train", JOB_FILE, "cluster.address=auto", f"folder={folder}"]
    return shlex.join(words)


def job_environment(spec: JobSpec) -> dict[str, str]:
    """Variables of the job and its workers, in plain sight of everybody who may ask the cluster."""
    server = mlflow_server(spec)
    return {
        **RAY_ENVIRONMENT,
        "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_S),
        **({"MLFLOW_TRACKING_URI": server} if server else {}),
    }


def mlflow_server(spec: JobSpec) -> str | None:
    """The tracking server that the job will use; None for a file on the head node.

    Raises SpecError for a password in the address.
    """
    uri = spec.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI") or ""
    if not uri.startswith(("http://", "https://")):
        return None
    try:
        require_no_secret({"uri": uri}, where="tracking")
    except ValueError as error:
        raise SpecError(
            f"{str(error).partition(';')[0]} (it may come from MLFLOW_TRACKING_URI), and secrets do not travel: set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD where the cluster's nodes are started"
        ) from error
    return uri


def require_portable(spec: JobSpec, tree: Mapping[str, Any]) -> None:
    """Raise SpecError for a secret in the YAML file, and for data that the cluster would look for in vain."""
    try:
        require_no_secret(tree, where="")
    except ValueError as error:
        raise SpecError(
            f"{str(error).partition(';')[0].removeprefix('.')}, and secrets do not travel: take it out of the YAML "
            "file, and set it where the cluster's nodes are started"
        ) from error
    data = tree.get("data", {})
    for path in [*data_paths(data), *data_paths(data.get("test") or {})]:
        if "://" not in path and not Path(path).is_absolute():
            raise SpecError(
                f"data file {path} is on this machine, and data do not travel with a job: give a URI such as "
                f"s3://bucket/{Path(path).name}, or an absolute path on a disk that the cluster's head node sees"
            )


def _reason(details: Any) -> str:
    """Why it waits or what ended it, one line."""
    message = str(details.message or "")
    if details.status == "FAILED":
        line = last_line(message)
        if details.driver_exit_code == 127 or "No module named orchestrator" in line:
            python = shlex.split(details.entrypoint)[0]
            return f"{python} of the cluster does not have Ringmaster; name the interpreter that has it with --python"
        return line
    return " ".join(message.split()) if details.status == "PENDING" else ""


def _bundles(resources: list[dict[str, float]]) -> str:
    """[{"CPU": 1.0}, {"CPU": 1.0}] -> "2 x (1 CPU)"."""
    texts = [", ".join(f"{amount:g} {name}" for name, amount in sorted(one.items())) for one in resources]
    return " and ".join(f"{texts.count(text)} x ({text})" for text in dict.fromkeys(texts))


def _synchronous(lines: AsyncGenerator[str]) -> Iterator[str]:
    """The same lines without `async`. Left early, as by Ctrl-C, it closes the connection."""
    loop = asyncio.new_event_loop()
    task: asyncio.Task[str | None] | None = None
    try:
        while True:
            task = loop.create_task(_next(lines))
            line = loop.run_until_complete(task)
            if line is None:
                return
            yield line
    finally:
        if task is not None and not task.done():
            task.cancel()
            loop.run_until_complete(asyncio.wait([task]))
        loop.run_until_complete(lines.aclose())
        # aiohttp closes connections in the background, those with TLS by talking to the other side.
        loop.run_until_complete(asyncio.sleep(CLOSE_S))
        loop.close()


async def _next(lines: AsyncGenerator[str]) -> str | None:
    return await anext(lines, None)
