"""Models that are distributed but for some layers, which each rank trains alone."""

from typing import Any

import keras
import tensorflow as tf
from horovod.tensorflow import global_process_set

from trainers.hvd.arguments import in_order_of
from trainers.hvd.local_variables import trainable_variables
from trainers.hvd.optimizer import DistributedOptimizer
from trainers.hvd.settings import Average, Compression, Op
from trainers.hvd.tape import DistributedGradientTape


@in_order_of(
    "optimizer name device_dense device_sparse compression sparse_as_dense gradient_predivide_factor op groups "
    "process_set local_layers scale_local_gradients"
)
def PartialDistributedOptimizer(  # noqa: N802, PLR0913 - Horovod's name, and Horovod's arguments
    *,
    optimizer: keras.optimizers.Optimizer,
    name: str | None = None,
    device_dense: str = "",
    device_sparse: str = "",
    compression: Compression | str = Compression.none,
    sparse_as_dense: bool = False,
    gradient_predivide_factor: float = 1.0,
    op: Op | str = Average,
    groups: Any = None,
    process_set: Any = global_process_set,
    local_layers: Any = None,
    scale_local_gradients: bool = True,
) -> keras.optimizers.Optimizer:
    """Return the optimizer distributed, but for the variables of `local_layers` (one layer or several)."""
    variables = trainable_variables(local_layers)
    wrapped = DistributedOptimizer(
        optimizer,
        compression=compression,
        sparse_as_dense=sparse_as_dense,
        gradient_predivide_factor=gradient_predivide_factor,
        op=op,
        groups=groups,
        process_set=process_set,
        scale_local_gradients=scale_local_gradients,
    )
    for variable in variables:
        wrapped.register_local_var(variable)
    return wrapped


def PartialDistributedGradientTape(  # noqa: N802, PLR0913 - Horovod's name, and Horovod's arguments
    gradtape: tf.GradientTape,
    device_dense: str = "",
    device_sparse: str = "",
    compression: Compression | str = Compression.none,
    sparse_as_dense: bool = False,
    op: Op | str = Average,
    gradient_predivide_factor: float = 1.0,
    num_groups: int = 0,
    groups: Any = None,
    process_set: Any = global_process_set,
    local_layers: Any = None,
    scale_local_gradients: bool = True,
) -> DistributedGradientTape:
    """Return the tape distributed, but for the variables of `local_layers` (one layer or several)."""
    variables = trainable_variables(local_layers)
    tape = DistributedGradientTape(
        gradtape,
        compression=compression,
        sparse_as_dense=sparse_as_dense,
        op=op,
        gradient_predivide_factor=gradient_predivide_factor,
        num_groups=num_groups,
        groups=groups,
        process_set=process_set,
        scale_local_gradients=scale_local_gradients,
    )
    for variable in variables:
        tape.register_local_source(variable)
    return tape
