"""`ringmaster verify`: the first steps of a job on one worker and on several, compared variable by variable."""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from configs.job import JobSpec
from orchestrator.datasets import Prepared, prepare
from orchestrator.engine import Event, train
from orchestrator.loading import chosen_loading
from orchestrator.modules import check_model_function
from orchestrator.session import ray_session, require_resources
from orchestrator.streaming import in_turn, streamed
from trainers.hvd.verify import Difference, compare_weights
from trainers.job import TRAIN


def verify(
    spec: JobSpec, *, workers: int, steps: int, on_event: Callable[[Event], None] = lambda event: None
) -> list[Difference]:
    """Train `steps` global batches on 1 and on `workers` workers; return the difference of every variable, largest
    first. Dropout is off: ranks draw masks of their own. Nothing is recorded or registered. Raises a RingmasterError.
    """
    check_model_function(spec)
    with tempfile.TemporaryDirectory(prefix="ringmaster-verify-") as folder:
        data = _first_rows(spec, steps * spec.train.global_batch_rows, Path(folder))
        one, several = (_short(spec, count, Path(folder)) for count in (1, workers))
        logs = spec.folder / "logs" / f"verify-{spec.name}"
        with ray_session(spec.cluster, data_bytes=0, logs=logs, verbose=False):
            require_resources(several.cluster)
            weights = [
                train(short, data, name=f"verify-{short.cluster.workers}", on_event=on_event, verifying=True)
                for short in (one, several)
            ]
    expected, found = (trained.outcome.weights or {} for trained in weights)
    return compare_weights(expected, found)


def _first_rows(spec: JobSpec, rows: int, folder: Path) -> Prepared:
    with chosen_loading(spec) as loading, ExitStack() as stack:
        if loading.streams:
            stored = streamed(spec, loading, in_turn, folder / "rows", lambda text: None)
            data = stack.enter_context(stored)
        else:
            data = prepare(spec, loading)
        return replace(data, splits={TRAIN: data.splits[TRAIN].take(slice(0, rows))})


def _short(spec: JobSpec, workers: int, folder: Path) -> JobSpec:
    """The job for one short epoch, in a folder of its own. Several workers find the same best epoch: the only one."""
    short = spec.model_copy(
        update={
            "folder": folder,
            # No fewer either: min_workers would let Ray start one where several are to be compared.
            "cluster": spec.cluster.model_copy(update={"workers": workers, "min_workers": None}),
            "train": spec.train.model_copy(update={"epochs": 1, "monitor": "loss", "max_restarts": 0}),
        }
    )
    short._home = spec.home
    return short
