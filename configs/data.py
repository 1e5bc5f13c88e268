"""`DataSpec`: where the rows come from, which columns are features, what the target is, how rows are split."""

from pydantic import Field, model_validator

from configs.features import (
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
]


class SplitSpec(Spec):
    """Fractions of the rows kept out of training, drawn at random from the seed."""

    valid: float = Field(default=0.2, ge=0.0, lt=1.0)
    """Rows that choose the best epoch."""
    test: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Rows that only the finished model sees."""
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _leave_rows_to_train(self) -> "SplitSpec":
        if self.valid + self.test >= 1.0:
            raise ValueError(
                f"valid={self.valid} and test={self.test} leave no rows to train on; make their sum less than 1"
            )
        return self


class DataSpec(SourceSpec):
    """The rows of a job and what becomes of their columns."""

    id: str | None = None
    """A column that names a row; not a feature, copied into the output of `ringmaster predict`."""
    features: Features = Field(min_length=1)
    """Column name to preprocessing; columns not named here are not used."""
    target: TargetSpec
    split: SplitSpec = SplitSpec()

    @model_validator(mode="after")
    def _one_part_each(self) -> "DataSpec":
        for column, role in ((self.target.column, "target"), (self.id, "id")):
            if column in self.features:
                raise ValueError(
                    f"column {column!r} is the {role} and cannot be a feature too; remove it from features"
                )
        if self.id == self.target.column:
            raise ValueError(f"column {self.id!r} is the target and cannot be the id too; remove id")
        return self

    @model_validator(mode="after")
    def _one_table(self) -> "DataSpec":
        check_features(self.features)
        return self
