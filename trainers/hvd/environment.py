"""Horovod's tuning knobs by name, as the environment variables that carry them to the ranks.

Plain text: needs neither Horovod nor TensorFlow, so the driver checks a job with it.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from configs.errors import SpecError


@dataclass(frozen=True)
class Knob:
    """One setting of Horovod: its variable, kind of value, and factor to Horovod's unit."""

    variable: str
    kind: type
    minimum: float = 0
    factor: float = 1


KNOBS: dict[str, Knob] = {
    "fusion_threshold_mb": Knob("HOROVOD_FUSION_THRESHOLD", float, factor=2**20),
    "cycle_time_ms": Knob("HOROVOD_CYCLE_TIME", float, minimum=0.01),
    "cache_capacity": Knob("HOROVOD_CACHE_CAPACITY", int),
    "hierarchical_allreduce": Knob("HOROVOD_HIERARCHICAL_ALLREDUCE", bool),
    "hierarchical_allgather": Knob("HOROVOD_HIERARCHICAL_ALLGATHER", bool),
    "autotune": Knob("HOROVOD_AUTOTUNE", bool),
    "autotune_log": Knob("HOROVOD_AUTOTUNE_LOG", str),
    "autotune_warmup_samples": Knob("HOROVOD_AUTOTUNE_WARMUP_SAMPLES", int, minimum=1),
    "autotune_steps_per_sample": Knob("HOROVOD_AUTOTUNE_STEPS_PER_SAMPLE", int, minimum=1),
    "timeline": Knob("HOROVOD_TIMELINE", str),
    "timeline_mark_cycles": Knob("HOROVOD_TIMELINE_MARK_CYCLES", bool),
    "stall_warning_s": Knob("HOROVOD_STALL_CHECK_TIME_SECONDS", int, minimum=1),
    "stall_shutdown_s": Knob("HOROVOD_STALL_SHUTDOWN_TIME_SECONDS", int),
    "start_timeout_s": Knob("HOROVOD_GLOO_TIMEOUT_SECONDS", int, minimum=1),
    "thread_affinity": Knob("HOROVOD_THREAD_AFFINITY", str),
    "log_level": Knob("HOROVOD_LOG_LEVEL", str),
}


def tuning_environment(knobs: Mapping[str, Any]) -> dict[str, str]:
    """Return the HOROVOD_* variables for `knobs` (names of KNOBS); None leaves Horovod's default.

    Raises SpecError for an unknown name (with the nearest valid one), a wrong kind or a value too
    small, and where stall_shutdown_s is not above stall_warning_s, which Horovod would ignore.
    """
    given = {name: value for name, value in knobs.items() if value is not None}
    unknown = [name for name in given if name not in KNOBS]
    if unknown:
        near = difflib.get_close_matches(unknown[0], list(KNOBS), n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise SpecError(f"Horovod setting '{unknown[0]}' is unknown. Expected: {', '.join(KNOBS)}.{hint}")
    shutdown_s = given.get("stall_shutdown_s")
    warning_s = given.get("stall_warning_s", 60)
    if shutdown_s and shutdown_s <= warning_s:
        raise SpecError(
            f"stall_shutdown_s={shutdown_s} is not above stall_warning_s={warning_s}. Horovod "
            "would ignore it: lower stall_warning_s too."
        )
    return {KNOBS[name].variable: _as_text(name, value) for name, value in given.items()}


def best_autotuned(log: str) -> dict[str, Any]:
    """Return the knobs of the best line of Horovod's autotune log, for the next run of the job.

    log: the text of the file at autotune_log; empty or header-only gives {}. Its columns are
    named in its first line, and the score (bytes per microsecond) is the last one.
    """
    lines = [line.split(",") for line in log.splitlines() if line.strip()]
    if len(lines) < 2:
        return {}
    header, *rows = [[cell.strip() for cell in line] for line in lines]
    best_row: list[str] = max(rows, key=lambda row: float(row[-1]))
    best = dict(zip(header, best_row, strict=False))
    knobs: dict[str, Any] = {}
    for column, name in _AUTOTUNED.items():
        if column in best:
            knob = KNOBS[name]
            knobs[name] = bool(int(best[column])) if knob.kind is bool else float(best[column])
    if "cache_enabled" in best and not int(best["cache_enabled"]):
        knobs["cache_capacity"] = 0
    return knobs


_AUTOTUNED = {
    "tensor_fusion_threshold": "fusion_threshold_mb",
    "cycle_time_ms": "cycle_time_ms",
    "hierarchical_allreduce": "hierarchical_allreduce",
    "hierarchical_allgather": "hierarchical_allgather",
}


def _as_text(name: str, value: Any) -> str:
    knob = KNOBS[name]
    kinds: Any = (int, float) if knob.kind is float else (knob.kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and knob.kind is not bool):
        raise SpecError(f"{name}={value!r} has the wrong kind. Expected {knob.kind.__name__}.")
    if knob.kind is bool:
        return "1" if value else "0"
    if knob.kind is str:
        return str(value)
    if value < knob.minimum:
        raise SpecError(f"{name}={value!r} is too small. Expected at least {knob.minimum:g}.")
    scaled = value * knob.factor
    return f"{scaled:.0f}" if knob.factor != 1 else str(value)
