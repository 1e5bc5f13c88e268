"""What a script under `horovodrun` says at its end without a `with failures_explained()`: who failed first, and why.

The rank whose program ends, by an exception or early, leaves word in the store before it leaves the ring; a rank that
loses the ring by that prints it below its traceback. Does nothing where no rendezvous server is known.
"""

import atexit
import functools
import sys
from types import TracebackType
from typing import Any

from trainers.hvd import store
from trainers.hvd.collectives import is_initialized, rank, size
from trainers.hvd.failures import explain_failure


@functools.cache
def watch_the_end_of_the_program() -> None:
    """Install what says so; once, after the ring stands."""
    if not store.exists() or size() == 1:
        return
    places = [str(store.get(f"here_{number}")) for number in range(size())]
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> Any:
        before(kind, error, where)
        if isinstance(error, Exception) and is_initialized():
            sys.stderr.write(f"hvd: {explain_failure(error, rank(), places)}\n")

    sys.excepthook = hook
    atexit.register(_leave_word)  # runs before Horovod's, which was registered first


def _leave_word() -> None:
    if is_initialized():
        store.put(f"ended_{rank()}", "ended")
