"""`CheckEqualWeights`: during training, the proof that the ranks still hold one model.

Compares one number per variable, not the weights. Knows nothing about what to do with a broken
run but to stop it.
"""

import socket
from typing import Any

import keras
import tensorflow as tf

from configs.errors import SpecError, TrainingError
from trainers.hvd.collectives import allreduce, rank, size
from trainers.hvd.messages import allgather_json
from trainers.hvd.settings import Op

EVERY_STEPS = 200


class CheckEqualWeights(keras.callbacks.Callback):
    """Compares the ranks' trainable variables after step 1 and after every `every_steps` steps.

    Raises TrainingError on every rank when they differ, naming rank, host and first variable.
    Moving statistics are left out: between the averages of `AverageBatchNorm` they may differ.
    """

    def __init__(self, every_steps: int = EVERY_STEPS) -> None:
        super().__init__()
        if every_steps < 1:
            raise SpecError(f"every_steps={every_steps!r} is too small. Expected at least 1.")
        self.every_steps = every_steps
        self.steps = 0
        self._next = 1
        self._hash: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Compile the hash for the variables that are trainable now."""
        variables = [v.value for v in self.model.trainable_variables]
        self._hash = tf.function(lambda: tf.stack([_sum_of_bits(v) for v in variables]))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Compare when it is time; a batch may stand for several steps (steps_per_execution)."""
        self.steps += max(1, getattr(self.model, "steps_per_execution", 1))
        if self.steps < self._next or size() == 1:
            return
        self._next = self.steps + self.every_steps
        if not same_on_all_ranks(self._hash()):
            self._stop()

    def _stop(self) -> None:
        hashes = [int(value) for value in self._hash().numpy()]
        reports = allgather_json((socket.gethostname(), hashes), name="weights_in_training")
        root_host, expected = reports[0]
        for number, (host, found) in enumerate(reports):
            if found != expected:
                at = next(i for i, (a, b) in enumerate(zip(expected, found, strict=True)) if a != b)
                raise TrainingError(
                    f"After step {self.steps} rank {number} on host {host} holds other weights "
                    f"than rank 0 on host {root_host}. First variable that differs: "
                    f"{self.model.trainable_variables[at].path}. Expected equal weights after "
                    "every step: call hvd.broadcast_state(model) before fit, wrap the optimizer "
                    "with hvd.DistributedOptimizer, and change weights in no other way. (Seen by "
                    f"rank {rank()}.)"
                )


def same_on_all_ranks(numbers: Any) -> bool:
    """Return whether the int64 vector `numbers` is the same on all ranks; a collective."""
    # The largest value and the largest negated one are opposites only where all ranks agree.
    both = allreduce(tf.concat([numbers, -numbers], 0), op=Op.max, name="ringmaster_equal_weights")
    largest, negated_smallest = tf.split(both, 2)
    return bool(tf.reduce_all(largest == -negated_smallest))


def _sum_of_bits(variable: Any) -> Any:
    """Return the sum of the variable's values read as integers: any one changed bit changes it."""
    value = tf.convert_to_tensor(variable)
    if value.dtype.size < 4:
        return tf.reduce_sum(tf.cast(tf.bitcast(value, tf.int16), tf.int64))
    return tf.reduce_sum(tf.cast(tf.bitcast(value, tf.int32), tf.int64))
