"""What the documents say is there, is there."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.job import JobSpec
from configs.load import recipe_names

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "packaging/horovod/README.md"]
README = (ROOT / "README.md").read_text()
PACKAGES = ("configs", "trainers", "trainers/hvd", "trainers/zoo", "deploy", "orchestrator")


def block_after(marker: str) -> str:
    """The first fenced block after a marker in the README."""
    return re.search(r"```\w*\n(.*?)```", README[README.index(marker) :], re.DOTALL)[1]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text())
    assert [t for t in targets if "://" not in t and not (document.parent / t).exists()] == []


def test_tree_names_every_file() -> None:
    listed: dict[str, set[str]] = {}
    for line in block_after("## The tree").splitlines():
        name = line.split()[0]
        if not line.startswith(" "):
            folder = name.rstrip("/")
        elif folder in PACKAGES and name.endswith(".py"):
            listed.setdefault(folder, set()).add(name)
    there = {package: {path.name for path in (ROOT / package).glob("*.py")} - {"__init__.py"} for package in PACKAGES}
    assert listed == there


def test_the_yaml_in_the_readme_is_the_recipe() -> None:
    recipe = (ROOT / "configs/recipes/titanic.yaml").read_text()
    assert yaml.safe_load(block_after("The file in full")) == yaml.safe_load(recipe)


def test_the_command_table_is_complete() -> None:
    done = subprocess.run([sys.executable, "-m", "orchestrator", "--help"], capture_output=True, text=True, check=True)
    commands = re.findall(r"^\W*(\w+)  +[A-Z]", done.stdout.split("Commands")[1], re.MULTILINE)
    assert set(re.findall(r"^\| `ringmaster (\w+)", README, re.MULTILINE)) == set(commands)


@pytest.mark.parametrize("command", re.findall(r"^\| `ringmaster (\w+)", README, re.MULTILINE))
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", command, "--help"], capture_output=True, text=True, check=True
    )
    assert f"Example: ringmaster {command}" in done.stdout


def test_recipes_are_found_by_name() -> None:
    assert recipe_names() == sorted(path.stem for path in (ROOT / "configs/recipes").glob("*.yaml"))


MINIMAL = {
    "name": "job",
    "data": {"csv": "rows.csv", "features": {"x": "number"}, "target": {"column": "y"}},
    "model": {"function": "trainers.zoo.mlp:build"},
    "train": {"loss": "mse"},
}


def yaml_blocks() -> list[tuple[str, str]]:
    """(document, text) of every block of YAML in the documents for users."""
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    found = [(path.name, block) for path in documents for block in YAML_BLOCK.findall(path.read_text())]
    return [(name, block) for name, block in found if "apiVersion" not in block]


CONTEXT = {
    "dates": {"features": dict.fromkeys(["x", "day", "logged", "batch"], "date")},
    "window": {"split": {"by": "group", "column": "station", "valid": 0.2}},
}
"""What a setting that is shown alone goes with."""
YAML_BLOCK = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize(("document", "block"), yaml_blocks())
def test_yaml_in_the_documents_loads_as_a_job(document: str, block: str) -> None:
    for given in alternatives(block):
        sections = JobSpec.model_fields.keys()
        around = next((CONTEXT[key] for key in given if key in CONTEXT), {})
        fragment = given if given.keys() <= sections else {"data": {**around, **given}}
        JobSpec.model_validate(merged(MINIMAL, fragment))


def alternatives(block: str) -> list[dict[str, Any]]:
    """What a block says; where its lines give a key several times, each by itself."""
    keys = re.findall(r"^(\w+):", block, re.MULTILINE)
    if len(set(keys)) == len(keys):
        return [yaml.safe_load(block)]
    return [yaml.safe_load(line) for line in block.splitlines() if line.strip()]


def merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Sections key by key; where a source is named, it takes the place of the other."""
    found = {**base}
    for key, value in more.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict) and key in MINIMAL
        found[key] = {**base[key], **value} if both else value
    data = more.get("data", {})
    if "csv" not in data and {"files", "function"} & data.keys():
        del found["data"]["csv"]
    return found
