"""Values that cross ranks: every function here is a collective that all ranks must call in the
same order.

The one module that talks to Horovod's operations by name. Knows nothing about Keras.
"""

import os
import socket
import threading
from importlib import import_module
from typing import Any

import horovod.tensorflow as horovod
import tensorflow as tf
from horovod.tensorflow import (
    ProcessSet,
    add_process_set,
    global_process_set,
    is_initialized,
    remove_process_set,
    start_timeline,
    stop_timeline,
)

from configs.errors import SpecError, TrainingError
from trainers.hvd import store
from trainers.hvd.adasum import adasum_rows
from trainers.hvd.arguments import in_order_of, without_session
from trainers.hvd.settings import Compression, Op, choose
from trainers.hvd.xla import refuse_xla, watch_every_model

__all__ = [
    "ProcessSet",
    "add_process_set",
    "allgather",
    "allgather_object",
    "allreduce",
    "barrier",
    "broadcast",
    "broadcast_object",
    "cross_rank",
    "cross_size",
    "global_process_set",
    "hosts",
    "init",
    "is_initialized",
    "join",
    "local_rank",
    "local_size",
    "rank",
    "remove_process_set",
    "shutdown",
    "size",
    "start_timeline",
    "stop_timeline",
]

OPERATIONS = {
    Op.average: horovod.Average,
    Op.sum: horovod.Sum,
    Op.min: horovod.Min,
    Op.max: horovod.Max,
    Op.product: horovod.Product,
}
COMPRESSORS = {Compression.none: horovod.Compression.none, Compression.fp16: horovod.Compression.fp16}

HOST_BYTES = 255
"""Of a host's name on the wire, as long as one can be."""

_shutdown_lock = threading.Lock()

# Horovod moves these formats only; others travel as the same bits in one of them.
TWIN_DTYPES = {tf.uint32: tf.int32, tf.uint64: tf.int64, tf.bfloat16: tf.int16}


def init(*args: Any, **kwargs: Any) -> None:
    """Join the ring; returns when all ranks have arrived. Does nothing when it has been joined
    already.
    """
    if is_initialized():
        return
    watch_every_model()
    _wait_for_all_ranks()
    try:
        horovod.init(*args, **kwargs)
    except Exception as error:
        raise TrainingError(
            f"Horovod did not start on host {socket.gethostname()}: {error}. Expected all ranks "
            "to arrive within "
            "HOROVOD_GLOO_TIMEOUT_SECONDS (30 when unset). Look whether a rank died before, and "
            "whether the hosts "
            "reach each other over HOROVOD_GLOO_IFACE."
        ) from error
    import_module("trainers.hvd.last_words").watch_the_end_of_the_program()  # it stands above this module


def _wait_for_all_ranks() -> None:
    """Raise TrainingError naming the ranks that did not come; Gloo would abort the process."""
    me, ring = (int(os.environ.get(f"HOROVOD_{name}", -1)) for name in ("RANK", "SIZE"))
    if ring < 2 or not store.exists():
        return
    timeout_s = float(os.environ.get("HOROVOD_GLOO_TIMEOUT_SECONDS", 30))
    store.put(f"here_{me}", socket.gethostname())
    # Rank 0 counts and tells the others: all of them counting would be ranks x ranks requests.
    if me == 0:
        missing = store.wait_for([f"here_{number}" for number in range(ring)], timeout_s)
        names = ", ".join(key.removeprefix("here_") for key in missing)
        store.put("missing", names)
    else:
        # Rank 0 may have been late itself, and then counts for as long again.
        store.wait_for(["missing"], 2 * timeout_s + 5)
        answer = store.get("missing")
        names = "0 (or the rendezvous server is gone)" if answer is None else answer
    if names:
        raise TrainingError(
            f"Rank {me} on host {socket.gethostname()} waited {timeout_s:g} s for rank {names} of "
            f"{ring}, in vain. Expected all ranks to call hvd.init() within "
            "HOROVOD_GLOO_TIMEOUT_SECONDS: look whether that rank died or still imports, or "
            "raise the time."
        )


def shutdown() -> None:
    """Leave the ring; what the other ranks still wait for ends there with an error."""
    # Two threads that shut Horovod down at once (a StallWatch and the training) wait forever.
    with _shutdown_lock:
        horovod.shutdown()


def rank() -> int:
    """Return this process's number in the ring, from 0."""
    return _ask(horovod.rank)


def size() -> int:
    """Return the number of ranks in the ring."""
    return _ask(horovod.size)


def local_rank() -> int:
    """Return this process's number among those of its host; choose the GPU with it."""
    return _ask(horovod.local_rank)


def local_size() -> int:
    """Return the number of ranks on this host."""
    return _ask(horovod.local_size)


def cross_rank() -> int:
    """Return this host's number among the hosts."""
    return _ask(horovod.cross_rank)


def cross_size() -> int:
    """Return the number of hosts."""
    return _ask(horovod.cross_size)


