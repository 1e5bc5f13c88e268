"""What the commands share: the Typer application, how a function becomes a command, and options with one meaning.

A module that holds commands imports this one; `orchestrator.cli` imports those modules and runs the application.
"""

import contextlib
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from configs.job import JobSpec
from configs.serve import ServeSpec
from orchestrator import console

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Train Keras 3 models on Ray with Horovod, record them in MLflow, serve the best.",
)

Job = Annotated[str, typer.Argument(metavar="JOB.yaml", help="The job's YAML file, or the name of a recipe.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY.KEY=VALUE", help="Replace values of the YAML file."),
]
Model = Annotated[str, typer.Argument(metavar="NAME@ALIAS", help="A registered model; also NAME/VERSION.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of standard output.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show what Ray, TensorFlow and Serve print.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Folder = Annotated[Path, typer.Option("--folder", help="The folder that jobs write to.")]
TrackingUri = Annotated[str | None, typer.Option("--tracking-uri", help="MLflow server; by default the job's store.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")]

DEFAULT_FOLDER: Path = JobSpec.model_fields["folder"].default
LOCALHOST: str = ServeSpec().host
DEFAULT_PORT: int = ServeSpec().port


def command(example: str, group: typer.Typer = app) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a command that, without --verbose, shows our lines only."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def quietly(**arguments: Any) -> None:
            try:
                with contextlib.nullcontext() if arguments.get("verbose") else console.quiet():
                    function(**arguments)
            except KeyboardInterrupt:
                console.err.print("interrupted; what was started is stopped")
                raise typer.Exit(130) from None

        return group.command(epilog=f"Example: {example}")(quietly)

    return register


def print_json(values: dict[str, Any]) -> None:
    """Print the one JSON object of --json."""
    console.out.print(json.dumps(values, default=str), markup=False, soft_wrap=True)
