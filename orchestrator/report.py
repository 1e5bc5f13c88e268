"""The data report: an HTML page on the rows of a job, kept with its MLflow run.

What is in each column, how the parts compare, and what a practitioner would be warned of before a week of training:
a column that gives the label away, an id among the features, a class that is hardly there, rows in two parts at once.
"""

import base64
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from configs.features import TABLE_KINDS
from configs.preprocessing import Columns, Preprocessing, as_numbers, as_texts, text_array
from trainers.job import TEST, TRAIN, VALID

MAX_COLUMNS = 40
"""Columns that get a row and a plot."""
SAMPLE_ROWS = 20_000
"""Rows that a warning is drawn from."""
SAMPLE_NUMBERS = 1_000_000
"""Numbers of arrays, such as pixels, that a mean and a histogram are drawn from."""
GIVES_AWAY = 0.995
"""Score of one column alone from which on it is said to give the label away."""
RARE = 0.01
"""Share of the training rows below which a class is said to be rare."""


@dataclass(frozen=True)
class Facts:
    """All that a report is made from.

    columns: (rows, ...) raw values of the features; labels: (rows,); parts: row numbers by name.
    source_rows: (rows,) the row of the source (from 0) that each label stands in.
    counts: rows of each part where the rows at hand are a sample of them; sums: `row_sums` of all rows then.
    left_out: one line per reason; notes: warnings found on the way.
    inferred: the kinds of columns, where the job left them open.
    """

    columns: Columns
    labels: np.ndarray
    parts: Mapping[str, np.ndarray]
    source_rows: np.ndarray
    preprocessing: Preprocessing
    source: str
    left_out: tuple[str, ...] = ()
    inferred: str = ""
    loading: str = ""
    counts: Mapping[str, int] | None = None
    sums: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """The digest of all rows."""
        sums = row_sums(self.columns, self.labels, self.source_rows) if self.sums is None else self.sums
        return digest(self.columns, sums)

    @property
    def rows(self) -> Mapping[str, int]:
        """Of each part, all of them."""
        return self.counts or {name: len(part) for name, part in self.parts.items()}

    @property
    def is_sample(self) -> bool:
        """Whether there are more rows than those at hand."""
        return sum(self.rows.values()) > len(self.labels)


ROW_KEYS = ("0123456789123456", "ringmaster-rows-")
"""Two hashes of 64 bits: with one, two of a billion rows would be taken for equal that are not."""


