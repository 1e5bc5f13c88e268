"""YAML file + `a.b=c` overrides -> `JobSpec`. Every mistake becomes one `SpecError` line."""

import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from configs.errors import SpecError
from configs.job import JobSpec
from configs.names import PATTERNS
from configs.spec import unknown


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 1e-3 as a number (YAML 1.1 makes it text) and refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(
                problem=f"key {twice!r} is given twice", problem_mark=node.start_mark
            )
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def load_spec(path: str | Path, overrides: Sequence[str] = ()) -> JobSpec:
    """Read a job from a YAML file, or from a recipe by its name (`titanic`), and apply `a.b=c` overrides.

    Raises SpecError naming the file, the key, the value and the fix.
    """
    file = _find(Path(path))
    tree = _parse(_read(file), where=str(path))
    if not isinstance(tree, dict):
        raise SpecError(f"{path}: expected a mapping with keys such as name, data and model, got {tree!r:.60}")
    for override in overrides:
        _apply(tree, override)
    try:
        spec = JobSpec.model_validate(tree)
    except ValidationError as error:
        raise SpecError(f"{path}: {_first_problem(error, tree)}") from error
    spec._home = file.resolve().parent
    return spec


def recipe_names() -> list[str]:
    """Names of the recipes that ship with Ringmaster."""
    return sorted(path.stem for path in _recipes().glob("*.yaml"))


def _recipes() -> Path:
    return Path(str(resources.files("configs") / "recipes"))


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    if str(path) in recipe_names():
        return _recipes() / f"{path.name}.yaml"
    if path.is_dir():
        raise SpecError(f"{path}: is a folder. Give the path of a job's YAML file")
    if path.suffix in {".yaml", ".yml"}:
        raise SpecError(f"{path}: no such file. Give the path of a job's YAML file")
    raise SpecError(f"{path}: neither a file nor a recipe; {unknown('recipe', str(path), recipe_names())}")


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"{file}: is not UTF-8 text (byte {error.start + 1}); save it as UTF-8") from error
    except OSError as error:
        raise SpecError(f"{file}: cannot be read: {error.strerror}") from error


def _parse(text: str, *, where: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" line {mark.line + 1} column {mark.column + 1}" if mark else ""
        raise SpecError(f"{where}:{place} is not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise SpecError(f"{where}: is not valid YAML: {' '.join(str(error).split())}") from error


def _apply(tree: dict[str, Any], override: str) -> None:
    path, separator, value = override.partition("=")
    if not separator or not path:
        raise SpecError(f"override {override!r}: expected key.key=value, for example train.epochs=5")
    *parents, leaf = path.split(".")
    node = tree
    for depth, parent in enumerate(parents, 1):
        child = node.get(parent)
        shorthand = _shorthand(parents[:depth])
        if child is None:
            child = {}
        elif isinstance(child, str) and shorthand:
            child = {shorthand: child}
        elif not isinstance(child, dict):
            raise SpecError(f"override {override!r}: {parent!r} holds {child!r} and has no keys of its own")
        node[parent] = child
        node = child
    # A format such as %d/%m/%Y is text: in YAML no value may begin with a percent sign.
    node[leaf] = value if value.startswith("%") else _parse(value, where=f"override {override!r}")


def _shorthand(path: list[str]) -> str | None:
    """The key that a bare name stands for; an override of a key beside it keeps that name."""
    if path == ["train", "optimizer"]:
        return "name"
    return "kind" if path[:2] == ["data", "features"] and len(path) == 3 else None


EXPECTED = {
    "dict_type": "expected a mapping of keys to values",
    "model_type": "expected a mapping of keys to values",
    "model_attributes_type": "expected a mapping of keys to values",
    "path_type": "expected a path",
    "string_type": "expected text; put quotes around it if it looks like a number, a date or yes/no",
    "too_short": "expected at least one",
    "tuple_type": "expected a list, such as [a, b]",
}
"""What pydantic says in the words of Python, in the words of YAML."""


def _first_problem(error: ValidationError, tree: dict[str, Any]) -> str:
    """One line for the first problem: where, the value that arrived, what was expected."""
    problems = error.errors(include_url=False)
    first = problems[0]
    where = _place(first["loc"], tree)
    if first["type"] == "missing":
        return f"{where} is missing; add it"
    # A value that may be of several types gives a problem for each of them.
    messages = dict.fromkeys(_expected(problem) for problem in problems if _place(problem["loc"], tree) == where)
    text = "; or ".join(messages)
    if first["type"] == "value_error":
        return f"{where}: {text}" if where else text
    return f"{where}={first['input']!r}: {text}"


def _expected(problem: Any) -> str:
    if problem["type"] == "string_pattern_mismatch":
        return f"expected {PATTERNS[problem['ctx']['pattern']]}"
    return EXPECTED.get(problem["type"], str(problem["msg"]).removeprefix("Value error, "))


def _place(location: tuple[int | str, ...], tree: Any) -> str:
    """The dotted key, without the marks that pydantic adds for alternatives of a union.

    A mark is what the tree does not hold; the last part may be a key that is missing.
    """
    place: list[str] = []
    for part in location:
        if isinstance(tree, dict) and part in tree:
            tree = tree[part]
        elif isinstance(tree, list | tuple) and isinstance(part, int) and part < len(tree):
            tree = tree[part]
        elif part in MARKS or "[" in str(part):
            continue
        place.append(str(part))
    return ".".join(place)


MARKS = {"number", "category", "date", "text", "image", "tensor", "auto", "float", "int", "str"}
