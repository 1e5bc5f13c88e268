"""Ends the training command of this container in order, before Kubernetes stops the container.

The hook of the head's pod: `python -m orchestrator.submit.stop_driver JOB.yaml SECONDS`. It runs when the pod is
deleted, whoever deletes it, and needs nothing but Python and psutil.
"""

import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

COMMAND = ("-m", "orchestrator", "train")
POLL_S = 0.1


def drivers(job_file: str) -> list[psutil.Process]:
    """The processes that train this file, as `entrypoint` starts them."""
    wanted = [*COMMAND, job_file]
    return [one for one in psutil.process_iter(["cmdline"]) if (one.info["cmdline"] or [])[1:5] == wanted]


def stop(processes: Sequence[psutil.Process], *, timeout_s: float) -> list[psutil.Process]:
    """Tell each to end, once, and wait; return those that are still there after `timeout_s`."""
    deadline, told = time.monotonic() + timeout_s, set()
    while (left := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        for process in left:
            if process not in told and _takes_sigterm(process):
                told.add(process)
                with suppress(psutil.NoSuchProcess):
                    process.terminate()
        time.sleep(POLL_S)
    return left


def _takes_sigterm(process: psutil.Process) -> bool:
    """Whether it has a handler for SIGTERM: not yet while Python starts, and no more when it was told to end.

    KubeRay has Ray tell it before the pod is deleted; to tell it twice could end it in the middle of closing its run.
    """
    try:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def _runs(process: psutil.Process) -> bool:
    """A zombie does not: it has ended, and its parent, which is Ray's, may be too busy to notice."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def main(arguments: Sequence[str]) -> str | None:
    """Return what `sys.exit` takes: None when no driver is left, or was there; a message when one does not end."""
    job_file, seconds = arguments
    left = stop(drivers(job_file), timeout_s=float(seconds))
    pids = ", ".join(str(process.pid) for process in left)
    return f"process {pids} has not ended within {seconds} s; its MLflow run may stay open" if left else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