def row_sums(columns: Columns, labels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """(2,) uint64, what the rows add to the digest of their source; sums of blocks add up (and wrap around).

    columns: raw values as `plain_columns` gives them; numbers: (rows,) of each row in the source.
    """
    arrays = [*(columns[name] for name in sorted(columns)), text_array("target", labels), numbers.astype(np.int64)]
    return np.array([row_keys(arrays, key).sum(dtype=np.uint64) for key in ROW_KEYS], np.uint64)


def digest(names: Iterable[str], sums: np.ndarray) -> str:
    """36 hexadecimal digits that change with any value, name or order of the rows, however they were loaded."""
    return hashlib.sha256(f"{sorted(names)} {sums.tolist()}".encode()).hexdigest()[:36]


def warnings(facts: Facts) -> Iterator[str]:
    """One sentence for everything that looks wrong."""
    yield from facts.notes
    train = facts.parts[TRAIN]
    for name, fitted in facts.preprocessing.features.items():
        column = facts.columns[name]
        if column.ndim == 1 and fitted.kind in {"number", "category"}:
            values = column[train]
            yield from _column_warnings(name, fitted, values, facts.labels[train], facts.preprocessing)
    yield from _label_warnings(facts)
    if not facts.is_sample:  # a sample has hardly a row twice
        yield from _shared_rows(facts)


def _column_warnings(
    name: str, fitted: Any, values: np.ndarray, labels: np.ndarray, preprocessing: Preprocessing
) -> Iterator[str]:
    texts = pd.Series(as_texts(name, values[:SAMPLE_ROWS]), dtype=object)
    distinct, missing = texts.nunique(), texts.isna().mean()
    if missing > 0.5:
        yield f"{name} is missing in {missing:.0%} of the training rows"
    if distinct <= 1:
        yield f"{name} has {distinct} value(s) in the training part; it teaches nothing"
        return
    whole = fitted.kind == "number" and bool(texts.dropna().str.fullmatch(r"-?\d+").all())
    if distinct == len(texts) > 50 and (fitted.kind == "category" or whole):
        yield f"{name} differs in every row, as an id does; a model can only learn it by heart"
    score = _alone(preprocessing, name, values, labels)
    if score is not None and score > GIVES_AWAY:
        yield f"{name} alone predicts {preprocessing.target.column} ({score:.1%}); will it be known when predicting?"


def _alone(preprocessing: Preprocessing, name: str, values: np.ndarray, labels: np.ndarray) -> float | None:
    """How well a small tree predicts held-out labels from one column: balanced accuracy, or R squared."""
    from sklearn.model_selection import cross_val_score
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    rows = np.random.default_rng(0).permutation(len(labels))[:SAMPLE_ROWS]
    fitted = preprocessing.features[name]
    if getattr(fitted, "outputs", 1) > 200:  # before the columns of one_hot are made
        return None
    x = np.asarray(fitted.transform(name, values[rows]), np.float64).reshape(len(rows), -1)
    y = preprocessing.target.encode(labels[rows])
    if preprocessing.target.kind == "one_hot":
        y = y.argmax(axis=1)
    if y.ndim > 1 or len(y) < 30:
        return None
    classes = preprocessing.target.classes is not None
    if classes and np.bincount(y).max() > len(y) - 10:
        return None
    tree = DecisionTreeClassifier(max_depth=8) if classes else DecisionTreeRegressor(max_depth=8)
    scores = cross_val_score(tree, x, y, cv=3, scoring="balanced_accuracy" if classes else "r2")
    return float(np.mean(scores))


def _label_warnings(facts: Facts) -> Iterator[str]:
    target = facts.preprocessing.target
    if target.classes is None:
        return
    counts = target.counts(facts.labels[facts.parts[TRAIN]])
    rows = len(facts.parts[TRAIN])
    for label, count in zip(target.classes, counts, strict=True):
        if count < RARE * rows:
            yield f"class {label!r} of {target.column} has {count} of {rows:,} training rows"


def _shared_rows(facts: Facts) -> Iterator[str]:
    columns = {name: facts.columns[name] for name in facts.preprocessing.features}
    keys = pd.Series(row_keys([*columns.values(), facts.labels]))
    seen = set(keys[facts.parts[TRAIN]])
    for part in (VALID, TEST):
        if part in facts.parts:
            shared = int(keys[facts.parts[part]].isin(seen).sum())
            if shared:
                share = shared / len(facts.parts[part])
                yield f"{shared:,} rows of the {part} part ({share:.1%}) stand in the training part too"


def row_keys(columns: Sequence[np.ndarray], key: str = "0123456789123456") -> np.ndarray:
    """(rows,) uint64, equal for rows that are equal in all columns. key: another one gives other numbers."""
    rows = len(columns[0])
    step = min(KEYED_ROWS, max(1, KEYED_BYTES // max(1, sum(values[:1].nbytes for values in columns))))
    parts = [_keys_of([values[start : start + step] for values in columns], key) for start in range(0, rows, step)]
    return np.concatenate(parts) if parts else np.empty(0, np.uint64)


KEYED_ROWS = 8192
"""A long text counts as 8 bytes only."""
KEYED_BYTES = 16 * 2**20
"""So much of the rows is held twice while their keys are worked out."""


def _keys_of(columns: Sequence[np.ndarray], key: str) -> np.ndarray:
    keys = np.full(len(columns[0]), int.from_bytes(key[:8].encode(), "little"), np.uint64)
    for values in columns:
        flat = values.reshape(len(values), -1)
        if flat.dtype == np.uint8:
            flat = np.array([row.tobytes() for row in flat], object)[:, None]
        for column in range(flat.shape[1]):
            hashed = pd.util.hash_array(np.ascontiguousarray(flat[:, column]), hash_key=key)
            keys = (keys ^ hashed) * np.uint64(0x9E3779B97F4A7C15)  # wraps around, as it should
            keys ^= keys >> np.uint64(32)
    return keys


def page(facts: Facts, warned: Sequence[str], fingerprint: str) -> str:
    """The report as one HTML file without links to anything else, of what `warnings` and `digest` gave."""
    names = list(facts.preprocessing.features)[:MAX_COLUMNS]
    rows = sum(facts.rows.values())
    sample = f"; what follows is of a sample of {len(facts.labels):,} rows" if facts.is_sample else ""
    sections = [
        f"<h1>Data of {escape(facts.source)}</h1>",
        f"<p>{rows:,} rows, {len(facts.preprocessing.features)} features; digest {fingerprint}{sample}",
        f"<p>{escape(facts.loading)}",
        "<h2>Warnings</h2>" + _list(warned),
        "<h2>Rows left out</h2>" + _list(facts.left_out),
        "<h2>Parts and target</h2>" + _parts_table(facts),
        "<h2>Features of the training part</h2>" + _features_table(facts, names),
        _plots(facts, names),
    ]
    style = (
        "body{font:14px sans-serif;margin:2em;max-width:70em}td,th{padding:2px 10px;text-align:right}"
        "td:first-child,th:first-child{text-align:left}table{border-collapse:collapse}tr{border-bottom:1px solid #ddd}"
    )
    body = "\n".join(sections)
    return f"<!doctype html><html lang=en><meta charset=utf-8><title>Data report</title><style>{style}</style>{body}"


def _list(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}" for line in lines) + "</ul>" if lines else "<p>none"


def _table(heading: list[str], rows: list[list[str]]) -> str:
    cells = [f"<tr>{''.join(f'<td>{escape(cell)}' for cell in row)}" for row in rows]
    return f"<table><tr>{''.join(f'<th>{escape(name)}' for name in heading)}{''.join(cells)}</table>"


def _parts_table(facts: Facts) -> str:
    target = facts.preprocessing.target
    if target.classes is None or len(target.classes) > 30:
        rows = []
        for name, part in facts.parts.items():
            numbers = np.asarray(target.encode(facts.labels[part]), np.float64)
            rows.append([name, f"{len(part):,}", *(f"{value:.4g}" for value in _five(numbers))])
        return _table(["part", "rows", f"{target.column}: mean", "deviation", "smallest", "median", "largest"], rows)
    rows = []
    for name, part in facts.parts.items():
        counts = target.counts(facts.labels[part])
        rows.append([name, f"{len(part):,}", *(f"{count:,} ({count / len(part):.1%})" for count in counts)])
    return _table(["part", "rows", *(f"{target.column}={label}" for label in target.classes)], rows)


def _five(numbers: np.ndarray) -> list[float]:
    return [float(f(numbers)) for f in (np.mean, np.std, np.min, np.median, np.max)]


def _features_table(facts: Facts, names: list[str]) -> str:
    rows = []
    for name in names:
        kind, train = facts.preprocessing.features[name].kind, facts.parts[TRAIN]
        if kind in {"tensor", "image"}:
            numbers = _some_numbers(facts.columns[name], train)
            rows.append([name, kind, "", "", f"shape {facts.columns[name].shape[1:]}, mean {numbers.mean():.4g}"])
            continue
        values = facts.columns[name][train]
        if kind == "number":
            rows.append([name, kind, *_number_cells(as_numbers(name, values).reshape(-1))])
        else:
            # Sampled first: a column of long texts is not to be held a second time.
            texts = pd.Series(text_array(name, values[:SAMPLE_ROWS]).reshape(-1), dtype=object)
            often = texts.value_counts().head(4).items()
            told = ", ".join(f"{str(text)[:30]} ({count:,})" for text, count in often)
            rows.append([name, kind, f"{texts.isna().mean():.1%}", f"{texts.nunique():,}", told])
    return _table(["feature", "kind", "missing", "distinct", "values"], rows)


def _some_numbers(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The numbers of as many rows, at equal distances, as the report looks at; all arrays together are much more."""
    size = max(1, values[:1].size)
    step = max(1, -(-len(rows) * size // SAMPLE_NUMBERS))
    return np.asarray(values[rows[::step]], np.float64).reshape(-1)[:SAMPLE_NUMBERS]


def _number_cells(numbers: np.ndarray) -> list[str]:
    known = numbers[~np.isnan(numbers)]
    told = "no value"
    if known.size:
        mean, deviation, low, middle, high = _five(known)
        told = f"mean {mean:.4g}, deviation {deviation:.4g}, {low:.4g} to {high:.4g}, median {middle:.4g}"
    return [f"{np.isnan(numbers).mean():.1%}", f"{len(np.unique(known)):,}", told]


def _plots(facts: Facts, names: list[str]) -> str:
    """Distributions side by side: the target first, then the features, of the training part."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    train = facts.parts[TRAIN]
    target = facts.preprocessing.target
    shown = [(target.column, "number", facts.labels[train])]
    if target.classes is not None:
        names_of = np.array([str(label) for label in target.classes], object)
        labels = facts.labels[train[:SAMPLE_ROWS]]
        shown = [(target.column, "category", np.repeat(names_of, target.counts(labels)))]
    kinds = {name: str(facts.preprocessing.features[name].kind) for name in names}
    drawn_kinds = {"number", "category", "tensor", "image"}
    for name, kind in kinds.items():
        if kind in drawn_kinds:
            column = facts.columns[name]
            shown.append((name, kind, column[train] if kind in TABLE_KINDS else _some_numbers(column, train)))
    across = 4
    down = -(-len(shown) // across)
    figure = Figure(figsize=(3 * across, 2.1 * down), layout="constrained")
    FigureCanvasAgg(figure)
    for number, (name, kind, values) in enumerate(shown, 1):
        axes = figure.add_subplot(down, across, number)
        axes.set_title(name[:30], fontsize=9)
        axes.tick_params(labelsize=7)
        if kind == "category":
            counts = (
                pd.Series(
                    as_texts(name, values.reshape(-1)[: 50 * SAMPLE_ROWS if name == target.column else SAMPLE_ROWS]),
                    dtype=object,
                )
                .value_counts()
                .head(10)
            )
            axes.barh([str(text)[:18] for text in counts.index[::-1]], counts.to_numpy()[::-1])
            continue
        numbers = np.asarray(as_numbers(name, values) if kind in TABLE_KINDS else values, np.float64).reshape(-1)
        numbers = numbers[np.isfinite(numbers)][: 50 * SAMPLE_ROWS]
        axes.hist(numbers, bins=40)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=80)
    return f'<p><img alt="distributions" src="data:image/png;base64,{base64.b64encode(drawn.getvalue()).decode()}">'
