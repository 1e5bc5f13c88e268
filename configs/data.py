"""`DataSpec`: where the rows come from, which columns are features, what the target is, how rows are split."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from configs.dates import Cut, DateFormats, nanoseconds
from configs.features import (
    EVERY_OTHER,
    FEATURE_KINDS,
    TABLE,
    AugmentSpec,
    AutoFeature,
    CategoryFeature,
    DateFeature,
    Features,
    FeatureSpec,
    ImageFeature,
    NumberFeature,
    TargetSpec,
    TensorFeature,
    TextFeature,
    check_features,
)
from configs.source import SourceSpec
from configs.spec import Spec

__all__ = [
    "FEATURE_KINDS",
    "TABLE",
    "AugmentSpec",
    "AutoFeature",
    "CategoryFeature",
    "DataSpec",
    "DateFeature",
    "FeatureSpec",
    "ImageFeature",
    "NumberFeature",
    "SplitSpec",
    "TargetSpec",
    "TensorFeature",
    "TextFeature",
    "WindowSpec",
]


class SplitSpec(Spec):
    """Which rows are kept out of training. A row keeps its part when rows are appended to the source."""

    by: Literal["random", "stratified", "group", "time"] = "random"
    """random: any row; stratified: of every class alike; group: rows with the same value of `column` stay together;
    time: the latest rows of `column` (of the file where none is given) test, those before them choose the best epoch.
    """
    column: str | None = None
    """With group: the column that names the group; with time: the one that holds dates or numbers."""
    valid: float = Field(default=0.2, ge=0.0, lt=1.0)
    """Fraction of the rows that choose the best epoch."""
    test: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Fraction of the rows that only the finished model sees."""
    valid_from: Cut | None = None
    """With time and a column: the first date (or number) of the validation part, such as 2024-01-01, instead of a
    fraction. It is read as the column is: `2024` is a year where the column holds dates."""
    test_from: Cut | None = None
    """With time and a column: the first date (or number) of the test part."""
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _leave_rows_to_train(self) -> "SplitSpec":
        if self.valid + self.test >= 1.0:
            raise ValueError(
                f"valid={self.valid} and test={self.test} leave no rows to train on; make their sum less than 1"
            )
        return self

    @model_validator(mode="after")
    def _has_its_column(self) -> "SplitSpec":
        if self.by == "group" and self.column is None:
            raise ValueError("by=group needs the column that names the group; add column")
        if self.column is not None and self.by not in {"group", "time"}:
            raise ValueError(f"column={self.column!r} goes with by=group or by=time, not with by={self.by}")
        if (self.valid_from or self.test_from) and (self.by != "time" or self.column is None):
            raise ValueError("valid_from and test_from go with by=time and a column of dates")
        return self


class WindowSpec(Spec):
    """Rows of a series become examples: the features of `width` rows in a row predict the target of a later one."""

    width: Annotated[int, Field(ge=1)]
    """Rows that the model sees."""
    horizon: PositiveInt = 1
    """The target stands so many rows after the last one seen."""
    stride: PositiveInt = 1
    """Rows from the start of one window to the start of the next."""
    order: str | None = None
    """The column to sort by; by default the rows are taken as they come."""
    group: str | None = None
    """The column that tells several series apart; no window crosses from one to the next."""
    max_gap: float | str | None = None
    """With order: rows further apart than this, such as 1h, are not in one window; a number where `order` holds
    numbers. By default such windows are kept, and counted in a warning."""

    @model_validator(mode="after")
    def _gap_is_readable(self) -> "WindowSpec":
        if self.max_gap is None:
            return self
        if self.order is None:
            raise ValueError(f"max_gap={self.max_gap} needs the column of times; add order")
        if isinstance(self.max_gap, str):
            nanoseconds(self.max_gap)
        elif self.max_gap <= 0:
            raise ValueError(f"max_gap={self.max_gap}: expected a number greater than 0, or a duration such as 1h")
        return self


