"""What becomes of each column: feature kinds with their options, and the target. `Name: kind` is the short form.

Knows nothing about where rows come from, nor how a kind is fitted (`configs.preprocessing`).
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, WithJsonSchema, model_validator

from configs.dates import DateFormats
from configs.spec import Spec, unknown

TABLE = "table"
"""Name of the model input that holds all number, category and date features side by side."""
EVERY_OTHER = "*"
"""The feature name that stands for all columns with no other part in the job; only with kind auto."""


class AutoFeature(Spec):
    """A column whose kind is inferred from its values before anything is fitted; what was found is stored."""

    kind: Literal["auto"] = "auto"


class NumberFeature(Spec):
    """A numeric column. Missing values are filled; then, in this order: clip, log, and buckets or scale."""

    kind: Literal["number"] = "number"
    fill: Literal["mean", "median", "most_frequent"] | float = "mean"
    """What replaces a missing value: a statistic of the training part, or a constant."""
    scale: Literal["standard", "minmax", "robust", "none"] = "standard"
    """standard: zero mean and unit deviation; minmax: 0 to 1; robust: zero median and unit distance of the quartiles;
    all measured on the training part."""
    clip: tuple[float, float] | None = None
    """Two quantiles of the training part, such as [0.01, 0.99]; what lies outside is set to the nearer one."""
    log: bool = False
    """Take log(1 + value); a value of -1 or less is an error."""
    buckets: Annotated[int, Field(ge=2)] | tuple[float, ...] | None = None
    """Replace the number by the place of its bucket: how many of equal counts, or the edges between them."""
    encode: Literal["ordinal", "one_hot"] = "ordinal"
    """Buckets as one number, or as one column each."""

    @model_validator(mode="after")
    def _fits_together(self) -> "NumberFeature":
        if self.clip is not None and not 0 <= self.clip[0] < self.clip[1] <= 1:
            raise ValueError(f"clip={list(self.clip)}: expected two quantiles in order, such as [0.01, 0.99]")
        if isinstance(self.buckets, tuple) and (not self.buckets or list(self.buckets) != sorted(set(self.buckets))):
            raise ValueError(f"buckets={list(self.buckets)}: expected rising edges, such as [18, 30, 65]")
        if self.encode == "one_hot" and self.buckets is None:
            raise ValueError("encode=one_hot goes with buckets; add buckets, or make the column a category")
        if self.encode == "one_hot" and "scale" in self.model_fields_set and self.scale != "none":
            raise ValueError(f"scale={self.scale} does not go with encode=one_hot; remove one of them")
        return self


class CategoryFeature(Spec):
    """A text column as integer codes: 0 for a value unseen in training, 1 for a missing one, then the values seen."""

    kind: Literal["category"] = "category"
    encode: Literal["ordinal", "one_hot", "hash", "multi_hot"] = "ordinal"
    """ordinal: one code; one_hot: one column per value; hash: one of `buckets` places by a stable hash, nothing is
    learned; multi_hot: several values in one cell, one column per value."""
    scale: Literal["standard", "minmax", "none"] = "standard"
    """Applied to ordinal codes in the table."""
    fill: Literal["most_frequent"] | str | None = None
    """What replaces a missing value: the most frequent one of the training part, or this text; else it has a code."""
    buckets: Annotated[int, Field(ge=2)] | None = None
    """With encode=hash: how many places there are."""
    separator: str = Field(default="|", min_length=1)
    """With encode=multi_hot: what stands between the values of one cell."""
    max_values: PositiveInt | None = None
    """Keep only this many of the most frequent values; the others count as unseen."""
    min_count: PositiveInt = 1
    """A value with fewer rows in the training part counts as unseen."""
    as_input: bool = False
    """Give the codes as an integer model input of their own, (rows, 1) int32 named after the column, to embed them."""

    @model_validator(mode="after")
    def _fits_together(self) -> "CategoryFeature":
        if (self.encode == "hash") != (self.buckets is not None):
            raise ValueError("encode=hash and buckets go together; give both, such as {encode: hash, buckets: 1000}")
        if self.encode == "multi_hot" and self.fill is not None:
            raise ValueError("fill does not go with encode=multi_hot: a missing cell has a column of its own")
        if self.as_input and self.encode not in {"ordinal", "hash"}:
            raise ValueError(f"as_input gives codes, encode={self.encode} gives columns; remove one of them")
        plain = self.encode == "ordinal" and not self.as_input
        if not plain and "scale" in self.model_fields_set and self.scale != "none":
            raise ValueError(f"scale={self.scale} goes only with ordinal codes in the table; remove it")
        if self.encode == "hash" and (self.max_values is not None or self.min_count > 1):
            raise ValueError("max_values and min_count do not go with encode=hash, which learns no values")
        return self


DatePart = Literal["year", "month", "day", "weekday", "hour", "minute", "dayofyear"]


class DateFeature(Spec):
    """A date or time as its parts, one table column each (two when cyclic)."""

    kind: Literal["date"] = "date"
    parts: tuple[DatePart, ...] = Field(default=("year", "month", "day", "weekday"), min_length=1)
    """weekday: 0 is Monday."""
    cyclic: bool = False
    """Give every part but the year as sine and cosine of its place in the cycle, so that December is near January."""
    formats: DateFormats = ()
    """How dates are written, such as "%d/%m/%Y" or epoch_ms; the first that fits counts. Default: ISO 8601.
    `data.dates` says the same for a column whatever it is used for."""
    fill: str = "median"
    """What replaces a missing date: the median of the training part, or this date, written as 2024-01-31."""
    scale: Literal["standard", "minmax", "none"] = "standard"
    """Applied to parts that are not cyclic."""


class TextFeature(Spec):
    """Words as ids, a model input of their own: (rows, length) int32 named after the column; 0 pads, 1 is unknown."""

    kind: Literal["text"] = "text"
    length: PositiveInt = 100
    """Words kept per row, from the start; shorter rows are padded with 0 at the end."""
    max_tokens: Annotated[int, Field(ge=3)] = 20_000
    """Size of the vocabulary, with the two reserved ids: what an Embedding needs as its input_dim."""
    min_count: PositiveInt = 1
    """A word seen less often in the training part is unknown."""
    lower: bool = True
    """Take upper case for lower case."""
    strip_punctuation: bool = True
    """Take punctuation for spaces (apostrophes are dropped)."""


class TensorFeature(Spec):
    """An array of numbers per row; it becomes a float32 model input of its own: (value / divide_by - mean) / std."""

    kind: Literal["tensor"] = "tensor"
    divide_by: PositiveFloat = 1.0
    """Every element is divided by this, for example 255 for 8-bit images."""
    mean: float | tuple[float, ...] = 0.0
    """Subtracted after the division: one number, or one per place of the last axis (channel)."""
    std: PositiveFloat | tuple[PositiveFloat, ...] = 1.0
    """What is left is divided by this; one number, or one per channel."""


class AugmentSpec(Spec):
    """Random changes of training images; the same for a row on 1 and on N workers, different in every epoch."""

    flip: Literal["none", "horizontal", "vertical", "both"] = "none"
    """Mirror half of the images."""
    shift: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Move by at most this part of the height and width; what comes in at the edge repeats the nearest pixel."""
    rotate: float = Field(default=0.0, ge=0.0, le=180.0)
    """Turn by at most this many degrees."""
    brightness: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Multiply all pixels of an image by 1 plus or minus at most this."""


class ImageFeature(Spec):
    """An image per row; a float32 model input (rows, height, width, channels) of its own."""

    kind: Literal["image"] = "image"
    divide_by: PositiveFloat = 255.0
    """Every pixel is divided by this."""
    mean: float | tuple[float, ...] = 0.0
    """Subtracted after the division: one number, or one per channel."""
    std: PositiveFloat | tuple[PositiveFloat, ...] = 1.0
    """What is left is divided by this; one number, or one per channel."""
    augment: AugmentSpec | None = None
    """Random changes, in training only."""


FEATURE_KINDS = ("number", "category", "date", "text", "image", "tensor", "auto")
TABLE_KINDS = frozenset({"number", "category", "date"})
"""Kinds that stand in the table (a category may be an input of its own)."""


def _expand_shorthand(value: Any) -> Any:
    """`Age: number` means `Age: {kind: number}`."""
    if isinstance(value, str):
        value = {"kind": value}
    if isinstance(value, dict) and value.get("kind") not in FEATURE_KINDS:
        raise ValueError(unknown("feature kind", value.get("kind"), FEATURE_KINDS))
    return value


FeatureSpec = Annotated[
    Annotated[
        NumberFeature | CategoryFeature | DateFeature | TextFeature | ImageFeature | TensorFeature | AutoFeature,
        Field(discriminator="kind"),
    ],
    BeforeValidator(_expand_shorthand),
]


def _expand_auto(value: Any) -> Any:
    """`features: auto` means that every column without another part in the job is a feature of kind auto."""
    return {EVERY_OTHER: "auto"} if value == "auto" else value


Features = Annotated[dict[str, FeatureSpec], BeforeValidator(_expand_auto)]
"""Column name to preprocessing, in the order of the table; `*: auto` infers all columns not named."""


def own_input(feature: Any) -> bool:
    """Whether the feature is a model input of its own, and not columns of the table."""
    return feature.kind not in TABLE_KINDS or bool(getattr(feature, "as_input", False))


def check_features(features: dict[str, Any]) -> None:
    """Raise ValueError where two features would be the same model input, or `*` is not auto."""
    other = features.get(EVERY_OTHER)
    if other is not None and other.kind != "auto":
        raise ValueError(f"features: {EVERY_OTHER!r} stands for all other columns and can only be auto")
    scalars = any(not own_input(feature) for feature in features.values())
    if TABLE in features and own_input(features[TABLE]) and scalars:
        raise ValueError(f"features: {TABLE!r} names the model input of the scalar features; rename that column")


def _several_columns(value: Any) -> Any:
    """`column: [a, b]` means `columns: [a, b]`; several are together called `target` unless they get a name."""
    if isinstance(value, dict):
        if isinstance(value.get("column"), list | tuple) and value.get("columns") is None:
            value = value | {"columns": value["column"]}
            del value["column"]
        if value.get("columns") and value.get("column") is None:
            value = value | {"column": "target"}
    return value


def _texts(value: Any) -> Any:
    """`[0, 1]` names classes too."""
    return tuple(map(str, value)) if isinstance(value, list | tuple) else value


class TargetSpec(Spec):
    """What is to be predicted: one column, or several that belong together."""

    column: Annotated[
        str, WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
    ]
    """Its column. With `columns` a name for all of them; by default `target`. A list is short for `columns`."""
    columns: Annotated[tuple[str, ...], Field(min_length=2)] | None = None
    """Several columns, one output of the model each: a 0 or 1 per class or label, or numbers."""
    kind: Literal["class", "number", "one_hot", "multi_label"] = "class"
    """class: labels become integers 0..K-1 in sorted order; number: regression; one_hot: an output per class, of
    labels in one column, or of 0 and 1 in `columns` or an array per row; multi_label: each of several labels is there
    or not.
    For `columns` and arrays, a categorical loss means one_hot, a binary one multi_label."""
    separator: str | None = Field(default=None, min_length=1)
    """What stands between the labels of one cell, such as "|"; means multi_label."""
    classes: Annotated[tuple[str, ...], Field(min_length=2), BeforeValidator(_texts)] | None = None
    """What the places of an array are called; by default 0, 1, ..., for `columns` their names."""
    strip: str = ""
    """Characters removed from both ends of a label, with spaces: "." makes ">50K." and " >50K" one label."""
    labels: dict[str, str] = {}
    """Label to the label that is used instead, after `strip`; others stay as they are."""

    @model_validator(mode="before")
    @classmethod
    def _columns_of_a_list(cls, value: Any) -> Any:
        return _several_columns(value)

    @model_validator(mode="after")
    def _labels_are_classes(self) -> "TargetSpec":
        if (self.kind == "number" or self.columns) and (self.strip or self.labels):
            raise ValueError("strip and labels go with labels in one column (a number has no label); remove them")
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> "TargetSpec":
        if self.separator and (self.kind not in {"class", "multi_label"} or self.columns):
            raise ValueError("separator goes with one column of texts and kind: multi_label; remove separator")
        if self.classes and (self.kind == "number" or self.columns or self.separator):
            raise ValueError("classes names the places of an array of 0 and 1 in one column; remove classes")
        for names, key in ((self.columns, "columns"), (self.classes, "classes")):
            twice = next((name for name in names or () if (names or ()).count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"{key} has {twice!r} twice; name each once")
        return self

    @property
    def source_columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return self.columns or (self.column,)
