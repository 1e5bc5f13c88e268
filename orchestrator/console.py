"""What a person sees: progress and results of ours only; other libraries' chatter goes to a log file."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from configs.job import JobSpec

err = Console(stderr=True, highlight=False, soft_wrap=True)
out = Console(highlight=False, soft_wrap=True)


@contextmanager
def quiet() -> Iterator[None]:
    """Send what other libraries and processes write to this terminal into a file, for the length of the block.

    Not only Python logs: Ray, TensorFlow and Gloo write to the file descriptors. The file lies in the folder that
    `keep_log` names, or nowhere.
    """
    with tempfile.TemporaryFile() as log:
        streams = {1: out, 2: err}
        terminals = {number: os.dup(number) for number in streams}
        for number, console in streams.items():
            console.file.flush()
            console.file = os.fdopen(os.dup(number), "w", buffering=1, encoding="utf-8")
            os.dup2(log.fileno(), number)
        try:
            yield
        finally:
            # What was printed but not yet written belongs into the log too.
            sys.stdout.flush()
            sys.stderr.flush()
            for number, console in streams.items():
                console.file.close()
                console.file = None  # type: ignore[assignment]
                os.dup2(terminals[number], number)
                os.close(terminals[number])
            _append(log)


_log_folder: list[Path] = []


def keep_log(folder: Path) -> None:
    """Name the job's folder: what `quiet` caught is appended to its logs/driver.log, if the folder exists by then."""
    _log_folder[:] = [folder]


def _append(log: IO[bytes]) -> None:
    log.seek(0)
    text = log.read()
    for folder in _log_folder:
        if text and folder.is_dir():
            path = folder / "logs" / "driver.log"
            # A full disk must not hide the error that it caused.
            with suppress(OSError):
                path.parent.mkdir(exist_ok=True)
                with path.open("ab") as kept:
                    kept.write(text)


class TrainingView:
    """Shows the events of a job: a live line on a terminal, a plain line per epoch everywhere."""

    def __init__(self, spec: JobSpec) -> None:
        self._spec = spec
        self._width = len(str(spec.train.epochs))
        self._live = Progress(
            TextColumn("  epoch {task.fields[epoch]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total} steps  {task.fields[numbers]}"),
            console=err,
            transient=True,
            disable=not err.is_terminal,
            redirect_stdout=False,  # or else other libraries' lines would go to the terminal, past `quiet`
            redirect_stderr=False,
        )
        self._task = self._live.add_task("", total=None, visible=False, epoch="", numbers="")

    @contextmanager
    def watching(self) -> Iterator["TrainingView"]:
        """Show the live line for the length of the block."""
        err.print("  starting Ray and the workers", style="dim")
        with self._live:
            yield self

    def __call__(self, event: dict[str, Any]) -> None:
        {
            "run": self._run,
            "note": self._note,
            "worker": self._worker,
            "step": self._step,
            "epoch": self._epoch,
            "failure": self._failure,
            "checkpoint": self._checkpoint,
        }[event["kind"]](event)

    def _run(self, event: dict[str, Any]) -> None:
        if event["page"]:  # a target finds it in what the job prints
            err.print(f"  MLflow run: {event['page']}", style="dim", markup=False)

    def _note(self, event: dict[str, Any]) -> None:
        err.print(f"  {event['text']}", style="yellow", markup=False)

    def _worker(self, event: dict[str, Any]) -> None:
        err.print(f"  rank {event['rank']} runs on {event['host']} (process {event['pid']})", style="dim")

    def _step(self, event: dict[str, Any]) -> None:
        numbers = f"{event['samples_per_s']:,.0f} samples/s  {_metrics(event['metrics'])}"
        epoch = f"{event['epoch']:>{self._width}}/{self._spec.train.epochs}"
        self._live.update(
            self._task,
            completed=event["step"],
            total=event["steps"],
            visible=True,
            epoch=epoch,
            numbers=numbers,
        )

    def _epoch(self, event: dict[str, Any]) -> None:
        metrics = dict(event["metrics"])
        epoch, speed = metrics.pop("epoch"), metrics.pop("samples_per_s")
        metrics.pop("weights_sha256")
        self._live.update(self._task, visible=False)
        err.print(
            f"  epoch {epoch:>{self._width}}/{self._spec.train.epochs}  {speed:>8,.0f} samples/s  {_metrics(metrics)}"
        )

    def _checkpoint(self, event: dict[str, Any]) -> None:
        """One inside an epoch is no news."""

    def _failure(self, event: dict[str, Any]) -> None:
        ranks = ", ".join(map(str, event["ranks"]))
        err.print(f"  lost rank {ranks}", style="yellow")


