"""Finds what an import path names without importing it, so that a typo costs no TensorFlow import and no cluster."""

import ast
import importlib.util
from pathlib import Path

from configs.errors import SpecError
from configs.job import JobSpec
from configs.spec import unknown


def check_model_function(spec: JobSpec) -> None:
    """Raise SpecError when model.function names no function, or model.params do not fit its signature."""
    path = spec.model.function
    module_name, _, function_name = path.partition(":")
    source = find_source(module_name, spec.home)
    if source is None:
        raise SpecError(
            f"model.function={path!r}: no module {module_name!r} is installed, and no {module_name}.py lies in "
            f"{spec.home}. Correct the name, or put the file there"
        )
    try:
        tree = ast.parse(source.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise SpecError(f"model.function={path!r}: {source} line {error.lineno} is not Python: {error.msg}") from error
    names = _top_level_names(tree)
    if function_name not in names and "*" not in names:
        raise SpecError(f"model.function={path!r}: {source} has {unknown('name', function_name, names)}")
    function = next(
        (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function_name),
        None,
    )
    if function is not None:
        _check_parameters(function, spec)


def find_source(module_name: str, home: Path) -> Path | None:
    """The file of a module beside the YAML file, in the working folder, or installed; None where there is none."""
    relative = Path(*module_name.split("."))
    for folder in dict.fromkeys([home.absolute(), Path.cwd()]):
        for candidate in (folder / relative.with_suffix(".py"), folder / relative / "__init__.py"):
            if candidate.is_file():
                return candidate
    try:
        found = importlib.util.find_spec(module_name.partition(".")[0])
    except (ImportError, ValueError):
        return None
    for location in [] if found is None else [*(found.submodule_search_locations or []), found.origin]:
        inner = Path(str(location), *module_name.split(".")[1:])
        for candidate in (inner.with_suffix(".py"), inner / "__init__.py", inner):
            if candidate.is_file():
                return candidate
    return None


def _top_level_names(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return names


def _check_parameters(function: ast.FunctionDef, spec: JobSpec) -> None:
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    accepted = {argument.arg for argument in (*positional, *arguments.kwonlyargs)}
    given = set(spec.model.params)
    extra = sorted(given - accepted)
    if extra and arguments.kwarg is None:
        raise SpecError(f"model.params: {unknown(f'parameter of {spec.model.function}', extra[0], accepted)}")
    required = {argument.arg for argument in positional[: len(positional) - len(arguments.defaults)]}
    required |= {
        argument.arg
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if default is None
    }
    missing = sorted(required - given)
    if missing:
        raise SpecError(f"model.params lacks {missing[0]!r}, which {spec.model.function} needs; add it")
