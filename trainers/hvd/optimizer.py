"""`DistributedOptimizer`: any Keras 3 optimizer, its gradients reduced over the ranks first.

The optimizer object stays the same object. Its class becomes a subclass with the same name whose
`apply` reduces first, so clipping, weight decay and moving averages see the reduced gradients and
slots survive. Its `__class__` still answers with the stock class, so a saved model names the stock
optimizer. Knows nothing about data, epochs or Ray.
"""

import functools
from collections.abc import Sequence
from typing import Any

import horovod.tensorflow as horovod
import keras

from configs.errors import SpecError, TrainingError
from trainers.hvd.aggregation import LocalAggregation
from trainers.hvd.arguments import in_order_of
from trainers.hvd.local_variables import LocalVariables
from trainers.hvd.losses import count_in_train_steps
from trainers.hvd.model_optimizers import optimizers_of
from trainers.hvd.reduction import reduce_gradients
from trainers.hvd.settings import Average, Compression, Op, ReductionSettings
from trainers.hvd.xla import before_train_steps, switch_xla_off

_STATE = "_ringmaster_reduction"


@in_order_of(
    "optimizer name device_dense device_sparse compression sparse_as_dense gradient_predivide_factor op "
    "backward_passes_per_step average_aggregated_gradients num_groups groups process_set scale_local_gradients",
    "optimizer name use_locking device_dense device_sparse compression sparse_as_dense backward_passes_per_step op "
    "gradient_predivide_factor average_aggregated_gradients num_groups groups process_set scale_local_gradients",
)
def DistributedOptimizer(  # noqa: N802, PLR0913 - Horovod's name, and Horovod's arguments
    *,
    optimizer: keras.optimizers.Optimizer,
    name: str | None = None,
    use_locking: bool = False,
    device_dense: str = "",
    device_sparse: str = "",
    compression: Compression | str = Compression.none,
    sparse_as_dense: bool = False,
    gradient_predivide_factor: float = 1.0,
    op: Op | str = Average,
    backward_passes_per_step: int = 1,
    average_aggregated_gradients: bool = False,
    num_groups: int = 0,
    groups: int | Sequence[Sequence[Any]] | None = None,
    process_set: Any = horovod.global_process_set,
    scale_local_gradients: bool = True,
) -> keras.optimizers.Optimizer:
    """Return `optimizer` itself, made to reduce its gradients over the ranks in every `apply`.

    `ReductionSettings` says what the arguments mean; `name`, `use_locking` and the devices are taken for Horovod's
    sake and change nothing. Wrapping again with the same arguments changes nothing. With one rank a step costs what it
    cost before. A `LossScaleOptimizer` is wrapped as a whole: the reduced gradients decide whether a step is skipped,
    so all ranks skip it or none.
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
        groups=num_groups if groups is None else groups,
        process_set=None if process_set is horovod.global_process_set else process_set,
        scale_local_gradients=scale_local_gradients,
    )
    if is_distributed(optimizer):
        return _wrapped_again(optimizer, settings)
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None and is_distributed(inner):
        stock_optimizer(inner)
    _wrap(optimizer, settings)
    before_train_steps(prepare_to_reduce)
    count_in_train_steps(_reducer_of)
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
        state = inner.__dict__[_STATE]
        stock_optimizer(inner)
        _wrap(optimizer, state.settings)
        optimizer.__dict__[_STATE].local = state.local


def prepare_to_reduce(model: Any) -> None:
    """Make a compiled model fit to reduce in its train step: no XLA around the reduction, which it cannot compile,
    and the reduction outside of a loss scale.
    """
    optimizers = optimizers_of(model)
    for optimizer in optimizers:
        reduce_outermost(optimizer)
    if any(is_distributed(one) and not _reduces_alone(one.__dict__[_STATE].settings) for one in optimizers):
        switch_xla_off(model)


def _reducer_of(model: Any) -> tuple[Any, Any] | None:
    """Return the gradient share and the process set of the first optimizer that reduces the model's gradients."""
    for optimizer in optimizers_of(model):
        for one in (optimizer, getattr(optimizer, "inner_optimizer", None)):
            if is_distributed(one):
                state = one.__dict__[_STATE]
                return state.share, state.settings.process_set or horovod.global_process_set
    return None


