"""Which of the job's own Python code a model needs to be loaded elsewhere, and what of it cannot travel.

Registered classes and functions travel as source files: those that define them, and all local modules which these
import. What Keras would save as byte code, or could not find again, is refused with the layer that holds it.
"""

import ast
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from configs.errors import SpecError, one_line
from configs.registered import CustomUse, ModelCode
from configs.secrets import SECRET_VALUES

OURS = {"configs", "deploy", "orchestrator", "trainers"}
REGISTER = "@keras.saving.register_keras_serializable()"


def model_code(model: keras.Model, homes: Sequence[str]) -> ModelCode:
    """Find the code of a built model. homes: the folders that local modules are imported from.

    Raises SpecError naming the layer whose code cannot travel, and what to do.
    """
    uses: dict[str, CustomUse] = {}
    for found in _custom_objects(_config(model), Place("the model", type(model).__name__)):
        target = keras.saving.get_registered_object(found.name)
        if target is None:
            raise SpecError(_unregistered(found))
        uses.setdefault(found.name, CustomUse(found.name, target.__module__, found.place.words(target)))
    local = {name: use for name, use in uses.items() if _local_file(use.module, homes)}
    packaged = [use for name, use in uses.items() if name not in local]
    sources = _sources([use.module for use in local.values()], homes)
    return ModelCode(sources, list(local.values()), packaged)


@dataclass(frozen=True)
class Place:
    """A layer, by the name that Keras gave it and its class."""

    name: str
    kind: str

    def words(self, target: Any = None) -> str:
        """Return "layer 'scale' (Scale)", and the object that it uses where that is another one."""
        layer = f"layer {self.name!r} ({self.kind})" if self.name != "the model" else f"the model ({self.kind})"
        other = getattr(target, "__name__", self.kind)
        return layer if other == self.kind else f"{layer}, which uses {other}"


@dataclass(frozen=True)
class Found:
    """An object in a model's configuration that is not Keras's own."""

    name: str
    kind: str
    module: str
    place: Place


def _config(model: keras.Model) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras warns about the lambda that is refused below
            return keras.saving.serialize_keras_object(model)
    except Exception as error:
        raise SpecError(_not_described(model, error)) from error


def _not_described(model: keras.Model, error: Exception) -> str:
    for layer in [each for each in model._flatten_layers() if each is not model]:
        try:
            keras.saving.serialize_keras_object(layer)
        except Exception as cause:
            place, error = Place(layer.name, type(layer).__name__), cause
            break
    else:
        place = Place("the model", type(model).__name__)
    return (
        f"{place.words()} cannot be saved: {one_line(error)} Give {place.kind} a get_config() that returns the "
        "arguments of its constructor, as numbers, texts, lists or serialized Keras objects"
    )


def _custom_objects(config: Any, place: Place) -> Iterator[Found]:
    """Walk a configuration; names of registered objects may stand in it as plain texts, too."""
    if isinstance(config, str):
        if config in keras.saving.get_custom_objects():
            yield Found(config, "function", "", place)
    elif isinstance(config, Mapping):
        yield from _custom_in_mapping(config, place)
    elif isinstance(config, list | tuple):
        for each in config:
            yield from _custom_objects(each, place)


def _custom_in_mapping(config: Mapping[str, Any], place: Place) -> Iterator[Found]:
    kind, inner = config.get("class_name"), config.get("config")
    if isinstance(kind, str) and "config" in config:
        if isinstance(inner, Mapping) and isinstance(inner.get("name"), str) and "dtype" in inner:
            place = Place(inner["name"], kind)
        if kind == "__lambda__":
            raise SpecError(_lambda(place))
        if not kind.startswith("__") and "registered_name" in config and not _is_keras(config):
            name = inner if kind == "function" else config["registered_name"]
            yield Found(str(name), kind, str(config.get("module") or ""), place)
    for value in config.values():
        yield from _custom_objects(value, place)


def _is_keras(config: Mapping[str, Any]) -> bool:
    """Whether Keras itself has the object. It saves every function as one of `builtins`, by its name alone."""
    module = str(config.get("module") or "")
    if config["class_name"] != "function" or module != "builtins":
        return module.partition(".")[0] in {"keras", "builtins"}
    try:
        return str(keras.saving.deserialize_keras_object(config).__module__).partition(".")[0] == "keras"
    except (TypeError, ValueError):
        return False


def _lambda(place: Place) -> str:
    return (
        f"{place.words()} holds a Python lambda, which cannot be saved as source. Write it as a function with a name, "
        f"`def` at the top of a file beside the YAML file, and {REGISTER} above it"
    )


def _unregistered(found: Found) -> str:
    what = "function" if found.kind == "function" else "class"
    name = found.name.rpartition(">")[2]
    used = "" if found.kind == found.place.kind else f" uses {what} {name}, which"
    where = "its file" if found.module in ("", "builtins") else found.module
    return (
        f"{found.place.words()}{used} is not registered with Keras, so a saved model cannot find it again. Put "
        f"{REGISTER} above `{'def' if what == 'function' else 'class'} {name}` at the top level of {where}"
    )


def _local_file(module: str, homes: Sequence[str]) -> Path | None:
    """The file of a module where it lies below one of the folders under its own name."""
    if module.partition(".")[0] in OURS:
        return None
    relative = Path(*module.split("."))
    for home in homes:
        for path in (relative.with_suffix(".py"), relative / "__init__.py"):
            if Path(home, path).is_file():
                return Path(home, path)
    return None


def _sources(modules: Sequence[str], homes: Sequence[str]) -> dict[str, str]:
    """The files of local modules, of the packages around them, and of every local module that they import."""
    sources: dict[str, str] = {}
    waiting, seen = list(modules), set(modules)
    while waiting:
        module = waiting.pop()
        file = _local_file(module, homes)
        if file is None:
            continue
        path = "/".join(module.split(".")) + ("/__init__.py" if file.name == "__init__.py" else ".py")
        text = _read(file)
        sources[path] = text
        inside = module if file.name == "__init__.py" else module.rpartition(".")[0]
        new = {*_imported(text, inside, module), *_parents(module)} - seen
        seen |= new
        waiting += new
    return sources


def _parents(module: str) -> Iterator[str]:
    while module := module.rpartition(".")[0]:
        yield module


def _imported(text: str, package: str, module: str) -> Iterator[str]:
    """The names of all modules that a source may import, wherever it does; some are attributes, not modules."""
    for node in ast.walk(ast.parse(text, module)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from (alias.name, *_parents(alias.name))
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            if base:
                yield from (base, *_parents(base), *(f"{base}.{alias.name}" for alias in node.names))


def _read(file: Path) -> str:
    """Read a source that will travel. Raises SpecError for a secret in it; it is not repeated."""
    try:
        with open(file, encoding="utf-8", newline="") as opened:
            text = opened.read()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{file} cannot be registered with the model: {one_line(error)}; save it as UTF-8") from error
    for number, line in enumerate(text.splitlines(), 1):
        for kind, pattern in SECRET_VALUES.items():
            if pattern.search(line):
                raise SpecError(
                    f"{file} line {number} holds {kind}, and the file would be registered with the model: read it "
                    "from an environment variable"
                )
    return text
