"""Adasum: gradients that agree are averaged, gradients that have nothing in common are added.

Horovod has Adasum for MPI only; this is the same rule on gathered rows, so it runs over Gloo and
NCCL and for any number of ranks. It moves (ranks - 1) times the bytes of the gradients to every
rank.
"""

from typing import Any

import tensorflow as tf


def adasum_rows(rows: Any) -> Any:
    """Return the Adasum of the rows of one variable. rows: (ranks, values). Result: (values,), the
    same on all ranks.
    """
    level = tf.unstack(rows, axis=0)
    while len(level) > 1:
        pairs = [_adasum_pair(a, b) for a, b in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[2 * len(pairs) :]
    return level[0]


def _adasum_pair(a: Any, b: Any) -> Any:
    wide = tf.float32 if a.dtype.size < 4 else a.dtype
    a_wide, b_wide = tf.cast(a, wide), tf.cast(b, wide)
    dot = tf.reduce_sum(a_wide * b_wide)
    part_a = 1.0 - tf.math.divide_no_nan(dot, 2.0 * tf.reduce_sum(a_wide * a_wide))
    part_b = 1.0 - tf.math.divide_no_nan(dot, 2.0 * tf.reduce_sum(b_wide * b_wide))
    return tf.cast(part_a * a_wide + part_b * b_wide, a.dtype)
