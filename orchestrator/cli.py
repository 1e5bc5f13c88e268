"""The command line: one verb per command, each a thin call of the Python API.

Results go to standard output, progress and errors to standard error. With --json the last line of standard output is
one JSON object and nothing else is written there. What a command needs is imported inside it: `--help` and a typo in
the YAML file should not wait for Ray and MLflow.
"""

import errno
import json
import shutil
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.prompt import Confirm

from configs.errors import RingmasterError, SpecError
from configs.job import JobSpec
from configs.load import load_spec
from configs.serve import ServeSpec
from orchestrator import cluster_cli, console, jobs_cli, kubernetes_cli
from orchestrator.command import (
    DEFAULT_FOLDER,
    DEFAULT_PORT,
    LOCALHOST,
    Debug,
    Folder,
    Host,
    Job,
    Json,
    Model,
    Overrides,
    Port,
    TrackingUri,
    Verbose,
    app,
    command,
    print_json,
)

COMMANDS_OF = (cluster_cli, jobs_cli, kubernetes_cli)
"""Modules that hold commands of their own."""


def main() -> None:
    """Run the command line; a RingmasterError is one line and exit code 1, Ctrl-C is exit code 130."""
    signal.signal(signal.SIGTERM, _interrupt_once)
    try:
        code = app(standalone_mode=False)
    except (RingmasterError, typer.TyperException) as error:
        if "--debug" in sys.argv:
            traceback.print_exception(error)
        text = error.format_message() if isinstance(error, typer.TyperException) else str(error)
        if text:
            console.fail(" ".join(text.split()))
        code = getattr(error, "exit_code", 1)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT} or "--debug" in sys.argv:
            raise
        console.fail(f"no space is left on the disk of {error.filename or 'the output'}; free some, or use another")
        code = 1
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    sys.exit(code or 0)


def _interrupt_once(number: int, frame: FrameType | None) -> None:
    """Take SIGTERM, which ends a container, for Ctrl-C."""
    # KubeRay and whoever deletes the pod may each send one: a second must not interrupt the closing of the MLflow run.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


@app.callback()
def _commands() -> None:
    """Train Keras 3 models on Ray with Horovod, record them in MLflow, serve the best."""


