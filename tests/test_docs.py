"""What the documents say is there, is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

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
