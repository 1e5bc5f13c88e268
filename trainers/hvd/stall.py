"""`StallWatch`: a step in which a rank waits too long for the others ends with an error on all.

Horovod's own stall check only logs, on rank 0, and did not act on a sleeping rank in our tests
(HOROVOD_STALL_SHUTDOWN_TIME_SECONDS with Gloo). Knows nothing about why a rank is late.
"""

import threading
import time
from typing import Any

import keras

from configs.errors import SpecError
from trainers.hvd import store
from trainers.hvd.collectives import hosts, rank, shutdown, size

GRACE_S = 3.0
"""How long the ranks that wait have for saying so, after the first one lost patience."""


class StallWatch(keras.callbacks.Callback):
    """Breaks the ring when one step takes longer than `timeout_s`, naming the ranks that are late.

    Use it inside `hvd.failures_explained()`, which raises the reason on every rank. The timeout
    must cover the longest honest step: the first one is traced, and callbacks between two steps
    (a checkpoint written by rank 0) keep the other ranks waiting in the next. Put it first among
    the callbacks: its clock then leaves out the others.
    """

    def __init__(self, timeout_s: float = 600.0) -> None:
        super().__init__()
        if timeout_s <= 0:
            raise SpecError(f"timeout_s={timeout_s!r} is too small. Expected seconds above 0.")
        self.timeout_s = timeout_s
        self._entered_s: float | None = None
        self._step = 0
        self._ended = threading.Event()
        self._places: list[str] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Start the watching thread."""
        if size() > 1:
            self._places, self._ended = hosts(), threading.Event()
            threading.Thread(target=self._watch, args=(rank(),), daemon=True).start()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Start the clock of the step."""
        self._step += 1
        self._entered_s = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Stop the clock: other callbacks are not a step."""
        self._entered_s = None

    def on_train_end(self, logs: Any = None) -> None:
        """End the thread."""
        self._ended.set()

    def _watch(self, me: int) -> None:
        while not self._ended.wait(min(1.0, self.timeout_s / 4)):
            entered_s = self._entered_s
            if entered_s is not None and time.monotonic() - entered_s > self.timeout_s:
                self._break_ring(me)
                return

    def _break_ring(self, me: int) -> None:
        ranks = range(len(self._places))
        store.put(f"waits_{me}", str(self._step))
        store.wait_for([f"waits_{number}" for number in ranks], GRACE_S)
        steps = [int(store.get(f"waits_{number}") or -1) for number in ranks]
        furthest = max(steps)
        late = [f"rank {number} on host {self._places[number]}" for number in ranks if steps[number] < furthest]
        if store.get("failure") is None:
            store.put(
                "failure",
                f"{' and '.join(late) or 'no rank is behind the others, yet one'} did not take "
                f"part in step {furthest} within {self.timeout_s:g} s. Look into the log of that "
                "rank: slow data, a callback that runs on one rank only, a collective that the "
                "others do not call. Raise the timeout if such a step is honest.",
            )
        shutdown()
