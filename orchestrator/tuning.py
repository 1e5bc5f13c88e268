"""Horovod's settings of a job as environment variables, and the autotuned ones kept for its next run."""

import json
import logging
from pathlib import Path
from typing import Any

from configs.job import JobSpec
from trainers.hvd.environment import best_autotuned, tuning_environment

logger = logging.getLogger(__name__)

RECORDS = {"timeline": "HOROVOD_TIMELINE", "autotune": "HOROVOD_AUTOTUNE_LOG"}
"""Settings that make rank 0 write a file -> the variable that names it."""


def horovod_environment(spec: JobSpec) -> dict[str, str]:
    """The HOROVOD_* variables of the job. What autotune found in an earlier run replaces autotuning again; a knob
    set in the YAML file replaces both. Raises SpecError."""
    knobs: dict[str, Any] = dict(spec.horovod.knobs)
    tuned = autotuned(spec)
    if tuned:
        knobs.pop("autotune", None)
        logger.info("Horovod's settings are those that autotune found: %s", tuned)
    return tuning_environment({**tuned, **knobs})


def records_of(spec: JobSpec) -> tuple[str, ...]:
    """Variables of the files that rank 0 has to write."""
    wanted = {"timeline": spec.horovod.timeline, "autotune": spec.horovod.autotune and not autotuned(spec)}
    return tuple(RECORDS[name] for name, on in wanted.items() if on)


def autotuned(spec: JobSpec) -> dict[str, Any]:
    """What an earlier run of this job on as many workers found, if this one asks for autotune; else nothing."""
    path = _path(spec)
    if not (spec.horovod.autotune and path.is_file()):
        return {}
    return dict(json.loads(path.read_text(encoding="utf-8")))


def keep_autotuned(spec: JobSpec, log: str) -> dict[str, Any]:
    """Write the best settings of Horovod's autotune log for the next run, and return them; {} when it had no time."""
    found = best_autotuned(log)
    if found:
        path = _path(spec)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def _path(spec: JobSpec) -> Path:
    return spec.folder / "autotune" / f"{spec.name}-{spec.cluster.workers}.json"