class ReductionState:
    """What one wrapped optimizer remembers beside its slots; never saved."""

    def __init__(self, settings: ReductionSettings) -> None:
        self.settings = settings
        self.share: Any = None
        self.loss_is_scaled_outside = False
        self.local = LocalVariables(settings)
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

    def get_config(self) -> dict[str, Any]:
        """Return the stock optimizer's; an optimizer made from it in this process is distributed too."""
        config = super().get_config()  # type: ignore[misc]
        config["name"] = DistributedName(config["name"], self.__dict__[_STATE].settings)
        return config

    def __reduce__(self) -> Any:
        config = super().get_config()  # type: ignore[misc]
        return _rebuild, (self.__class__, config, self.__dict__[_STATE].settings)

    def __deepcopy__(self, memo: Any) -> Any:
        return memo.setdefault(id(self), _rebuild(*self.__reduce__()[1]))

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

    def register_local_var(self, variable: Any) -> None:
        """Leave a variable's gradients out of the reduction: it is this rank's own."""
        self.__dict__[_STATE].local.register(variable)

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
            reduced = state.local.reduce_others(
                local_grads,
                variables,
                lambda grads, others: reduce_gradients(grads, others, state.settings, share=share),
                share=share,
            )
            stock_apply(reduced, trainable_variables)

        if state.aggregation is None:
            return reduce_and_apply(grads, share)
        if not self.built:
            # The slots cannot be made inside the branch of a condition.
            self.build(variables)
        return state.aggregation.add(grads, variables, share, reduce_and_apply)


class DistributedName(str):
    """The name of a distributed optimizer in its config; written to a file it is the plain name."""

    settings: ReductionSettings

    def __new__(cls, text: str, settings: ReductionSettings) -> "DistributedName":
        name = super().__new__(cls, text)
        name.settings = settings
        return name

    def __reduce__(self) -> Any:
        return DistributedName, (str(self), self.settings)


def _rebuild(stock: Any, config: dict[str, Any], settings: ReductionSettings) -> Any:
    optimizer = stock.from_config(config)
    return _wrap(optimizer, settings)


@functools.cache
def _let_configs_distribute() -> None:
    """Make `from_config` of every Keras optimizer, which deserialising calls too, heed a DistributedName.

    The config names the stock class, so the copy would train on this rank alone without an error.
    """
    classes = {one for one in vars(keras.optimizers).values() if isinstance(one, type)}
    for owner in {base for one in classes for base in one.__mro__ if "from_config" in vars(base)}:
        if issubclass(owner, keras.optimizers.Optimizer) or owner in keras.optimizers.Optimizer.__mro__:
            _replace_from_config(owner)


def _replace_from_config(owner: Any) -> None:
    stock = vars(owner)["from_config"].__func__

    @functools.wraps(stock)
    def from_config(cls: Any, config: Any, custom_objects: Any = None) -> Any:
        plain = next((base for base in cls.__mro__ if not issubclass(base, Reducing)), cls)
        name = config.get("name") if isinstance(config, dict) else None
        made = stock(plain, {**config, "name": str(name)} if isinstance(name, DistributedName) else config)
        return _wrap(made, name.settings) if isinstance(name, DistributedName) and not is_distributed(made) else made

    owner.from_config = classmethod(from_config)


_LOSS_SCALE_HINT = (
    "A LossScaleOptimizer stands around the DistributedOptimizer, so a rank with a non-finite "
    "gradient would skip the reduction that the others wait in. Wrap the outer one, "
    "DistributedOptimizer(LossScaleOptimizer(optimizer)), or call hvd.broadcast_state(model) "
    "after model.compile, which moves the reduction outside."
)


def _wrap(optimizer: Any, settings: ReductionSettings) -> Any:
    _let_configs_distribute()
    stock = type(optimizer)
    names = {"__module__": stock.__module__, "__doc__": stock.__doc__}
    optimizer.__dict__[_STATE] = ReductionState(settings)
    _set_class(optimizer, type(stock.__name__, (Reducing, stock), names))
    return optimizer


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
