"""`ringmaster predict`: a file of raw rows -> a CSV of predictions, by the code that the endpoint runs."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from configs.errors import DataError
from configs.preprocessing import Preprocessing
from deploy.models import download, find_version
from deploy.predictor import Predictor
from orchestrator.sources.blocks import BadRows, Reading, column_kind
from orchestrator.sources.columns import read_columns
from orchestrator.sources.places import find, format_of
from orchestrator.tracking import connect_existing


@dataclass(frozen=True)
class Written:
    """What was written, and by which model."""

    model: str
    version: int
    rows: int


def predict_file(reference: str, source: Path, output: Path, *, folder: Path, uri: str | None) -> Written:
    """Predict the rows of `source` and write the id column (if the job named one) and the target column to `output`.

    Raises DataError, DeployError or TrackingError; `output` is written only when all rows were predicted.
    """
    if not source.exists():
        raise DataError(f"--input {source}: no such file")
    _require_place(output, source)
    model = find_version(reference, connect_existing(uri, folder))
    predictor = Predictor.load(download(model))
    fitted = predictor.preprocessing
    columns = read_rows(source, fitted)
    examples, last = fitted.examples_of(columns)
    labels = predictor.predict(examples).labels
    ids = {fitted.id: columns[fitted.id][last]} if fitted.id else {}
    try:
        pd.DataFrame({**ids, fitted.target.column: labels}).to_csv(output, index=False)
    except OSError as error:
        raise DataError(f"--output {output}: cannot be written: {error}") from error
    return Written(model.name, model.version, len(labels))


def read_rows(source: Path, fitted: Preprocessing) -> dict[str, np.ndarray]:
    """The raw columns of a file, or a folder, of the kind that the model was trained on. Raises DataError."""
    found = find((str(source),), Path.cwd(), fitted.format or (None if format_of(source.name) else "csv"), "--input")
    kinds = {name: column_kind(feature.kind) for name, feature in fitted.features.items()}
    # A column to sort a series by may hold dates or numbers, and keeps its type.
    texts = [fitted.id, fitted.window.group if fitted.window else None]
    kinds |= {name: "text" for name in texts if name and name not in fitted.features}
    reading = Reading(fitted.read, kinds, wanted=tuple(fitted.columns), bad=BadRows(), whole=True)
    try:
        return read_columns(found, reading)
    except DataError as error:
        names = fitted.read.names or ()
        if fitted.target.column not in names:
            raise
        # A file without a header lacks the target, or has it.
        without = fitted.read.model_copy(
            update={"names": tuple(name for name in names if name != fitted.target.column)}
        )
        try:
            return read_columns(found, replace(reading, read=without))
        except DataError:
            raise error from None


def _require_place(output: Path, source: Path) -> None:
    """Raise DataError where the output cannot be written, or would replace the input, before the model is loaded."""
    if output.is_dir():
        raise DataError(f"--output {output}: is a folder; name a file in it")
    if not output.parent.is_dir():
        raise DataError(f"--output {output}: the folder {output.parent} does not exist; create it first")
    if output.exists() and output.samefile(source):
        raise DataError(f"--output {output}: is the input file too; name another")
