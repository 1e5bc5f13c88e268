"""Custom layers and functions of a registered model: its source files, verified and imported under a private name.

Two versions may define the same class in modules of the same name: each set of sources is a package of its own,
`ringmaster_code_<sha256>`, and what it registers with Keras holds only while its model is loaded.
"""

import builtins
import hashlib
import importlib
import importlib.util
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

import keras

from configs.errors import DeployError, one_line
from configs.registered import CODE, MANIFEST

PREFIX = "ringmaster_code_"
_loading = threading.RLock()
"""Keras keeps registered objects by name for the whole process, so one model is loaded at a time."""
_registered: dict[str, dict[str, Any]] = {}
"""Private package -> what it registered, as its modules run once."""

Allowed = Callable[[str], bool]
"""Whether the package of a top-level name is there where models are served."""


@contextmanager
def custom_objects(folder: Path, allowed: Allowed = lambda package: True) -> Iterator[None]:
    """Within the block Keras finds the custom objects of a registered folder, and no others of the same names.

    Raises DeployError when a source is not the one that was registered, or cannot be imported.
    """
    if not (folder / MANIFEST).is_file():
        yield
        return
    manifest = _manifest(folder)
    sources = {path: _verified(folder, path, sha256) for path, sha256 in manifest["files"].items()}
    known = keras.saving.get_custom_objects()
    with _loading:
        before = dict(known)
        try:
            for use in manifest["packaged"]:
                _import_packaged(use, allowed)
            before |= {name: value for name, value in known.items() if name not in before}
            known.update(_import_local(manifest, sources, folder / CODE, allowed))
            yield
        finally:
            known.clear()
            known.update(before)


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return {key: manifest[key] for key in ("files", "local", "packaged")}
    except (ValueError, KeyError, TypeError) as error:
        raise DeployError(f"{folder / MANIFEST} is damaged ({one_line(error)}); train the model again") from error


def _verified(folder: Path, path: str, sha256: str) -> bytes:
    place = PurePosixPath(path)
    if place.is_absolute() or ".." in place.parts:
        raise DeployError(f"{folder / MANIFEST} names {path!r}, which is not below {CODE}; train the model again")
    try:
        content = (folder / CODE / place).read_bytes()
    except OSError as error:
        raise DeployError(f"{folder} lacks {CODE}/{path}, which its model needs; train the model again") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DeployError(
            f"{folder / CODE / place} is not the file that was registered (its sha256 differs from the one in "
            f"{MANIFEST}); register the model again"
        )
    return content


def _import_packaged(use: Mapping[str, str], allowed: Allowed) -> None:
    package = use["module"].partition(".")[0]
    try:
        if not allowed(package):
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        importlib.import_module(use["module"])
    except ImportError as error:
        raise DeployError(f"{use['place']} {_lacks(package)}") from error


def _lacks(package: str) -> str:
    return (
        f"needs the package {package!r}, which is not installed where models are served. Put what the layer needs of "
        "it into a file beside the YAML file, or install it in your serving image and name it in serve.packages"
    )


def _import_local(
    manifest: Mapping[str, Any], sources: Mapping[str, bytes], root: Path, allowed: Allowed
) -> dict[str, Any]:
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    package = f"{PREFIX}{digest[:16]}"
    if package not in _registered:
        finder = PrivateFinder(package, sources, root, allowed)
        sys.meta_path.insert(0, finder)
        try:
            for use in manifest["local"]:
                _import_private(f"{package}.{use['module']}", use)
        except DeployError:
            sys.meta_path.remove(finder)
            for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
                del sys.modules[name]
            raise
        registered = keras.saving.get_custom_objects().items()
        _registered[package] = {
            name: value for name, value in registered if str(value.__module__).startswith(f"{package}.")
        }
    return _registered[package]


def _import_private(name: str, use: Mapping[str, str]) -> None:
    try:
        importlib.import_module(name)
    except NotServedError as error:
        raise DeployError(f"{use['place']} comes from {use['module']}, whose {error}") from error
    except Exception as error:
        raise DeployError(
            f"{use['place']} comes from {use['module']}, which cannot be imported where models are served: "
            f"{type(error).__name__}: {one_line(error)}. Move the layer into a file of its own that needs only "
            "files beside it and the packages of a serving image"
        ) from error


class NotServedError(ImportError):
    """A source imports a package that is not there where models are served."""


@dataclass(frozen=True)
class PrivateFinder:
    """Finds the modules of one private package in sources that were verified; also its loader."""

    package: str
    sources: Mapping[str, bytes]
    root: Path
    allowed: Allowed

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Called by Python for every import."""
        if fullname != self.package and not fullname.startswith(f"{self.package}."):
            return None
        file = self._file(fullname)
        folder = "/".join(fullname.split(".")[1:])
        is_package = file is None or file.endswith("/__init__.py")
        if file is None and folder and not any(each.startswith(f"{folder}/") for each in self.sources):
            return None
        spec = ModuleSpec(fullname, self, origin=str(self.root / (file or folder)), is_package=is_package)  # type: ignore[arg-type]
        spec.has_location = file is not None
        return spec

    def _file(self, fullname: str) -> str | None:
        path = "/".join(fullname.split(".")[1:])
        return next((each for each in (f"{path}.py", f"{path}/__init__.py") if each in self.sources), None)

    def create_module(self, spec: ModuleSpec) -> None:
        """Python's own kind of module."""

    def exec_module(self, module: ModuleType) -> None:
        """Run a source; absolute imports of local modules lead to the private ones."""
        file = self._file(module.__name__)
        if file is not None:
            code = compile(self.sources[file], str(self.root / file), "exec", dont_inherit=True)
            module.__dict__["__builtins__"] = {**vars(builtins), "__import__": self._import}
            exec(code, module.__dict__)

    def _import(
        self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level or not self._is_local(top):
            if not level and top not in sys.stdlib_module_names and not self.allowed(top):
                raise NotServedError(f"`import {name}` {_lacks(top)}")
            return builtins.__import__(name, globals, locals, fromlist, level)
        module = importlib.import_module(f"{self.package}.{name}")
        if not fromlist:
            return sys.modules[f"{self.package}.{top}"]
        for each in fromlist:
            if not hasattr(module, each) and self.find_spec(f"{module.__name__}.{each}") is not None:
                importlib.import_module(f"{module.__name__}.{each}")
        return module

    def _is_local(self, top: str) -> bool:
        return f"{top}.py" in self.sources or any(path.startswith(f"{top}/") for path in self.sources)
