"""`DistributedOptimizer`: any Keras 3 optimizer, its gradients reduced over the ranks first.

The optimizer object stays the same object. Its class becomes a subclass with the same name whose
`apply` reduces first, so clipping, weight decay and moving averages see the reduced gradients and
slots survive. Its `__class__` still answers with the stock class, so a saved model names the stock
optimizer. Knows nothing about data, epochs or Ray.
"""

import functools
import logging
from collections.abc import Sequence
from typing import Any

import horovod.tensorflow as horovod
import keras

from configs.errors import SpecError, TrainingError
from trainers.hvd.aggregation import LocalAggregation
from trainers.hvd.reduction import reduce_gradients
from trainers.hvd.settings import Average, Compression, Op, ReductionSettings

log = logging.getLogger(__name__)

_STATE = "_ringmaster_reduction"


def DistributedOptimizer(  # noqa: N802, PLR0913 - Horovod's name, and Horovod's arguments
    optimizer: keras.optimizers.Optimizer,
    *,
    op: Op | str = Average,
    compression: Compression | str = Compression.none,
    backward_passes_per_step: int = 1,
    average_aggregated_gradients: bool = True,
    sparse_as_dense: bool = False,
    gradient_predivide_factor: float = 1.0,
    groups: int | Sequence[Sequence[Any]] | None = None,
    process_set: Any = None,
) -> keras.optimizers.Optimizer:
    """Return `optimizer` itself, made to reduce its gradients over the ranks in every `apply`.

    `ReductionSettings` says what the arguments mean. Wrapping again with the same arguments
    changes nothing. With one rank a step costs what it cost before. A `LossScaleOptimizer` is
    wrapped as a whole: the reduced gradients decide whether a step is skipped, so all ranks skip
    it or none.
    """
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise SpecError(
            f"DistributedOptimizer received {optimizer!r}. Expected a Keras 3 optimizer object, "
            "for example keras.optimizers.Adam(1e-3)."
        )
    settings = ReductionSettings(
        op=op,
        compression=compression,
        backward_passes_per_step=backward_passes_per_step,
        average_aggregated_gradients=average_aggregated_gradients,
        sparse_as_dense=sparse_as_dense,
        gradient_predivide_factor=gradient_predivide_factor,
        groups=groups,
        process_set=process_set,
    )
    if is_distributed(optimizer):
        return _wrapped_again(optimizer, settings)
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None and is_distributed(inner):
        stock_optimizer(inner)
    _wrap(optimizer, settings)
    _prepare_every_model()
    return optimizer


def is_distributed(optimizer: Any) -> bool:
    """Return whether `optimizer` reduces its gradients over the ranks."""
    return isinstance(optimizer, Reducing)


def stock_optimizer(optimizer: Any) -> Any:
    """Return `optimizer` itself, made the plain Keras optimizer again, slots and all."""
    if is_distributed(optimizer):
        _set_class(optimizer, optimizer.__class__)
        del optimizer.__dict__[_STATE]
    return optimizer


def reduce_outermost(optimizer: Any) -> None:
    """Move the reduction out to the LossScaleOptimizer that `model.compile` put around."""
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None and is_distributed(inner) and not is_distributed(optimizer):
        settings = inner.__dict__[_STATE].settings
        stock_optimizer(inner)
        _wrap(optimizer, settings)


def prepare_to_reduce(model: Any) -> None:
    """Make a compiled model fit to reduce in its train step: no XLA around the reduction, which it cannot compile,
    and the reduction outside of a loss scale.
    """
    optimizer = getattr(model, "optimizer", None)
    reduce_outermost(optimizer)
    if not is_distributed(optimizer) or _reduces_alone(optimizer.__dict__[_STATE].settings) or not model.jit_compile:
        return
    log.warning(
        "Model '%s' was compiled with jit_compile on. XLA cannot compile Horovod's reduction, so jit_compile is off "
        "now. Pass jit_compile=False to model.compile to say so yourself.",
        model.name,
    )
    model.jit_compile = False
    if model.train_function is not None:
        model.make_train_function(force=True)


@functools.cache
def _prepare_every_model() -> None:
    """Prepare a model whenever Keras is about to build its train step; models with a stock optimizer stay as they are.

    Keras tells an optimizer nothing of the model that it is compiled into, so the method that builds the step is
    replaced. A script that calls nothing but `fit` would meet XLA's compiler error otherwise.
    """
    stock = keras.Model.make_train_function

    @functools.wraps(stock)
    def make_train_function(model: Any, force: bool = False) -> Any:
        prepare_to_reduce(model)
        return stock(model, force=force)

    keras.Model.make_train_function = make_train_function


