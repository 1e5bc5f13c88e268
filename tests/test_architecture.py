"""Imports point down the stack, each outside library has one home, and files stay readable."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT: dict[str, set[str]] = {
    "configs": set(),
    "trainers": {"configs"},
    "deploy": {"configs"},
    "orchestrator": {"configs", "trainers", "deploy"},
}
HOMES = {
    "horovod": ("trainers/hvd/",),
    "mlflow": ("orchestrator/tracking.py", "orchestrator/registry.py", "deploy/models.py"),
    "kubernetes": ("orchestrator/submit/kuberay.py",),
    "typer": (
        *("orchestrator/cli.py", "orchestrator/command.py", "orchestrator/cluster_cli.py"),
        *("orchestrator/jobs_cli.py", "orchestrator/kubernetes_cli.py"),
    ),
    "fastapi": ("deploy/app.py",),
}
FORBIDDEN_NAMES = {"utils", "helpers", "common", "manager", "base"}
MAX_LINES = 400
SOURCES = [path for package in MAY_IMPORT for path in sorted((ROOT / package).rglob("*.py"))]


def imported_packages(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    froms = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.split(".")[0] for name in plain | froms}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    package = name.split("/")[0]
    imported = imported_packages(path)
    upward = (imported & MAY_IMPORT.keys()) - MAY_IMPORT[package] - {package}
    strays = {lib for lib, homes in HOMES.items() if lib in imported and not name.startswith(homes)}
    assert not upward, f"{name} imports {sorted(upward)}; {package} may import {sorted(MAY_IMPORT[package])}"
    assert not strays, f"{name} imports {sorted(strays)}; keep it in {[HOMES[lib] for lib in strays]}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short_and_named_for_what_they_hold(path: Path) -> None:
    assert path.stem not in FORBIDDEN_NAMES
    assert len(path.read_text().splitlines()) <= MAX_LINES
    assert ast.get_docstring(ast.parse(path.read_text())), "says in its first line what it is for"


@pytest.mark.parametrize(
    ("module", "foreign"),
    [
        ("orchestrator", ["tensorflow", "keras", "horovod"]),
        ("orchestrator.serving", ["tensorflow", "keras", "horovod"]),
        ("orchestrator.cli", ["tensorflow", "keras", "horovod", "ray", "mlflow"]),
        ("orchestrator.submit.stop_driver", ["tensorflow", "keras", "horovod", "ray", "mlflow"]),
        ("deploy.app", ["tensorflow", "keras", "horovod"]),
        ("deploy.predictor", ["horovod", "ray"]),
        ("trainers.job", ["tensorflow", "keras", "horovod", "ray"]),
        ("configs", ["tensorflow", "keras", "horovod", "ray", "mlflow", "pandas"]),
    ],
)
def test_heavy_libraries_are_not_loaded(module: str, foreign: list[str]) -> None:
    """Each of them costs seconds at every start, and a serving image has no Horovod."""
    code = f"import {module}, sys; print([name for name in {foreign!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
