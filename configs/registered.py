"""The files of a registered model's folder: a worker writes them to try them, the driver to upload them.

`deploy` reads them. All are plain files: no pickle.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

FLAVOR = "ringmaster"
MODEL = "model.keras"
PREPROCESSING = "preprocessing.json"
GOLDEN = "golden.json"
CODE = "code"
"""Folder of the job's own Python files that the model is made of; none where it consists of stock layers."""
MANIFEST = "code.json"


@dataclass(frozen=True)
class CustomUse:
    """A registered object that a model is made of. place: the layer that uses it, in words."""

    name: str
    module: str
    place: str


@dataclass(frozen=True)
class ModelCode:
    """The Python code that a model needs to be loaded.

    sources: path below CODE -> content; local, packaged: the objects defined in them, and in installed packages.
    """

    sources: Mapping[str, str] = field(default_factory=dict)
    local: Sequence[CustomUse] = ()
    packaged: Sequence[CustomUse] = ()

    def __bool__(self) -> bool:
        return bool(self.local or self.packaged)


@dataclass(frozen=True)
class Golden:
    """Outputs to be replayed: (golden rows, units) float32, and the relative rounding error they were made with."""

    outputs: np.ndarray
    rounding: float


@dataclass(frozen=True)
class Documents:
    """What stands beside the model whatever was learned: the preprocessing as JSON, and a few raw rows."""

    preprocessing: str
    golden_rows: list[dict[str, Any]]

    def write(self, folder: Path, golden: Golden, code: ModelCode) -> None:
        """Write all files but the model's into an existing folder."""
        (folder / PREPROCESSING).write_text(self.preprocessing, encoding="utf-8")
        replay = {"rows": self.golden_rows, "outputs": golden.outputs.tolist(), "rounding": golden.rounding}
        (folder / GOLDEN).write_text(json.dumps(replay), encoding="utf-8")
        if code:
            _write_code(folder, code)


def _write_code(folder: Path, code: ModelCode) -> None:
    for path, text in code.sources.items():
        file = folder / CODE / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
    manifest = {
        "files": {path: hashlib.sha256(text.encode()).hexdigest() for path, text in code.sources.items()},
        "local": [vars(use) for use in code.local],
        "packaged": [vars(use) for use in code.packaged],
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
