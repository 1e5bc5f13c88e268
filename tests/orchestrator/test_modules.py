"""A model function is checked without importing it."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from configs.errors import SpecError
from configs.job import JobSpec
from orchestrator.modules import check_model_function, find_source

Make = Callable[..., JobSpec]

SOURCE = '''
raise RuntimeError("is never run")
from somewhere import imported as renamed
import other
constant = lambda: 1

def build(size, *, depth, width=3):
    """size and depth are needed."""

def anything(**params):
    pass

def positional(first, /, second=2):
    pass

if constant:
    def conditional(size=1):
        pass
else:
    conditional = None

annotated: object = constant

@renamed
def decorated():
    pass

class Builder:
    def __call__(self):
        pass

def sets():
    global made
    made = constant

async def later():
    pass
'''


@pytest.fixture
def job(small_job: Make) -> Make:
    """Return `make(function, params)` with models.py beside the YAML file."""
    Path("models.py").write_text(SOURCE)
    return lambda function, params="{}": small_job(f"model.function={function}", f"model.params={params}")


@pytest.mark.parametrize(
    ("function", "params"),
    [
        ("models:build", "{size: 1, depth: 2}"),
        ("models:build", "{size: 1, depth: 2, width: 3}"),
        ("models:anything", "{whatever: 1}"),
        ("models:renamed", "{x: 1}"),
        ("models:constant", "{}"),
        ("models:conditional", "{size: 1}"),
        ("models:annotated", "{x: 1}"),
        ("models:decorated", "{x: 1}"),
        ("models:Builder", "{x: 1}"),
        ("models:made", "{}"),
        ("trainers.zoo.mlp:build", "{hidden: [1]}"),
        ("keras.applications:ResNet50", "{}"),
    ],
)
def test_functions_that_are_there(job: Make, function: str, params: str) -> None:
    check_model_function(job(function, params))
    assert "models" not in sys.modules


@pytest.mark.parametrize(
    ("function", "params", "expected"),
    [
        (
            "modles:build",
            "{}",
            "model.function='modles:build': no module 'modles' is installed, and no modles.py lies in {home}. "
            "Correct the name, or put the file there",
        ),
        (
            "models:biuld",
            "{}",
            "model.function='models:biuld': {home}/models.py has unknown name 'biuld'; did you mean 'build'? "
            "Valid: Builder, annotated, anything, build, conditional, constant, decorated, later, made, other, "
            "positional, renamed, sets",
        ),
        (
            "models:build",
            "{size: 1, depth: 2, widht: 3}",
            "model.params: unknown parameter of models:build 'widht'; did you mean 'width'? Valid: depth, size, width",
        ),
        ("models:build", "{size: 1}", "model.params lacks 'depth', which models:build needs; add it"),
        ("models:build", "{depth: 1}", "model.params lacks 'size', which models:build needs; add it"),
        (
            "trainers.zoo.cnn:build",
            "{classes: 2}",
            "model.params lacks 'input_shape', which trainers.zoo.cnn:build needs; add it",
        ),
        (
            "models:later",
            "{}",
            "model.function='models:later': is an async function; write `def`, so that it returns the model",
        ),
        (
            "deep:build",
            "{}",
            "model.function='deep:build': {home}/deep.py cannot be read as Python: its expressions are nested too "
            "deeply",
        ),
        (
            "broken:build",
            "{}",
            "model.function='broken:build': {home}/broken.py line 2 is not Python: expected ':'",
        ),
    ],
)
def test_what_is_wrong_is_named(job: Make, function: str, params: str, expected: str) -> None:
    Path("deep.py").write_text("x = " + "-" * 100_000 + "1")
    Path("broken.py").write_text("x = 1\ndef build()\n    pass\n")
    with pytest.raises(SpecError) as caught:
        check_model_function(job(function, params))
    assert str(caught.value) == expected.replace("{home}", str(Path.cwd()))


def test_a_file_beside_the_yaml_file_comes_before_an_installed_module(tmp_path: Path) -> None:
    (tmp_path / "keras.py").write_text("")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    assert find_source("keras", tmp_path) == tmp_path / "keras.py"
    assert find_source("package", tmp_path) == tmp_path / "package" / "__init__.py"
    assert find_source("no.such.module", tmp_path) is None
    found = find_source("trainers.zoo.mlp", tmp_path)
    assert found is not None
    assert found.parts[-3:] == ("trainers", "zoo", "mlp.py")