def _metrics(metrics: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in metrics.items() if isinstance(value, float))


def show_result(result: Any) -> None:
    """The end of a job: the numbers of the best epoch, the proof of reduction, the registered version."""
    out.print(f"best epoch {result.best_epoch} of {result.epochs}: {_metrics(result.metrics)}")
    out.print(f"weights proven equal: sha256 {result.weights_sha256[:16]}... on {', '.join(result.ranks)}")
    out.print(f"registered {result.reference} (version {result.version}), MLflow run {result.run_id}")


def show_answers(shown: Any) -> None:
    """What the endpoint answered, beside the truth."""
    table = Table(title=f"POST {shown.url}/predict", title_justify="left", box=SIMPLE)
    for heading in ("test image", "answer", "probability", "truth"):
        table.add_column(heading, justify="right")
    for number, row in enumerate(zip(shown.answers, shown.scores, shown.truth, strict=True), 1):
        answer, score, truth = row
        table.add_row(
            str(number),
            str(answer),
            f"{score:.3f}",
            str(truth) if answer == truth else f"{truth}  (wrong)",
        )
    out.print(table)


def show_endpoint(url: str, name: str, version: int) -> None:
    """Where the endpoint listens and how to ask it."""
    out.print(f"{name} version {version} answers at {url}/predict (Ctrl-C to stop)")
    out.print(f"what a row holds: curl {url}/schema; try it in the browser: {url}/docs", style="dim")


def show_dashboard(spec: JobSpec) -> None:
    """How to look at the run."""
    option = "" if spec.folder == type(spec).model_fields["folder"].default else f" --folder {spec.folder}"
    beside = os.path.relpath(Path(sys.executable).parent / "ringmaster")
    if shutil.which("ringmaster"):
        command = "ringmaster"
    else:
        command = beside if not beside.startswith("..") else os.path.abspath(beside)
    out.print(f"see it in MLflow: {command} dashboard{option}", markup=False)


def show_differences(differences: list[Any], worst: float, *, workers: int, steps: int, tolerance: float) -> None:
    """A row per variable, the largest difference first, and the verdict."""
    table = Table(title=f"1 against {workers} workers after {steps} steps", title_justify="left", box=SIMPLE)
    for heading in ("variable", "largest difference", "largest value"):
        table.add_column(heading, justify="left" if heading == "variable" else "right")
    for one in differences:
        table.add_row(one.name, f"{one.largest:.2e}", f"{one.scale:.2e}")
    out.print(table)
    verdict = (
        "equal" if worst <= tolerance else "NOT equal: rows are lost, seen twice or weighted wrongly, or a layer "
    )
    verdict += "" if worst <= tolerance else "(such as BatchNormalization) computes across the rows of one worker"
    out.print(f"relative difference {worst:.2e}, allowed {tolerance:.2e}: {verdict}")


def show_findings(findings: list[Any]) -> None:
    """A line per check, with the fix where there is something to mend."""
    marks = {"ok": "[green]ok   [/]", "note": "[yellow]note [/]", "wrong": "[red]wrong[/]"}
    for finding in findings:
        out.print(f"{marks[finding.level]} ", end="")
        out.print(
            f"{finding.what}: {finding.found}" + (f" -> {finding.fix}" if finding.fix else ""),
            markup=False,
        )


def fail(message: str) -> None:
    """Print the one line of an error."""
    err.print("error: ", style="bold red", end="")
    err.print(message, markup=False)
