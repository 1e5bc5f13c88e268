"""Modules beside this file: `tests` is no package, and some library might install one of that name."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def _load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


operator_pods = _load("operator_pods")
api_server = _load("api_server")
