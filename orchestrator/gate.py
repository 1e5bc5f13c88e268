"""The last step before an alias moves: whether the registered folder can be served, in a process of its own."""

import importlib.util
import tempfile
from pathlib import Path

import ray

from configs.errors import DeployError
from configs.gate import Gate
from configs.job import JobSpec


def require_servable(folder: Path, spec: JobSpec) -> None:
    """Raise DeployError unless a new process can load the folder and replay its golden batch.

    The process runs here, or on a node of the cluster where this machine has no TensorFlow.
    """
    if importlib.util.find_spec("tensorflow") is not None:
        problem = problem_with(folder, spec.serve.packages)
    else:
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }
        task = ray.remote(_problem_with_files).options(num_cpus=spec.cluster.cpus_per_worker)
        problem = ray.get(task.remote(files, spec.serve.packages))
    if problem is not None:
        raise DeployError(problem)


def problem_with(folder: Path, packages: tuple[str, ...]) -> str | None:
    """Why the folder cannot be served; None where it can."""
    with Gate(packages) as gate:
        gate.ask(folder)
        return gate.problem()


def _problem_with_files(files: dict[str, bytes], packages: tuple[str, ...]) -> str | None:
    with tempfile.TemporaryDirectory(prefix="ringmaster-version-") as folder:
        for path, content in files.items():
            file = Path(folder, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return problem_with(Path(folder), packages)
