"""Local gradient aggregation: several backward passes on a rank, then one reduction.

The running sums are not slots of the optimizer: a saved model holds the stock optimizer's state
only, and what had been summed since the last reduction is lost with the process.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


class LocalAggregation:
    """Adds up the gradients of `passes` calls, then hands the sum (or its mean) on."""

    def __init__(self, passes: int, average: bool) -> None:
        self.passes = passes
        self.average = average
        self.counter: Any = None
        self.sums: dict[int, Any] = {}

    def add(
        self,
        grads: Sequence[Any],
        variables: Sequence[Any],
        share: Any,
        on_full: Callable[[Sequence[Any]], None],
    ) -> None:
        """Add `grads` (times `share`) to the sums; in every `passes`-th call run `on_full(sums)`
        and start from zero.

        The calls are counted alike on all ranks, so all ranks reduce in the same call.
        """
        sums = self._sums_of(grads, variables)
        for total, grad in zip(sums, grads, strict=True):
            if total is not None:
                grad = tf.convert_to_tensor(grad)
                total.assign_add(grad if share is None else grad * tf.cast(share, grad.dtype))
        self.counter.assign_add(1)

        def hand_on() -> None:
            divisor = self.passes if self.average else 1
            on_full([total if total is None else total / tf.cast(divisor, total.dtype) for total in sums])
            for total in sums:
                if total is not None:
                    total.assign(tf.zeros_like(total))

        tf.cond(self.counter % self.passes == 0, hand_on, lambda: None)

    def _sums_of(self, grads: Sequence[Any], variables: Sequence[Any]) -> list[Any]:
        # A tf.function may not create variables after its first trace; outside of it they may
        # appear any time.
        with tf.init_scope():
            if self.counter is None:
                self.counter = tf.Variable(0, dtype=tf.int64, trainable=False)
            for variable, grad in zip(variables, grads, strict=True):
                if grad is not None and id(variable) not in self.sums:
                    zeros = tf.zeros(variable.shape, grad.dtype)
                    self.sums[id(variable)] = tf.Variable(zeros, trainable=False)
        return [
            None if grad is None else self.sums[id(variable)] for variable, grad in zip(variables, grads, strict=True)
        ]
