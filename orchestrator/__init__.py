"""The driver: takes a job from its YAML file to a registered, served model.

`from orchestrator import run; run(load_spec("job.yaml"))` does what `ringmaster train job.yaml` does. The names are
imported on first use: `ringmaster --help` and a typo in the YAML file need not wait for Ray and MLflow.
"""

from importlib import import_module
from typing import Any

HOMES = {"run": "orchestrator.pipeline", "RunResult": "orchestrator.pipeline", "load_spec": "configs.load"}

__all__ = ["RunResult", "load_spec", "run"]  # noqa: F822 (made by __getattr__)


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"orchestrator has no name {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(HOMES[name]), name)
