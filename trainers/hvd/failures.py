"""A failed collective said in words: which rank failed first, on which host, and why.

The rank that raises writes its reason into the store of the rendezvous server and leaves the
ring; the others, whose collectives end with that, read it there. Knows nothing about Ray.
"""

import contextlib
from collections.abc import Iterator

import horovod.common.exceptions as horovod_errors
import tensorflow as tf

from configs.errors import LostRankError, RingmasterError, TrainingError
from trainers.hvd import store
from trainers.hvd.collectives import hosts, rank, shutdown, size
from trainers.hvd.identity import DISAGREE, disagreement, without_marks

# How a collective ends when the ring is gone; Horovod wraps it in TensorFlow's errors and its own.
RING_LOST = (
    "Horovod has been shut down",
    "Horovod has not been initialized",
    "HorovodInternalError",
    "Connection closed by peer",
    "Connection reset by peer",
    "Read timeout",
    "Broken pipe",
)

WAIT_FOR_REASON_S = 5.0


@contextlib.contextmanager
def failures_explained() -> Iterator[None]:
    """Turn whatever ends the training inside into a TrainingError that names rank, host and cause.

    Put it around `model.fit` on every rank, after `hvd.init`. When this rank raises, the others
    are let go with its reason; when another rank failed, its reason is raised here. A collective.
    """
    me, places = rank(), hosts() if size() > 1 else []
    try:
        yield
    except Exception as error:
        if not places:
            raise
        raise explain_failure(error, me, places) from error


def explain_failure(error: Exception, number: int, places: list[str]) -> RingmasterError:
    """Return the error to raise on rank `number`, having told the other ranks."""
    me = f"Rank {number} on host {places[number]}"
    text = _reason_of(error)
    if isinstance(error, TrainingError) and DISAGREE in text:  # said already; the ring still stands
        return error
    said = None if isinstance(error, RingmasterError) else disagreement(text)
    if said is not None:
        return TrainingError(f"{me}: {said}")
    if _ring_is_lost(error):
        cause = _cause_left_by_others(number, places) or f"no rank left a reason. {text}"
        shutdown()
        return LostRankError(f"{me} lost the ring: {cause}")
    reason = f"{me} failed: {type(error).__name__}: {text}"
    if store.get("failure") is None:  # the first rank to fail is the cause
        store.put("failure", reason)
    shutdown()
    return error if isinstance(error, RingmasterError) else TrainingError(reason)


def _ring_is_lost(error: BaseException) -> bool:
    """Return whether a collective raised it. A ConnectionError of the user's own has another type, or out of a
    dataset's function another traceback.
    """
    if isinstance(error, horovod_errors.HorovodInternalError):
        return True
    text = str(error)
    if isinstance(error, tf.errors.OpError):
        return "Traceback (most recent call last)" not in text and any(sign in text for sign in RING_LOST)
    return isinstance(error, ValueError) and text.startswith("Horovod has not been initialized")


def _reason_of(error: BaseException) -> str:
    """Return the message on one line, of TensorFlow's graph errors the reason alone."""
    text = without_marks(str(error)) or repr(error)
    if "Graph execution error" in text:
        # The reason stands after the stack of the node that failed, before the node's name and any traceback.
        lines = text.split("[[{{node", 1)[0].split("Traceback (most recent call last)", 1)[0].splitlines()
        stack = ("Graph exec", "Detected at", "  File", "Stack")
        text = "\n".join(line for line in lines if not line.startswith(stack))
    text = " ".join(text.split())
    return text if len(text) <= 600 else f"{text[:600]} ..."


def _cause_left_by_others(me: int, places: list[str]) -> str | None:
    """Return what the failed rank left, or else which ranks say nothing any more."""
    store.put(f"alive_{me}", "alive")
    if not store.wait_for(["failure"], WAIT_FOR_REASON_S):
        return store.get("failure")
    named = [(number, f"rank {number} on host {host}") for number, host in enumerate(places)]
    ended = [name for number, name in named if store.get(f"ended_{number}") is not None]
    if ended:
        return (
            f"{' and '.join(ended)} had ended the program, without an error, while this rank was still training. "
            "Expected as many steps on every rank: look for unequal numbers of batches, or a stop that one rank alone "
            "decides (hvd.AverageMetrics makes all decide alike)."
        )
    silent = [name for number, name in named if store.get(f"alive_{number}") is None]
    if not silent or len(silent) == len(places):
        return None
    return (
        f"{' and '.join(silent)} died or stopped answering, and left no reason (killed for "
        "memory, a lost host, a step that hangs). Look into the log of that rank."
    )
