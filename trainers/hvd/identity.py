"""Which collective of this rank is which of the others': told by the model and the order of the program alone.

Keras numbers layers, and this process numbers optimizers and traces, by what it happened to make before; a rank that
made more must still meet the others. So collectives of one kind have one name and keep the order of the program, and
what they are about is compared by Horovod itself, as part of the shape that it compares anyway.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from trainers.hvd.xla import refuse_xla

SHAPE_ONES = 100
"""Axes of length 1 on either side of a tensor say in one of 100 x 100 ways what it is about, at no cost."""

_LABEL = "_ringmaster_label"
BY_STRUCTURE = ""
"""The label of a variable that was reduced before it was ever broadcast."""


def in_program_order(run: Callable[[], Any]) -> Any:
    """Return `run()`; in a graph its collectives start after those traced before it have ended.

    Names may then be the same in every step, as they are in eager mode, and in whatever a rank traces again.
    """
    if tf.executing_eagerly():
        return run()
    refuse_xla()
    turn = _turn()
    with tf.control_dependencies([turn.assign_add(1, read_value=False)]):
        outputs = run()
    done = [part for part in tf.nest.flatten(outputs, expand_composites=True) if tf.is_tensor(part)]
    with tf.control_dependencies(done):
        turn.assign_add(1, read_value=False)
    return outputs


_turns: list[tf.Variable] = []


def _turn() -> tf.Variable:
    """Return the variable that every graph with a collective writes to: TensorFlow keeps the order of writes, across
    nested functions too.
    """
    if not _turns:
        with tf.init_scope(), tf.device("CPU:0"):
            _turns.append(tf.Variable(0, dtype=tf.int64, trainable=False, name="ringmaster_turn"))
    return _turns[0]


def label(variable: Any) -> str | None:
    """Return what all ranks call this variable since its first broadcast; None before it."""
    return getattr(native(variable), _LABEL, None)


def set_label(variable: Any, text: str) -> None:
    """Call the variable so from now on."""
    setattr(native(variable), _LABEL, text)


def fixed_label(variable: Any) -> str:
    """Return the variable's label; without one it is known by its structure from now on, as graphs hold what it was
    when they were traced.
    """
    found = label(variable)
    if found is None:
        found = BY_STRUCTURE
        if isinstance(native(variable), tf.Variable):
            set_label(variable, found)
    return found


def native(variable: Any) -> Any:
    """Return the tf.Variable inside a Keras variable."""
    return variable if isinstance(variable, tf.Variable) else getattr(variable, "_value", variable)


def fingerprint(parts: Sequence[str]) -> tuple[int, int]:
    """Return the two counts of axes that stand for `parts`."""
    number = int.from_bytes(hashlib.sha256("\n".join(parts).encode()).digest()[:8], "big")
    return number % SHAPE_ONES, number // SHAPE_ONES % SHAPE_ONES


def marked(flat: Any, mark: tuple[int, int]) -> Any:
    """(values,) -> (1, ..., values, ..., 1): ranks with another mark get Horovod's error of unlike shapes, all of
    them.
    """
    return tf.reshape(flat, [1] * mark[0] + [-1] + [1] * mark[1])


def unmarked(tensor: Any) -> Any:
    """Undo `marked`."""
    return tf.reshape(tensor, (-1,))


def marked_rows(rows: Any, mark: tuple[int, int]) -> Any:
    """(rows, ...) -> (rows, 1, ..., 1, ...): as `marked`, for tensors of which only the rows may differ in number."""
    shape = tf.concat([tf.shape(rows)[:1], [1] * (mark[0] + mark[1]), tf.shape(rows)[1:]], 0)
    marked_shape = rows.shape[:1].as_list() + [1] * sum(mark) + rows.shape[1:].as_list()
    return tf.ensure_shape(tf.reshape(rows, shape), marked_shape)


# Horovod found the ranks' requests unlike: all ranks get this text, and the ring still stands.
_DISAGREE = ("Mismatched", "Duplicate tensor name")
_OF_THE_OP = re.compile(r"\{\{function_node .*?\}\}|\[Op:.*")
DISAGREE = "the ranks asked for different reductions in one step"
_SHAPE = re.compile(r"\[\d+(?:, \d+)*\]")


def disagreement(text: str) -> str | None:
    """Return what to say of Horovod's error text where the ranks asked for different collectives, else None."""
    if not any(sign in text for sign in _DISAGREE):
        return None
    plain = without_marks(_OF_THE_OP.sub("", text)).strip()
    shapes = _SHAPE.findall(plain)
    if "Mismatched ALL" in plain and len(shapes) == 2 and len(set(shapes)) == 1:
        plain = "the values are as many, but not of the same variables"
    return (
        f"{DISAGREE}: {plain} (a rank has no gradient, or a sparse one, where another has one; or the model is "
        "another). Give tf.zeros_like(variable) in place of None, and sparse_as_dense=True, or call "
        "hvd.broadcast_state(model) before training, which names what differs."
    )


def without_marks(text: str) -> str:
    """Return an error text with the shapes in it as they are without their marks."""
    return _SHAPE.sub(lambda found: _without_ones(found.group()), text)


def _without_ones(shape: str) -> str:
    sizes = [size for size in shape[1:-1].split(", ") if size != "1"]
    return f"[{', '.join(sizes or ['1'])}]"