@command("ringmaster train titanic data.csv=train.csv train.epochs=5")
def train(
    job: Job,
    overrides: Overrides = None,
    as_json: Json = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Train a job, register its best model and move the alias to it."""
    spec = load_spec(job, overrides or [])
    console.keep_log(spec.folder)
    console.err.print(f"{spec.name}: {spec.cluster.workers} Horovod rank(s), {spec.train.epochs} epochs")
    from orchestrator.pipeline import run

    view = console.TrainingView(spec)
    with view.watching():
        result = run(spec, on_event=view, verbose=verbose)
    if as_json:
        fields = "run_id model version alias metrics best_epoch epochs workers weights_sha256".split()
        print_json({name: getattr(result, name) for name in fields})
        return
    console.show_result(result)
    console.show_dashboard(spec)


@command("ringmaster verify titanic data.csv=train.csv --workers 2")
def verify(
    job: Job,
    overrides: Overrides = None,
    workers: Annotated[int, typer.Option(min=2, help="Workers to compare with one.")] = 2,
    steps: Annotated[int, typer.Option(min=1, help="Global batches to train on.")] = 10,
    tolerance: Annotated[float, typer.Option(help="Largest difference allowed, relative to the variable.")] = 1e-4,
    as_json: Json = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Train a few steps of a job on 1 and N workers; exit 1 when the weights differ."""
    spec = load_spec(job, overrides or [])
    console.keep_log(spec.folder)
    from orchestrator.verification import verify as compare

    differences = compare(spec, workers=workers, steps=steps)
    worst = max((one.largest / max(one.scale, 1e-3) for one in differences), default=0.0)
    if as_json:
        print_json({"equal": worst <= tolerance, "worst": worst, "differences": [vars(one) for one in differences]})
    else:
        console.show_differences(differences, worst, workers=workers, steps=steps, tolerance=tolerance)
    if not worst <= tolerance:
        raise typer.Exit(1)


@command("ringmaster predict titanic@champion --input test.csv --output submission.csv")
def predict(
    model: Model,
    input: Annotated[Path, typer.Option("--input", help="Raw rows: a file, or a folder, like that of the training.")],
    output: Annotated[Path, typer.Option("--output", help="CSV file to write: the id or file, and the prediction.")],
    folder: Folder = DEFAULT_FOLDER,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Predict every row of a file with a registered model."""
    console.keep_log(folder)
    from orchestrator.prediction import predict_file

    written = predict_file(model, input, output, folder=folder, uri=tracking_uri)
    for line in written.told:
        console.err.print(line)
    if as_json:
        print_json(
            {
                "model": written.model,
                "version": written.version,
                "rows": written.rows,
                "output": str(output),
            }
        )
    else:
        console.out.print(f"{written.rows} predictions of {written.model} version {written.version} in {output}")


@command("ringmaster deploy titanic@champion --port 8000")
def deploy(
    model: Model,
    host: Host = LOCALHOST,
    port: Port = DEFAULT_PORT,
    replicas: Annotated[int, typer.Option(min=1, help="Processes that answer.")] = 1,
    folder: Folder = DEFAULT_FOLDER,
    tracking_uri: TrackingUri = None,
    to: kubernetes_cli.ServeWhere = "local",
    job: kubernetes_cli.ServiceJob = None,
    namespace: kubernetes_cli.Namespace = None,
    context: kubernetes_cli.Context = None,
    as_json: Json = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Serve a registered model over HTTP until Ctrl-C, or on Kubernetes."""
    console.keep_log(folder)
    if to == "kuberay":
        kubernetes_cli.refuse(host=host != LOCALHOST, port=port != DEFAULT_PORT, replicas=replicas != 1)
        service = kubernetes_cli.Service(job, namespace, context, folder, tracking_uri)
        kubernetes_cli.deploy_to_kuberay(model, service, as_json=as_json)
        return
    from orchestrator.serving import serve_until_interrupted

    spec = ServeSpec(host=host, port=port, replicas=replicas)

    def announce(url: str, name: str, version: int) -> None:
        if as_json:
            print_json({"url": url, "model": name, "version": version})
        else:
            console.show_endpoint(url, name, version)

    serve_until_interrupted(spec, model, folder=folder, uri=tracking_uri, verbose=verbose, announce=announce)


@command("ringmaster dashboard --port 5000")
def dashboard(
    folder: Folder = DEFAULT_FOLDER,
    tracking_uri: TrackingUri = None,
    host: Host = LOCALHOST,
    port: Port = 5000,
    as_json: Json = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Show runs, metrics and models in MLflow's pages until Ctrl-C."""
    from orchestrator.dashboard import serve_dashboard

    def announce(url: str) -> None:
        if as_json:
            print_json({"url": url})
        else:
            console.out.print(f"MLflow shows {folder} at {url} (Ctrl-C to stop)")

    serve_dashboard(folder, tracking_uri, host=host, port=port, verbose=verbose, announce=announce)


@command("ringmaster doctor")
def doctor(as_json: Json = False, verbose: Verbose = False, debug: Debug = False) -> None:
    """Check versions, Horovod, ports and GPUs; say what is wrong and how to mend it."""
    from orchestrator.doctor import examine

    findings = examine()
    broken = [finding for finding in findings if finding.level == "wrong"]
    if as_json:
        print_json({"ok": not broken, "findings": [vars(finding) for finding in findings]})
    else:
        console.show_findings(findings)
    if broken:
        raise typer.Exit(1)


@command("ringmaster schema > ringmaster.schema.json")
def schema(as_json: Json = False, debug: Debug = False) -> None:
    """Print the JSON Schema of the YAML file, for editors."""
    tree = JobSpec.model_json_schema()
    if as_json:
        print_json(tree)
    else:
        console.out.print(json.dumps(tree, indent=2), markup=False)


@command("ringmaster demo")
def demo(
    folder: Folder = DEFAULT_FOLDER,
    as_json: Json = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """The main job on handwritten digits: train on two ranks, register, serve, ask the endpoint."""
    spec = load_spec("digits", [f"folder={json.dumps(str(folder))}"])
    console.keep_log(folder)
    console.err.print("Digits: a small CNN on two Horovod ranks (recipe configs/recipes/digits.yaml)")
    from orchestrator.demo import run_demo

    view = console.TrainingView(spec)
    shown = run_demo(spec, view, verbose=verbose)
    if as_json:
        print_json({**vars(shown.result), "answers": shown.answers, "truth": shown.truth})
        return
    console.show_result(shown.result)
    console.show_answers(shown)
    console.show_dashboard(spec)


@command("ringmaster clean --folder ringmaster-runs")
def clean(
    folder: Folder = DEFAULT_FOLDER,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Remove everything that jobs wrote: runs, models, checkpoints, logs."""
    if folder.exists():
        _require_ours(folder)
        question = f"Remove {folder.absolute()} with all runs and models in it?"
        if yes or _agreed(question):
            shutil.rmtree(folder)
            message = f"removed {folder.absolute()}"
        else:
            message = "nothing was removed"
    else:
        message = f"{folder.absolute()} does not exist; nothing to remove"
    if as_json:
        print_json({"folder": str(folder.absolute()), "message": message})
    else:
        console.out.print(message)


def _require_ours(folder: Path) -> None:
    if folder.is_symlink() or not folder.is_dir():
        what = "a link" if folder.is_symlink() else "a file"
        raise SpecError(f"--folder {folder} is {what}; name the folder that jobs write to")
    ours = {"mlflow.db", "artifacts", "autotune", "checkpoints", "logs", "stream"}
    entries = {entry.name for entry in folder.iterdir()}
    strangers = sorted(entries - ours)
    if strangers:
        raise SpecError(
            f"--folder {folder} holds {', '.join(strangers[:3])}, which Ringmaster did not write; remove it yourself"
        )
    if not entries & {"mlflow.db", "checkpoints"}:
        raise SpecError(f"--folder {folder} holds no run; if it is the right one, remove it yourself")


def _agreed(question: str) -> bool:
    try:
        return Confirm.ask(question, console=console.err, default=False)
    except EOFError as error:
        console.err.print()
        raise SpecError("there is no terminal to answer on; add --yes to remove the folder unasked") from error


# What a first user needs comes first in --help.
app.registered_commands.sort(key=lambda one: getattr(one.callback, "__module__", "") != __name__)
