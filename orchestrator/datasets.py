"""`DataSpec` -> preprocessed train/valid/test splits and the fitted preprocessing.

Knows nothing about Ray or Keras.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from configs.data import DataSpec
from configs.errors import DataError
from configs.job import JobSpec
from configs.preprocessing import (
    BadValue,
    Columns,
    FittedTarget,
    Fitter,
    Preprocessing,
    in_order,
    infer,
    plain_columns,
)
from configs.preprocessing.inference import kinds_shown, number_warnings
from configs.preprocessing.windows import windows_of
from configs.registered import Documents
from orchestrator.cleaning import SHOWN, UNKNOWN_LABEL, Clean, Dropped, clean, told, without_repeated
from orchestrator.memory import held_bytes, require_room, row_bytes, wide_columns
from orchestrator.report import Facts
from orchestrator.series import offset_notes, series_left_out, series_notes
from orchestrator.sources import Loaded, from_function, load_columns
from orchestrator.sources.places import Found
from orchestrator.splits import split_columns
from orchestrator.targets import check_metrics, check_target, resolved
from orchestrator.weights import class_weights, column_weights
from trainers.job import TRAIN, VALID, Rows, Split

if TYPE_CHECKING:  # which learns the rows to find out
    from orchestrator.loading import Loading

GOLDEN_ROWS = 8


@dataclass(frozen=True)
class Prepared:
    """Everything that the data of a job gives.

    golden_rows: a few raw rows as the endpoint would get them; golden: the same rows preprocessed.
    facts: what the data report is made from.
    """

    preprocessing: Preprocessing
    splits: Mapping[str, Rows]
    golden_rows: list[dict[str, Any]]
    golden: Split
    facts: Facts

    @property
    def documents(self) -> Documents:
        """What is registered beside the model."""
        return Documents(self.preprocessing.model_dump_json(indent=1), self.golden_rows)

    @property
    def classes(self) -> int | None:
        labels = self.preprocessing.target.classes
        return None if labels is None else len(labels)


@dataclass(frozen=True)
class Learned:
    """Rows as they were read, dealt to parts, and what those that train teach: all but what the model sees.

    left_out, notes: lines for the report; inferred: the kinds of columns, where the job leaves them open.
    """

    loaded: Loaded
    data: DataSpec
    examples: "Examples"
    parts: Mapping[str, np.ndarray]
    preprocessing: Preprocessing
    left_out: tuple[str, ...]
    inferred: str
    notes: tuple[str, ...]

    @property
    def row_bytes(self) -> int:
        """Of a row as the model sees it."""
        first = self.parts[TRAIN][:1]
        columns = {name: self.examples.columns[name][first] for name in self.preprocessing.features}
        with naming_rows(self.loaded, self.examples.source_rows[first]):
            return row_bytes(self.preprocessing, columns)

    @property
    def nbytes(self) -> int:
        """What the rows take together: as they were read, and as the model sees them."""
        return held_bytes(self.examples.columns) + len(self.examples.labels) * self.row_bytes


def learn(
    spec: JobSpec, files: Mapping[str, Found] | None = None, columns: Mapping[str, np.ndarray] | None = None
) -> Learned:
    """Load, leave out, split, fit on the training part. Raises DataError or SpecError.

    files, columns: of the job, where they were found, or called for, already.
    """
    loaded = load_columns(spec, files) if columns is None else from_function(spec, columns)
    meant, told_target = resolved(spec.data, spec.train.loss, loaded.columns[spec.data.target.column])
    data = infer(loaded.columns, meant)
    rows = clean(loaded.columns, data)
    offsets = tuple(offset_notes(rows.columns, data))
    with naming_rows(loaded, rows.source_rows):
        rows = replace(rows, columns=plain_columns(rows.columns, data))
        rows = without_repeated(rows, data) if data.drop_duplicates else rows
    with naming_rows(loaded, rows.source_rows):
        examples = make_examples(rows, data)
    given = loaded.given(examples.source_rows)
    with naming_rows(loaded, examples.source_rows):
        formats = data.formats_of(data.split.column)
        parts = split_columns(examples.columns, examples.labels, data.split, given, formats)
    preprocessing = _fitted(loaded, data, examples, parts[TRAIN])
    if data.bad_rows == "skip":
        examples, parts = _with_known_labels(examples, parts, preprocessing.target)
    return Learned(
        loaded,
        data,
        examples,
        parts,
        preprocessing,
        left_out=(
            *loaded.told,
            *loaded.skipped.told(),
            *told(rows.dropped + examples.dropped),
            *examples.left_out,
        ),
        inferred="; ".join(filter(None, [told_target, inferred_kinds(data, meant, loaded.columns)])),
        notes=(
            *inference_warnings(meant, data, loaded.columns),
            *offsets,
            *examples.notes,
            *wide_columns(preprocessing),
        ),
    )


def _fitted(loaded: Loaded, data: DataSpec, examples: "Examples", rows: np.ndarray) -> Preprocessing:
    with naming_rows(loaded, examples.source_rows[rows]):
        training = {name: array[rows] for name, array in examples.columns.items()}
        fitter = Fitter(data)
        fitter.update(training, examples.labels[rows])
        return fitter.finish()


def prepare(spec: JobSpec, loading: "Loading | None" = None) -> Prepared:
    """Load, leave out, split, fit on the training part, transform: all in memory. Raises DataError or SpecError.

    loading: what `chosen_loading` says, where it was asked already.
    """
    learned = loading.learned if loading else None
    learned = learned or learn(spec, loading.files or None if loading else None, loading.columns if loading else None)
    data, examples, preprocessing = learned.data, learned.examples, learned.preprocessing
    require_room(preprocessing, len(examples.labels), learned.row_bytes)
    splits = _transformed(learned)
    check_target(spec.train.loss, preprocessing.target, data.target.column)
    check_metrics(spec.train, preprocessing.target, data.target.column)
    by_class = class_weights(splits[TRAIN].target, spec.train, preprocessing.target)
    if by_class is not None:  # in training only: validation and test measure what is there
        given = splits[TRAIN].weight
        splits[TRAIN] = replace(splits[TRAIN], weight=by_class * (1.0 if given is None else given))
    shown = VALID if VALID in splits else TRAIN
    golden = learned.parts[shown][:GOLDEN_ROWS]
    return Prepared(
        preprocessing=preprocessing,
        splits=splits,
        golden_rows=json_rows({name: examples.columns[name][golden] for name in data.features}),
        golden=splits[shown].take(slice(0, GOLDEN_ROWS)),
        facts=Facts(
            columns={name: examples.columns[name] for name in data.features},
            labels=examples.labels,
            parts=learned.parts,
            source_rows=examples.source_rows,
            preprocessing=preprocessing,
            source=spec.data.source,
            left_out=learned.left_out,
            inferred=learned.inferred,
            loading=str(loading or ""),
            notes=learned.notes,
        ),
    )


def _transformed(learned: Learned) -> dict[str, Split]:
    """The rows of each part as the model sees them; part by part, as all together would be held twice."""
    examples, preprocessing = learned.examples, learned.preprocessing
    with naming_rows(learned.loaded, examples.source_rows):
        weight = column_weights(examples.columns, learned.data)
    splits: dict[str, Split] = {}
    wrong: list[tuple[int, BadValue]] = []
    for name, rows in learned.parts.items():
        columns = {feature: examples.columns[feature][rows] for feature in preprocessing.features}
        try:
            inputs, later = preprocessing.transform_most(columns)
            codes = preprocessing.target.encode(examples.labels[rows])
        except BadValue as error:
            wrong.append((int(rows[error.row - 1]), error))
            continue
        some = None if weight is None else weight[rows]
        splits[name] = Split(inputs, codes, some, examples.source_rows[rows] + 1, later)
    if wrong:
        place, first = min(wrong, key=lambda one: one[0])
        with naming_rows(learned.loaded, examples.source_rows):
            raise first.at(place - first.row + 2)
    return splits


@dataclass(frozen=True)
class Examples:
    """What the model sees, (rows[, width]) by column, what it is to say, and the row of the source that says it.

    left_out, notes: lines about windows that are not there, and about those that are.
    """

    columns: dict[str, np.ndarray]
    labels: np.ndarray
    source_rows: np.ndarray
    dropped: tuple[Dropped, ...] = ()
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _with_known_labels(
    examples: Examples, parts: Mapping[str, np.ndarray], target: FittedTarget
) -> tuple[Examples, dict[str, np.ndarray]]:
    """Without the rows whose label training never showed, for which the model has no output."""
    known = target.knows(examples.labels)
    if known.all():
        return examples, dict(parts)
    numbers = examples.source_rows[~known]
    dropped = Dropped(UNKNOWN_LABEL, len(numbers), tuple((numbers[:SHOWN] + 1).tolist()))
    left = Examples(
        {name: column[known] for name, column in examples.columns.items()},
        examples.labels[known],
        examples.source_rows[known],
        (*examples.dropped, dropped),
        examples.left_out,
        examples.notes,
    )
    place = np.cumsum(known) - 1
    return left, {name: place[rows[known[rows]]] for name, rows in parts.items()}


def inferred_kinds(data: DataSpec, given: DataSpec, columns: Columns) -> str:
    """One line on what was inferred; nothing where the job gives all kinds."""
    if data.features == given.features:
        return ""
    taken = [*data.model_copy(update={"features": {}}).columns, data.target.column]
    return kinds_shown(data.features, [name for name in columns if name not in taken])


def inference_warnings(asked: DataSpec, data: DataSpec, columns: Columns) -> tuple[str, ...]:
    """One line for each column left open that may not be what it was taken for. asked: with features of kind auto."""
    if not any(feature.kind == "auto" for feature in asked.features.values()):
        return ()
    taken = [*data.model_copy(update={"features": {}}).columns, data.target.column]
    known = {name for name, feature in asked.features.items() if feature.kind != "auto"}
    left_open = {name: values for name, values in columns.items() if name not in {*taken, *known}}
    return tuple(number_warnings(data.features, left_open, data.read))


def make_examples(rows: Clean, data: DataSpec) -> Examples:
    """Rows as they are, or the windows of a series with the target that each one is to predict."""
    window = data.window
    if window is None:
        return Examples(rows.columns, rows.columns[data.target.column], rows.source_rows)
    series = in_order(rows.columns, window, data.formats_of(window.order))
    starts = windows_of(series, window, ahead=window.horizon)
    left_out = tuple(series_left_out(series, window, len(starts)))
    notes = tuple(series_notes(series, rows.columns, data))
    targets = starts[:, -1]
    aimed = rows.columns[data.target.column][targets]
    missing = np.asarray(pd.isna(aimed)).reshape(len(aimed), -1).any(axis=1)
    dropped: tuple[Dropped, ...] = ()
    if missing.any():
        numbers = tuple(int(number) + 1 for number in rows.source_rows[targets[missing]][:5])
        dropped = (Dropped("window whose target is missing", int(missing.sum()), numbers),)
    if missing.all():
        raise DataError(f"target {data.target.column!r} has no value in any window; mend the data")
    starts, targets = starts[~missing], targets[~missing]
    others = [name for name in data.columns if name not in {*data.features, data.target.column}]
    columns = {name: rows.columns[name][targets] for name in others}
    columns |= {name: rows.columns[name][starts[:, : window.width]] for name in data.features}
    return Examples(columns, aimed[~missing], rows.source_rows[targets], dropped, left_out, notes)


@contextmanager
def naming_rows(loaded: Loaded, source_rows: np.ndarray) -> Iterator[None]:
    """Let an error name file and row of the source, not the row of those that were left."""
    try:
        yield
    except BadValue as error:
        file, row = loaded.place(int(source_rows[error.row - 1]))
        raise error.at(row - error.row + 1, file) from None


def json_rows(columns: Columns) -> list[dict[str, Any]]:
    """Columns -> rows of plain Python values, missing as None."""
    lists = {name: _json_values(array) for name, array in columns.items()}
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]


def _json_values(array: np.ndarray) -> list[Any]:
    if np.issubdtype(array.dtype, np.floating):
        values = array.astype(object)
        values[np.isnan(array)] = None
        return list(values.tolist())
    return list(array.tolist())