class DataSpec(SourceSpec):
    """The rows of a job and what becomes of their columns."""

    id: str | None = None
    """A column that names a row; not a feature, copied into the output of `ringmaster predict`."""
    features: Features = Field(min_length=1)
    """Column name to preprocessing; columns not named here are not used."""
    target: TargetSpec
    dates: dict[str, DateFormats] = {}
    """How dates are written in a column, such as {day: "%d/%m/%Y"}, wherever the column is used: as a feature, to sort
    or to split by. A list of formats, or one: strptime's directives, epoch_s, epoch_ms, epoch_us, epoch_ns."""
    sample_weight: str | None = None
    """A column of numbers, 0 or more: what a row counts in the loss and in train.weighted_metrics; not a feature."""
    split: SplitSpec = SplitSpec()
    window: WindowSpec | None = None
    """For a series; then the target's own past may be a feature too."""
    loading: Literal["auto", "indexed", "streaming"] = "auto"
    """indexed: all rows in memory, shuffled with each other; streaming: rows on disk, shuffled within windows, for
    files larger than memory; auto: streaming where the rows would take more than half of the memory that is free."""
    shuffle_rows: PositiveInt | None = None
    """Streaming: about how many rows are shuffled with each other; by default as many as take 128 MiB."""
    drop_duplicates: bool = False
    """Keep only the first of rows that are equal in all columns of the job (but the id)."""

    @model_validator(mode="after")
    def _one_part_each(self) -> "DataSpec":
        targets = [(column, "target") for column in dict.fromkeys([*self.target.source_columns, self.target.column])]
        for column, role in (*targets, (self.id, "id"), (self.sample_weight, "sample_weight")):
            if column in self.features and not (role == "target" and self.window):
                raise ValueError(
                    f"column {column!r} is the {role} and cannot be a feature too; remove it from features"
                )
        if self.id in (*self.target.source_columns, self.target.column):
            raise ValueError(f"column {self.id!r} is the target and cannot be the id too; remove id")
        return self

    @model_validator(mode="after")
    def _one_table(self) -> "DataSpec":
        check_features(self.features)
        return self

    @model_validator(mode="after")
    def _windows_need_all_rows(self) -> "DataSpec":
        if self.window is not None and self.loading == "streaming":
            raise ValueError("loading=streaming does not go with window, whose rows overlap; use loading: indexed")
        return self

    @model_validator(mode="after")
    def _no_look_ahead(self) -> "DataSpec":
        if self.window is not None and self.split.by not in {"time", "group"}:
            raise ValueError(
                f"split.by={self.split.by} would put windows that overlap into different parts; use by: time, or group"
            )
        return self

    @model_validator(mode="after")
    def _dates_are_said_once(self) -> "DataSpec":
        for column, formats in self.dates.items():
            if EVERY_OTHER not in self.features and column not in self.columns:
                raise ValueError(f"dates: column {column!r} has no part in the job; remove it, or make it a feature")
            own = getattr(self.features.get(column), "formats", ())
            if own and own != formats:
                raise ValueError(f"dates and features give column {column!r} different formats; remove one of them")
        return self

    def formats_of(self, column: str | None) -> tuple[str, ...]:
        """How dates are written in a column, beside ISO 8601."""
        own: tuple[str, ...] = getattr(self.features.get(column or ""), "formats", ())
        return self.dates.get(column or "", own)

    @property
    def columns(self) -> list[str]:
        """All columns that are read, each once; without `*`, which stands for those that are found."""
        window = self.window or WindowSpec(width=1)
        others = [
            *self.target.source_columns,
            self.id,
            self.sample_weight,
            self.split.column,
            window.order,
            window.group,
        ]
        names = [*(name for name in self.features if name != EVERY_OTHER), *(name for name in others if name)]
        return list(dict.fromkeys(names))