@in_order_of(
    "value name average prescale_factor postscale_factor op compression",
    "tensor average device_dense device_sparse compression op prescale_factor postscale_factor name process_set "
    "ignore_name_scope",
)
def allreduce(  # noqa: PLR0913 - Horovod's arguments
    *,
    tensor: Any,
    average: bool | None = None,
    op: Op | str | None = None,
    compression: Compression | str = Compression.none,
    prescale_factor: float = 1.0,
    postscale_factor: float = 1.0,
    name: str | None = None,
    process_set: ProcessSet = global_process_set,
    device_dense: str = "",
    device_sparse: str = "",
    ignore_name_scope: bool = False,
) -> tf.Tensor:
    """Return the average (sum, min, max, product, Adasum) of `tensor` over the ranks; same shape and dtype on all.

    IndexedSlices stay such, for average and sum.
    """
    refuse_xla()
    operation = chosen_op(op, average)
    options = {"name": name, "process_set": process_set, "ignore_name_scope": ignore_name_scope}
    if not isinstance(tensor, tf.IndexedSlices):
        tensor = tf.convert_to_tensor(tensor)
    if operation == Op.adasum:
        rows = horovod.allgather(tf.reshape(tensor * prescale_factor, (1, -1)), **options)
        return tf.reshape(adasum_rows(rows), tensor.shape) * postscale_factor
    return horovod.allreduce(
        tensor,
        op=OPERATIONS[operation],
        compression=compressor(compression),
        prescale_factor=prescale_factor,
        postscale_factor=postscale_factor,
        **options,
    )


def chosen_op(op: Op | str | None, average: bool | None) -> Op:
    """Return the operation that `op`, or the older `average`, names."""
    if average is not None and op is not None:
        raise SpecError(f"Both average={average} and op={op} were given. Give op alone.")
    if op is None:
        return Op.sum if average is False else Op.average
    return choose(op, Op, "op")


def compressor(compression: Compression | str) -> Any:
    """Return Horovod's own compressor of that name."""
    return COMPRESSORS[choose(compression, Compression, "compression", tuple(COMPRESSORS))]


@in_order_of("value name", "tensor name ignore_name_scope process_set")
def allgather(
    *,
    tensor: Any,
    name: str | None = None,
    ignore_name_scope: bool = False,
    process_set: ProcessSet = global_process_set,
) -> tf.Tensor:
    """Return the ranks' tensors joined along the first axis, in rank order; only that axis may
    differ in length.
    """
    refuse_xla()
    tensor = tf.convert_to_tensor(tensor)
    twin = TWIN_DTYPES.get(tensor.dtype)
    gathered = horovod.allgather(as_bits(tensor, twin), name, ignore_name_scope, process_set)
    return as_bits(gathered, twin and tensor.dtype)


@in_order_of("value root_rank name", "tensor root_rank name ignore_name_scope process_set")
def broadcast(
    *,
    tensor: Any,
    root_rank: int = 0,
    name: str | None = None,
    ignore_name_scope: bool = False,
    process_set: ProcessSet = global_process_set,
) -> tf.Tensor:
    """Return the root's tensor on every rank; shape and dtype must be the same on all."""
    refuse_xla()
    tensor = tf.convert_to_tensor(tensor)
    twin = TWIN_DTYPES.get(tensor.dtype)
    value = horovod.broadcast(as_bits(tensor, twin), root_rank, name, ignore_name_scope, process_set)
    return as_bits(value, twin and tensor.dtype)


def broadcast_object(
    obj: Any = None,
    root_rank: int = 0,
    session: None = None,
    name: str | None = None,
    process_set: ProcessSet = global_process_set,
) -> Any:
    """Return the root's Python object on every rank.

    As in Horovod it is pickled on the way, so that any object can go; Ringmaster's own messages are JSON.
    """
    without_session(session)
    return horovod.broadcast_object(obj, root_rank, name=name or "object", process_set=process_set)


def allgather_object(
    obj: Any, session: None = None, name: str | None = None, process_set: ProcessSet = global_process_set
) -> list[Any]:
    """Return the list of the ranks' Python objects, in rank order, on every rank."""
    without_session(session)
    return horovod.allgather_object(obj, name=name or "object", process_set=process_set)


def hosts() -> list[str]:
    """Return the host name of every rank, in rank order."""
    name = socket.gethostname().encode()[:HOST_BYTES].ljust(HOST_BYTES)
    rows = allgather(tf.constant([list(name)], tf.uint8), name="hosts").numpy()
    return [bytes(row).decode(errors="replace").rstrip() for row in rows]


def barrier(*, process_set: ProcessSet = global_process_set) -> None:
    """Return when every rank has called it."""
    # Horovod's TensorFlow side has no barrier of its own; one reduced number is the same promise.
    allreduce(tf.zeros((1,)), op=Op.sum, name="barrier", process_set=process_set).numpy()


def join() -> int:
    """Say that this rank has no more data; until all have joined, zeros are reduced for it.

    Returns the last rank that joined. Averages still divide by the full number of ranks.
    """
    return int(horovod.join())


def as_bits(tensor: tf.Tensor, dtype: tf.DType | None) -> tf.Tensor:
    """Return the same bits read as `dtype`; None leaves the tensor as it is."""
    return tensor if dtype is None else tf.bitcast(tensor, dtype)


def _ask(question: Any) -> int:
    if not is_initialized():
        raise TrainingError(
            f"hvd.{question.__name__}() was called before hvd.init(). Call hvd.init() once at "
            "the start of the "
            "program, on every rank."
        )
    return question()