class ReductionState:
    """What one wrapped optimizer remembers beside its slots; never saved."""

    def __init__(self, settings: ReductionSettings) -> None:
        self.settings = settings
        self.share: Any = None
        self.loss_is_scaled_outside = False
        self.aggregation = (
            LocalAggregation(settings.backward_passes_per_step, settings.average_aggregated_gradients)
            if settings.backward_passes_per_step > 1
            else None
        )


class Reducing:
    """What stands in front of the stock class of a wrapped optimizer."""

    built: bool
    build: Any
    _trainable_variables: list[Any]

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The stock class: Keras saves by it. `type()` tells the truth."""
        return type(self).__mro__[2]

    @property
    def gradient_share(self) -> Any:
        """A float32 scalar that weighs this rank's gradients in the next step, or None.

        For ranks that hold unequal parts of a global batch. With m rows on this rank, R rows in
        the global batch and n ranks, share = n * m / R: the average over the ranks of share *
        (gradient of the mean loss over the m rows) is the gradient of the mean loss over the R
        rows. Set it inside the train step, before the loss is scaled, in every trace: it is used
        once and forgotten, as a tensor of one trace means nothing in another. `scale_loss`, which
        Keras's own train step calls, takes it into the loss (that is exact for
        SyncBatchNormalization too, and free); in a step without it, `apply` multiplies the
        gradients.
        """
        return self.__dict__[_STATE].share

    @gradient_share.setter
    def gradient_share(self, share: Any) -> None:
        self.__dict__[_STATE].share = share

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "loss_scale_factor":
            # A LossScaleOptimizer that takes this optimizer inside sets its factor to None, and
            # that is all this optimizer ever learns of it.
            self.__dict__[_STATE].loss_is_scaled_outside = value is None
        super().__setattr__(name, value)

    def scale_loss(self, loss: Any) -> Any:
        """Return the loss times `gradient_share`, if set, and the optimizer's own loss scale."""
        state = self.__dict__[_STATE]
        share, state.share = state.share, None
        if share is not None and not _reduces_alone(state.settings):
            loss = loss * keras.ops.cast(share, loss.dtype)
        return super().scale_loss(loss)  # type: ignore[misc]

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Reduce `grads` over the ranks, then do what the stock optimizer does with them."""
        state = self.__dict__[_STATE]
        share, state.share = state.share, None
        stock_apply = super().apply  # type: ignore[misc]  # the stock class stands behind this one
        if _reduces_alone(state.settings) and state.aggregation is None:
            return stock_apply(grads, trainable_variables)
        if state.loss_is_scaled_outside:
            raise TrainingError(_LOSS_SCALE_HINT)
        grads = list(grads)
        variables = list(trainable_variables) if trainable_variables is not None else self._trainable_variables

        def reduce_and_apply(local_grads: Sequence[Any], share: Any = None) -> None:
            reduced = reduce_gradients(local_grads, variables, state.settings, share=share)
            stock_apply(reduced, trainable_variables)

        if state.aggregation is None:
            return reduce_and_apply(grads, share)
        if not self.built:
            # The slots cannot be made inside the branch of a condition.
            self.build(variables)
        return state.aggregation.add(grads, variables, share, reduce_and_apply)


_LOSS_SCALE_HINT = (
    "A LossScaleOptimizer stands around the DistributedOptimizer, so a rank with a non-finite "
    "gradient would skip the reduction that the others wait in. Wrap the outer one, "
    "DistributedOptimizer(LossScaleOptimizer(optimizer)), or call hvd.broadcast_state(model) "
    "after model.compile, which moves the reduction outside."
)


def _wrap(optimizer: Any, settings: ReductionSettings) -> None:
    stock = type(optimizer)
    names = {"__module__": stock.__module__, "__doc__": stock.__doc__}
    optimizer.__dict__[_STATE] = ReductionState(settings)
    _set_class(optimizer, type(stock.__name__, (Reducing, stock), names))


def _set_class(optimizer: Any, new_class: type) -> None:
    # `Reducing.__class__` hides the attribute through which Python lets the class of an object
    # change.
    object.__dict__["__class__"].__set__(optimizer, new_class)


def _reduces_alone(settings: ReductionSettings) -> bool:
    """Return whether this rank has no other to reduce with."""
    ranks = settings.process_set or horovod.global_process_set
    return not ranks.included() or ranks.size() == 1


def _wrapped_again(optimizer: Any, settings: ReductionSettings) -> Any:
    before = optimizer.__dict__[_STATE].settings
    if before != settings:
        raise SpecError(
            f"This optimizer is distributed already, with {before}. It was wrapped again with "
            f"{settings}. Wrap it once, or call hvd.stock_optimizer(optimizer) before that."
        )
    return optimizer
