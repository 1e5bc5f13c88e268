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
    if source.suffix != ".py":
        return  # compiled: what it holds is seen when it is imported
    bound = _bindings(_parsed(source, path))
    if function_name not in bound and not ANYTHING & bound.keys():
        raise SpecError(f"model.function={path!r}: {source} has {unknown('name', function_name, set(bound))}")
    binding = bound.get(function_name, [])
    if any(isinstance(node, ast.AsyncFunctionDef) for node in binding[-1:]):
        raise SpecError(f"model.function={path!r}: is an async function; write `def`, so that it returns the model")
    # What is bound twice, or decorated, may take other parameters than are written there.
    if len(binding) == 1 and isinstance(binding[0], ast.FunctionDef) and not binding[0].decorator_list:
        _check_parameters(binding[0], spec)


def _parsed(source: Path, path: str) -> ast.Module:
    try:
        return ast.parse(source.read_bytes())  # bytes: Python looks for the encoding that the file declares
    except SyntaxError as error:
        raise SpecError(f"model.function={path!r}: {source} line {error.lineno} is not Python: {error.msg}") from error
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        cause = "its expressions are nested too deeply" if isinstance(error, RecursionError | MemoryError) else error
        raise SpecError(f"model.function={path!r}: {source} cannot be read as Python: {cause}") from error


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


ANYTHING = {"*", "__getattr__", "globals", "exec", "setattr"}
"""Names that a module may use to get others which its source does not show."""


def _bindings(tree: ast.Module) -> dict[str, list[ast.AST]]:
    """The names that a module binds, in whatever statement, each with what binds it; those of ANYTHING if used."""
    bound: dict[str, list[ast.AST]] = {}
    waiting: list[ast.AST] = list(reversed(tree.body))
    while waiting:
        node = waiting.pop()
        for name in _names_bound(node):
            bound.setdefault(name, []).append(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            declared = [inner for inner in ast.walk(node) if isinstance(inner, ast.Global)]
            bound |= {name: [inner] for inner in declared for name in inner.names if name not in bound}
        else:
            waiting += reversed(list(ast.iter_child_nodes(node)))
    return bound


def _names_bound(node: ast.AST) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import):
        return [alias.asname or alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    if isinstance(node, ast.Name) and (isinstance(node.ctx, ast.Store) or node.id in ANYTHING):
        return [node.id]
    return []


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
