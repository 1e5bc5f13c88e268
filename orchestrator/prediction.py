"""`ringmaster predict`: a CSV of raw rows -> a CSV of predictions, by the code that the endpoint runs."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from configs.errors import DataError
from deploy.models import download, find_version
from deploy.predictor import Predictor
from orchestrator.sources.blocks import require_columns
from orchestrator.sources.csv_files import read_csv
from orchestrator.tracking import connect_existing


@dataclass(frozen=True)
class Written:
    """What was written, and by which model."""

    model: str
    version: int
    rows: int


def predict_csv(reference: str, source: Path, output: Path, *, folder: Path, uri: str | None) -> Written:
    """Predict the rows of `source` and write the id column (if the job named one) and the target column to `output`.

    Raises DataError, DeployError or TrackingError; `output` is written only when all rows were predicted.
    """
    if not source.is_file():
        raise DataError(f"--input {source}: no such file")
    _require_place(output, source)
    model = find_version(reference, connect_existing(uri, folder))
    predictor = Predictor.load(download(model))
    fitted = predictor.preprocessing
    texts = [name for name, feature in fitted.features.items() if feature.kind != "number"]
    used = fitted.columns
    columns = read_csv(source, [*texts, *([fitted.id] if fitted.id else [])])
    require_columns(columns, used, str(source))
    examples, last = fitted.examples_of({name: columns[name] for name in used})
    labels = predictor.predict(examples).labels
    ids = {fitted.id: columns[fitted.id][last]} if fitted.id else {}
    try:
        pd.DataFrame({**ids, fitted.target.column: labels}).to_csv(output, index=False)
    except OSError as error:
        raise DataError(f"--output {output}: cannot be written: {error}") from error
    return Written(model.name, model.version, len(labels))


def _require_place(output: Path, source: Path) -> None:
    """Raise DataError where the output cannot be written, or would replace the input, before the model is loaded."""
    if output.is_dir():
        raise DataError(f"--output {output}: is a folder; name a file in it")
    if not output.parent.is_dir():
        raise DataError(f"--output {output}: the folder {output.parent} does not exist; create it first")
    if output.exists() and output.samefile(source):
        raise DataError(f"--output {output}: is the input file too; name another")
