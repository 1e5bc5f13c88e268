"""Logs of an epoch, joined over the ranks. Values cross the ring as plain lists of numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Logs = dict[str, Any]


def flat(logs: Any) -> Logs:
    """Return the logs with nested dicts taken apart, as Keras does; {} where there are none."""
    if not isinstance(logs, dict):
        return {}
    result: Logs = {}
    for name, value in logs.items():
        result.update(flat(value) if isinstance(value, dict) else {name: value})
    return result


def numbers(value: Any) -> Any:
    """Return a value of a log as a float64 array, or None where it is something else (a text, None)."""
    if value is None or isinstance(value, str | bytes):
        return None
    try:
        array = np.asarray(value)
        return array.astype("float64") if array.dtype.kind in "biuf" or "float" in str(array.dtype) else None
    except (TypeError, ValueError):
        return None


def scalars(logs: Any) -> dict[str, float]:
    """Return the numbers of the logs as floats: dicts taken apart, a vector's elements as name_0, name_1"""
    result: dict[str, float] = {}
    for name, value in flat(logs).items():
        array = numbers(value)
        if array is not None and array.ndim == 0:
            result[name] = float(array)
        elif array is not None:
            result.update({f"{name}_{i}": float(element) for i, element in enumerate(array.ravel())})
    return result


def report(local_logs: Any, results: Logs) -> dict[str, Any]:
    """What this rank tells the others: whether it saw rows, its numbers, and which of them are results of metrics."""
    mine = {name: numbers(value) for name, value in flat(local_logs).items()}
    found = {name: array for name, array in mine.items() if array is not None}
    return {
        "seen": bool(local_logs),
        "numbers": {name: [list(array.shape), array.ravel().tolist()] for name, array in found.items()},
        "metrics": sorted(name for name, array in found.items() if _same(array, numbers(results.get(name)))),
        "stock": isinstance(local_logs, dict) and set(local_logs) == set(results),
    }


def joined(local_logs: Any, reports: Sequence[dict[str, Any]], results: Logs) -> Logs:
    """Return the logs of all ranks: of a metric its result (`results`, read after the states were added up), of any
    other number the mean, element by element, over the ranks that have it in this shape. What is not a number stays
    this rank's own.
    """
    seen = [report for report in reports if report["seen"]]
    if all(report["stock"] for report in seen) and results:
        return results
    logs = flat(local_logs)
    for name in sorted({name for report in seen for name in report["numbers"]}):
        if name in results and all(name in report["metrics"] for report in seen):
            logs[name] = results[name]
        else:
            logs[name] = _mean(name, seen)
    return logs


def plain(logs: Logs) -> Logs:
    """Return the numbers of the logs as floats and lists."""
    arrays = {name: numbers(value) for name, value in logs.items()}
    return {name: array.tolist() for name, array in arrays.items() if array is not None}


def _mean(name: str, seen: Sequence[dict[str, Any]]) -> Any:
    found = [report["numbers"][name] for report in seen if name in report["numbers"]]
    shape = found[0][0]
    mean = np.mean([values for other, values in found if other == shape], axis=0).reshape(shape)
    return mean if shape else float(mean)


def _same(array: Any, other: Any) -> bool:
    return other is not None and array.shape == other.shape and bool(np.array_equal(array, other, equal_nan=True))
