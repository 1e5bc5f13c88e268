"""The one-way street from controller and workers to the driver: an actor that keeps events until they are fetched."""

from typing import Any

import ray
from ray.train import Checkpoint
from ray.train.v2.api.callback import UserCallback


@ray.remote(num_cpus=0)
class Feed:
    """Events in order of arrival. Kinds: worker (rank, host, pid), step, checkpoint, epoch, failure."""

    def __init__(self) -> None:
        self._events: list[dict[str, Any]] = []

    def put(self, event: dict[str, Any]) -> None:
        self._events.append(event)

    def drain(self) -> list[dict[str, Any]]:
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events


class FeedCallback(UserCallback):
    """In the controller: one event per report that Ray has committed, and one `failure` event per lost attempt.

    `epoch` is the report of a finished epoch, `checkpoint` one inside an epoch, which has no metrics yet.
    """

    def __init__(self, feed: Any) -> None:
        self._feed = feed

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None) -> None:
        """Pass on the report: metrics are equal on all ranks, so rank 0's stand for all."""
        path = checkpoint.path if checkpoint else None
        if "epoch" not in metrics[0]:
            place = {"epoch": metrics[0]["unfinished_epoch"], "step": metrics[0]["step"]}
            self._send({"kind": "checkpoint", **place, "checkpoint": path})
            return
        self._send(
            {
                "kind": "epoch",
                "metrics": dict(metrics[0]),
                "checkpoint": path,
                "workers": len(metrics),
            }
        )

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Pass on which ranks failed."""
        self._send({"kind": "failure", "ranks": sorted(worker_exceptions)})

    def _send(self, event: dict[str, Any]) -> None:
        ray.get(self._feed.put.remote(event))
