"""Launches shared by the tests: one set of processes runs many cases, as starting them is what
costs.
"""

import functools
import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def _load_launch():
    spec = importlib.util.spec_from_file_location("hvd_launch", HERE / "launch.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["hvd_launch"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def ring():
    """Return launch(file name, ranks, ...); a file already run on that many ranks is not run
    again.
    """
    launch = _load_launch().launch

    @functools.cache
    def run(file: str, ranks: int, **options):
        return launch(HERE / file, ranks, **options)

    return run
