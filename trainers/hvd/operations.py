"""Horovod's operations that training itself does not need: groups, all-to-all, reduce-scatter, sizes inside a graph.

Each is a collective that all ranks must call in the same order.
"""

from collections.abc import Callable, Sequence
from typing import Any

import horovod.tensorflow as horovod
import tensorflow as tf
from horovod.tensorflow import (
    ccl_built,
    cuda_built,
    ddl_built,
    gloo_built,
    gloo_enabled,
    is_homogeneous,
    local_rank_op,
    local_size_op,
    mpi_built,
    mpi_enabled,
    mpi_threads_supported,
    nccl_built,
    process_set_included_op,
    rank_op,
    rocm_built,
    size_op,
)

from trainers.hvd.arguments import in_order_of
from trainers.hvd.collectives import (
    OPERATIONS,
    TWIN_DTYPES,
    ProcessSet,
    as_bits,
    broadcast_object,
    chosen_op,
    compressor,
    global_process_set,
)
from trainers.hvd.settings import Average, Compression, Op, choose

__all__ = [
    "alltoall",
    "broadcast_object_fn",
    "ccl_built",
    "cuda_built",
    "ddl_built",
    "gloo_built",
    "gloo_enabled",
    "grouped_allgather",
    "grouped_allreduce",
    "grouped_reducescatter",
    "is_homogeneous",
    "local_rank_op",
    "local_size_op",
    "mpi_built",
    "mpi_enabled",
    "mpi_threads_supported",
    "nccl_built",
    "process_set_included_op",
    "rank_op",
    "reducescatter",
    "rocm_built",
    "size_op",
]

SCATTERED_OPS = (Op.average, Op.sum)
GROUPED_OPS = tuple(OPERATIONS)


def grouped_allreduce(  # noqa: PLR0913 - Horovod's arguments
    tensors: Sequence[Any],
    average: bool | None = None,
    device_dense: str = "",
    device_sparse: str = "",
    compression: Compression | str = Compression.none,
    op: Op | str | None = None,
    prescale_factor: float = 1.0,
    postscale_factor: float = 1.0,
    process_set: ProcessSet = global_process_set,
    ignore_name_scope: bool = False,
    name: str | None = None,
) -> list[tf.Tensor]:
    """Return every tensor reduced over the ranks, all in one go; see `allreduce`."""
    operation = choose(chosen_op(op, average), Op, "op", GROUPED_OPS)
    return horovod.grouped_allreduce(
        [tf.convert_to_tensor(tensor) for tensor in tensors],
        compression=compressor(compression),
        op=OPERATIONS[operation],
        prescale_factor=prescale_factor,
        postscale_factor=postscale_factor,
        process_set=process_set,
        ignore_name_scope=ignore_name_scope,
        name=name,
    )


def grouped_allgather(
    tensors: Sequence[Any],
    name: str | None = None,
    ignore_name_scope: bool = False,
    process_set: ProcessSet = global_process_set,
) -> list[tf.Tensor]:
    """Return every tensor joined over the ranks along its first axis, all in one go."""
    tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]
    twins = [TWIN_DTYPES.get(tensor.dtype) for tensor in tensors]
    bits = [as_bits(tensor, twin) for tensor, twin in zip(tensors, twins, strict=True)]
    gathered = horovod.grouped_allgather(bits, name, ignore_name_scope, process_set)
    triples = zip(gathered, twins, tensors, strict=True)
    return [as_bits(value, twin and tensor.dtype) for value, twin, tensor in triples]


def alltoall(
    tensor: Any,
    splits: Any = None,
    name: str | None = None,
    ignore_name_scope: bool = False,
    process_set: ProcessSet = global_process_set,
) -> Any:
    """Return this rank's slices of the tensors of all ranks, joined along the first axis.

    splits: how many rows go to each rank; with it the rows received from each are returned, too.
    """
    tensor = tf.convert_to_tensor(tensor)
    twin = TWIN_DTYPES.get(tensor.dtype)
    received = horovod.alltoall(as_bits(tensor, twin), splits, name, ignore_name_scope, process_set)
    if splits is None:
        return as_bits(received, twin and tensor.dtype)
    return as_bits(received[0], twin and tensor.dtype), received[1]


@in_order_of(
    "value name op",
    "tensor device_dense compression op name process_set ignore_name_scope prescale_factor postscale_factor",
)
def reducescatter(  # noqa: PLR0913 - Horovod's arguments
    *,
    tensor: Any,
    device_dense: str = "",
    compression: Compression | str = Compression.none,
    op: Op | str = Average,
    name: str | None = None,
    process_set: ProcessSet = global_process_set,
    ignore_name_scope: bool = False,
    prescale_factor: float = 1.0,
    postscale_factor: float = 1.0,
) -> tf.Tensor:
    """Return this rank's rows of the average (or sum) of `tensor` over the ranks."""
    return horovod.reducescatter(
        tf.convert_to_tensor(tensor),
        compression=compressor(compression),
        op=OPERATIONS[choose(op, Op, "op", SCATTERED_OPS)],
        name=name,
        process_set=process_set,
        ignore_name_scope=ignore_name_scope,
        prescale_factor=prescale_factor,
        postscale_factor=postscale_factor,
    )


def grouped_reducescatter(  # noqa: PLR0913 - Horovod's arguments
    tensors: Sequence[Any],
    device_dense: str = "",
    compression: Compression | str = Compression.none,
    op: Op | str = Average,
    process_set: ProcessSet = global_process_set,
    prescale_factor: float = 1.0,
    postscale_factor: float = 1.0,
) -> list[tf.Tensor]:
    """Return this rank's rows of every reduced tensor, all in one go."""
    return horovod.grouped_reducescatter(
        [tf.convert_to_tensor(tensor) for tensor in tensors],
        compression=compressor(compression),
        op=OPERATIONS[choose(op, Op, "op", SCATTERED_OPS)],
        process_set=process_set,
        prescale_factor=prescale_factor,
        postscale_factor=postscale_factor,
    )


def broadcast_object_fn(
    root_rank: int = 0, session: None = None, name: str | None = None, process_set: ProcessSet = global_process_set
) -> Callable[[Any], Any]:
    """Return a function that gives every rank the root's object."""
    return lambda obj: broadcast_object(obj, root_rank, session, name, process_set)
