"""`ModelSpec` and `TrainSpec`: which Keras model, and how it is trained."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt

from configs.names import LOSSES, METRICS, OPTIMIZERS, ImportPath
from configs.spec import Spec, unknown


def _one_of(what: str, valid: frozenset[str]) -> AfterValidator:
    def check(name: str) -> str:
        if name not in valid:
            raise ValueError(unknown(what, name, valid))
        return name

    return AfterValidator(check)


class ModelSpec(Spec):
    """The function that makes the model."""

    function: ImportPath
    """`package.module:function`, or `file:function` for a `file.py` beside the YAML file. Returns a keras.Model,
    compiled or not; a plain one is compiled from `train`."""
    params: dict[str, Any] = {}
    """Keyword parameters of the function."""


class OptimizerSpec(Spec):
    """A Keras optimizer by name."""

    name: Annotated[str, _one_of("optimizer", OPTIMIZERS)]
    params: dict[str, Any] = {}
    """Its keyword parameters, for example {learning_rate: 0.001}."""


def _expand_shorthand(value: Any) -> Any:
    """`optimizer: adam` means `optimizer: {name: adam}`."""
    return {"name": value} if isinstance(value, str) else value


def _text_keys(value: Any) -> Any:
    """`{0: 1, 1: 5}` names labels too."""
    return {str(key): weight for key, weight in value.items()} if isinstance(value, dict) else value


class TrainSpec(Spec):
    """Epochs, batch, loss and what counts as best."""

    epochs: PositiveInt = 10
    """Passes over the training part."""
    global_batch_rows: PositiveInt = 64
    """Rows of one optimizer step, summed over all workers: the same steps whatever the number of workers."""
    optimizer: Annotated[OptimizerSpec, BeforeValidator(_expand_shorthand)] | None = None
    """For a plain model; leave out for a model that comes compiled."""
    loss: Annotated[str, _one_of("loss", LOSSES)] | None = None
    """Keras name of the loss, for a plain model."""
    metrics: tuple[Annotated[str, _one_of("metric", METRICS)], ...] = ()
    """Keras names of the metrics, for a plain model."""
    weighted_metrics: tuple[Annotated[str, _one_of("metric", METRICS)], ...] = ()
    """Keras names of metrics in which a row counts by its weight (data.sample_weight, train.class_weight)."""
    class_weight: Annotated[dict[str, PositiveFloat], BeforeValidator(_text_keys)] | None = None
    """Label to what its rows count in training, for rare classes; labels not named count 1."""
    monitor: str | None = None
    """The metric that chooses the best epoch; by default val_loss, or loss where no rows are kept for validation."""
    mode: Literal["min", "max"] | None = None
    """Whether a smaller or a larger monitor is better; by default max for accuracy-like names, else min."""
    seed: NonNegativeInt = 0
    """Seeds the initial weights, dropout and the order of the rows."""
    max_restarts: NonNegativeInt = 3
    """How often lost workers are replaced and training goes on from the last checkpoint."""
    checkpoint_every_steps: NonNegativeInt = 0
    """Write a checkpoint after every so many steps of an epoch too, for long epochs; 0: at its end only."""
    keep_checkpoints: PositiveInt = Field(default=2, ge=1)
    """How many of the best checkpoints stay on disk (the last one always does)."""
