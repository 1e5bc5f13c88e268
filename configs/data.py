"""`DataSpec`: where the rows come from, which columns are features, what the target is, how rows are split."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, model_validator

from configs.names import ImportPath
from configs.spec import Spec, UserPath, unknown


class NumberFeature(Spec):
    """A numeric column; missing values are filled, then the column is scaled."""

    kind: Literal["number"] = "number"
    fill: Literal["mean", "median"] | float = "mean"
    """What replaces a missing value: a statistic of the training part, or a constant."""
    scale: Literal["standard", "minmax", "none"] = "standard"
    """standard: zero mean and unit deviation; minmax: 0 to 1; both measured on the training part."""


class CategoryFeature(Spec):
    """A text column as integer codes: 0 for a value unseen in training, 1 for a missing one, then the values seen."""

    kind: Literal["category"] = "category"
    scale: Literal["standard", "minmax", "none"] = "standard"
    """Applied to the codes; `none` for a model that embeds them."""


class TensorFeature(Spec):
    """An array per row, such as an image; it becomes a model input of its own."""

    kind: Literal["tensor"] = "tensor"
    divide_by: PositiveFloat = 1.0
    """Every element is divided by this, for example 255 for 8-bit images."""


TABLE = "table"
"""Name of the model input that holds all number and category features side by side."""

FEATURE_KINDS = ("number", "category", "tensor")


def _expand_shorthand(value: Any) -> Any:
    """`Age: number` means `Age: {kind: number}`."""
    if isinstance(value, str):
        value = {"kind": value}
    if isinstance(value, dict) and value.get("kind") not in FEATURE_KINDS:
        raise ValueError(unknown("feature kind", value.get("kind"), FEATURE_KINDS))
    return value


FeatureSpec = Annotated[
    Annotated[NumberFeature | CategoryFeature | TensorFeature, Field(discriminator="kind")],
    BeforeValidator(_expand_shorthand),
]


class TargetSpec(Spec):
    """The column to predict."""

    column: str
    kind: Literal["class", "number"] = "class"
    """class: labels become integers 0..K-1 in sorted order; number: regression."""


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


class DataSpec(Spec):
    """The rows of a job and what becomes of their columns."""

    csv: UserPath | None = None
    """A CSV file with a header; a relative path is looked for in the working folder, then beside the YAML file."""
    function: ImportPath | None = None
    """`package.module:function` that returns the columns: a dict of arrays (rows first) or a pandas frame."""
    params: dict[str, Any] = {}
    """Keyword parameters of `function`."""
    id: str | None = None
    """A column that names a row; not a feature, copied into the output of `ringmaster predict`."""
    features: dict[str, FeatureSpec] = Field(min_length=1)
    """Column name to preprocessing; columns not named here are not used."""
    target: TargetSpec
    split: SplitSpec = SplitSpec()

    @model_validator(mode="after")
    def _one_source(self) -> "DataSpec":
        if (self.csv is None) == (self.function is None):
            raise ValueError("give exactly one of csv and function")
        if self.params and self.function is None:
            raise ValueError("params goes with function; a csv takes none")
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
        kinds = {feature.kind for feature in self.features.values()}
        if TABLE in self.features and self.features[TABLE].kind == "tensor" and len(kinds) > 1:
            raise ValueError(f"features: {TABLE!r} names the model input of the scalar features; rename that column")
        return self
