"""Commands for jobs on a cluster: `submit`, `jobs`, `status`, `logs`, `stop`, `wait`; the same for every target."""

# ruff: noqa: PLR0913 (an option of a command is a parameter)

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.box import SIMPLE
from rich.table import Table

from configs.errors import ClusterError, SpecError
from configs.load import load_spec
from orchestrator import console
from orchestrator.command import DEFAULT_FOLDER, Debug, Folder, Job, Json, Overrides, Verbose, command, print_json
from orchestrator.kubernetes_cli import Context, Namespace, Queue, placed
from orchestrator.submit.places import Place, choose, environment, open_target, recall, remember
from orchestrator.submit.target import JobStatus, Submission, Target

To = Annotated[Literal["ray", "kuberay"] | None, typer.Option("--to", help="A Ray cluster, or Kubernetes.")]
Address = Annotated[
    str | None,
    typer.Option(help="The Ray cluster's dashboard, such as http://head:8265; by default RAY_API_SERVER_ADDRESS."),
]
Id = Annotated[str, typer.Argument(metavar="ID", help="What `ringmaster submit` printed.")]


@command("ringmaster submit job.yaml --to ray --address http://head:8265")
def submit(
    job: Job,
    overrides: Overrides = None,
    to: To = None,
    address: Address = None,
    namespace: Namespace = None,
    context: Context = None,
    queue: Queue = None,
    id: Annotated[str | None, typer.Option("--id", help="Id of the job; by default its name and 4 digits.")] = None,
    python: Annotated[
        str | None, typer.Option(help="For --to ray: the interpreter of the head node that has Ringmaster.")
    ] = None,
    as_json: Json = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Start a job on a cluster, with the Python files beside its YAML file, and return at once."""
    place = choose(to, address=address, namespace=namespace, context=context) or environment()
    if place is None:
        raise SpecError("say where to: --to ray --address http://head:8265, or --to kuberay")
    if place.to == "ray" and queue:
        raise SpecError("--queue goes with --to kuberay; on a Ray cluster a job waits until there is room")
    if place.to == "kuberay" and python:
        raise SpecError("--python goes with --to ray; set kubernetes.python in the YAML file")
    options = {"namespace": namespace, "context": context, "queue": queue} if place.to == "kuberay" else {}
    spec = load_spec(job, placed(overrides, **options))
    console.keep_log(spec.folder)
    from orchestrator.modules import check_model_function
    from orchestrator.submit.code import job_code

    check_model_function(spec)
    files = job_code(spec)
    target = open_target(place, python=python, kubernetes=spec.kubernetes)
    given = target.submit(Submission(_checked(id) or f"{spec.name}-{secrets.token_hex(2)}", spec, files))
    if place.to == "kuberay" and spec.kubernetes is not None:
        place = Place("kuberay", namespace=spec.kubernetes.namespace, context=spec.kubernetes.context)
    remember(spec.folder, given, place)
    if as_json:
        print_json({"id": given, **asdict(place), "files": sorted(files)})
        return
    where = f" --folder {spec.folder}" if spec.folder != DEFAULT_FOLDER else ""
    console.err.print(f"submitted {spec.name} with {len(files)} Python file(s): {place.options}", markup=False)
    console.err.print(f"follow it: ringmaster logs {given} -f{where}", markup=False)
    console.out.print(given, markup=False)


@command("ringmaster jobs --to ray --address http://head:8265")
def jobs(
    to: To = None,
    address: Address = None,
    namespace: Namespace = None,
    context: Context = None,
    folder: Folder = DEFAULT_FOLDER,
    as_json: Json = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """List the jobs that a cluster knows, the newest first."""
    _, target = _find(None, choose(to, address=address, namespace=namespace, context=context), folder)
    found = target.jobs()
    if as_json:
        print_json({"jobs": [_fields(one) for one in found]})
        return
    table = Table(box=SIMPLE, show_edge=False)
    for heading in ("id", "state", "submitted (UTC)", "MLflow run", "why"):
        table.add_column(heading, overflow="fold")
    for one in found:
        submitted = f"{one.submitted:%Y-%m-%d %H:%M:%S}" if one.submitted else ""
        table.add_row(one.id, one.state, submitted, one.mlflow_url or "", one.reason)
    console.out.print(table if found else "no job of Ringmaster is known there")


@command("ringmaster status titanic-7f3a")
def status(
    id: Id,
    to: To = None,
    address: Address = None,
    namespace: Namespace = None,
    context: Context = None,
    folder: Folder = DEFAULT_FOLDER,
    as_json: Json = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Show how a job stands, why, and its MLflow run."""
    _, target = _find(id, choose(to, address=address, namespace=namespace, context=context), folder)
    _show(target.status(id), as_json=as_json)


@command("ringmaster logs titanic-7f3a -f")
def logs(
    id: Id,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
    to: To = None,
    address: Address = None,
    namespace: Namespace = None,
    context: Context = None,
    folder: Folder = DEFAULT_FOLDER,
    as_json: Json = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Print what a job has printed. Ctrl-C leaves the job running."""
    named = choose(to, address=address, namespace=namespace, context=context)
    place, target = _find(id, named, folder)
    with _leaving(id, place, "logs", " -f"):
        lines = target.logs(id, follow=follow)
        if as_json:
            print_json({"id": id, "lines": list(lines)})
            return
        for line in lines:
            # Not `print`: it would expand tabs.
            console.out.file.write(f"{line}\n")
            console.out.file.flush()


@command("ringmaster stop titanic-7f3a")
def stop(
    id: Id,
    to: To = None,
    address: Address = None,
    namespace: Namespace = None,
    context: Context = None,
    folder: Folder = DEFAULT_FOLDER,
    as_json: Json = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """End a job in order: its MLflow run is closed as KILLED."""
    _, target = _find(id, choose(to, address=address, namespace=namespace, context=context), folder)
    page = None
    with suppress(ClusterError):  # looked at before: afterwards the job may be gone; what is wrong `stop` says better
        page = target.status(id).mlflow_url
    message = target.stop(id)
    if as_json:
        print_json({"id": id, "message": message, "mlflow_url": page})
        return
    console.out.print(message, markup=False)
    _show_run(page)


@command("ringmaster wait titanic-7f3a && echo trained")
def wait(
    id: Id,
    to: To = None,
    address: Address = None,
    namespace: Namespace = None,
    context: Context = None,
    folder: Folder = DEFAULT_FOLDER,
    as_json: Json = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Wait until a job ends; the exit code is the job's own, 130 for a stopped one, 75 where it is not known."""
    from orchestrator.submit.target import UNKNOWN_CODE
    from orchestrator.submit.target import wait as until_ended

    try:
        place, target = _find(id, choose(to, address=address, namespace=namespace, context=context), folder)
        with _leaving(id, place, "wait", ""):
            ended = until_ended(target, id)
    except ClusterError as error:
        error.exit_code = UNKNOWN_CODE
        raise
    _show(ended, as_json=as_json)
    raise typer.Exit(ended.verdict)


def _find(id: str | None, named: Place | None, folder: Path) -> tuple[Place, Target]:
    """The place that was named, else the one remembered for the id, else that of the environment, else the last."""
    console.keep_log(folder)
    place = named or (recall(folder, id) if id else None) or environment() or recall(folder, None)
    if place is None:
        what = f"where {id} runs" if id else "which cluster to ask"
        raise SpecError(
            f"it is not known {what}: nothing was submitted from {folder}; name the place with --to ray --address "
            "http://head:8265 or --to kuberay, or the job's folder with --folder"
        )
    return place, open_target(place)


@contextmanager
def _leaving(id: str, place: Place, verb: str, option: str) -> Iterator[None]:
    """Say how to come back when the user leaves with Ctrl-C; the job is not touched."""
    try:
        yield
    except KeyboardInterrupt:
        console.err.print(
            f"{id} runs on; come back with: ringmaster {verb} {id}{option} {place.options}; end it with: "
            f"ringmaster stop {id} {place.options}",
            markup=False,
        )
        raise typer.Exit(130) from None


def _checked(id: str | None) -> str | None:
    if id is not None and not (id.replace("-", "").replace("_", "").replace(".", "").isalnum() and id.isascii()):
        raise SpecError(f"--id {id}: expected letters, digits, '-', '_' and '.'")
    return id


def _fields(status: JobStatus) -> dict[str, Any]:
    submitted = status.submitted.isoformat() if status.submitted else None
    return {**asdict(status), "submitted": submitted}


def _show(status: JobStatus, *, as_json: bool) -> None:
    if as_json:
        print_json(_fields(status))
        return
    why = f": {status.reason}" if status.reason else ""
    console.out.print(f"{status.id} {status.state}{why}", markup=False)
    _show_run(status.mlflow_url)


def _show_run(page: str | None) -> None:
    if page:
        console.out.print(f"MLflow run: {page}", markup=False)
