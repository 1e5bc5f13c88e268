"""Runs the workers: Ray Train V2 with the Horovod backend, and the judgement which failures are worth a restart."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import ray
import ray.train
from ray.exceptions import RayError
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.exceptions import RayTrainError
from ray.train.v2._internal.execution.failure_handling import DefaultFailurePolicy, FailureDecision
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.train.v2.api.exceptions import ControllerError, TrainingFailedError, WorkerGroupError

from configs.cluster import ClusterSpec
from configs.errors import LostRankError, RingmasterError, TrainingError, one_line
from configs.gate import Gate
from configs.job import JobSpec
from orchestrator.backend import HorovodConfig
from orchestrator.datasets import Prepared
from orchestrator.feed import Feed, FeedCallback
from orchestrator.session import leave_ray, worker_log
from orchestrator.tuning import horovod_environment, records_of
from trainers.job import Outcome, WorkerJob

POLL_S = 0.1
RING_LOST = ("Horovod has been shut down", "HorovodInternalError")
"""In the message of what a collective raises when another rank is gone; TensorFlow's or Horovod's exception."""
Event = dict[str, Any]


@dataclass(frozen=True)
class Trained:
    """What the workers achieved, and where the best model lies (a folder or URI that holds `model.keras`)."""

    outcome: Outcome
    checkpoint: ray.train.Checkpoint


def train(
    spec: JobSpec, data: Prepared, *, name: str, on_event: Callable[[Event], None], verifying: bool = False
) -> Trained:
    """Train the job on the connected Ray cluster; `on_event` sees every event of the feed, in order, in this thread.

    Raises the RingmasterError that a worker raised, or TrainingError with rank, host and cause.
    """
    feed = Feed.remote()  # type: ignore[attr-defined]
    job = WorkerJob(
        spec=spec,
        splits={key: ray.put(split) for key, split in data.splits.items()},
        golden=data.golden,
        documents=data.documents,
        classes=data.classes,
        feed=feed,
        import_paths=(str(spec.home.absolute()), os.getcwd()),
        records=records_of(spec),
        verifying=verifying,
    )
    workers: dict[int, Event] = {}

    def handle(events: list[Event]) -> None:
        for event in events:
            if event["kind"] == "worker":
                workers[event["rank"]] = event
            on_event(event)

    # What Ray Train calls a start is the wait for room; on a cluster of several users that is a queue.
    room_timeout_s = spec.cluster.queue_timeout_s if spec.cluster.address else spec.cluster.start_timeout_s
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(room_timeout_s)
    trainer = _trainer(spec, job, name=name)
    with ThreadPoolExecutor(1, thread_name_prefix="ray-train") as pool:
        # In a thread of its own, Ray Train leaves Ctrl-C to us.
        future = pool.submit(trainer.fit)
        try:
            while not future.done():
                handle(ray.get(feed.drain.remote()))
                time.sleep(POLL_S)
            handle(ray.get(feed.drain.remote()))
            result = future.result()
        except TrainingFailedError as error:
            raise explain(error, workers) from error
        except BaseException:
            leave_ray()  # ends the workers, and with them the thread
            raise
    best = next(
        kept for kept, metrics in result.best_checkpoints if metrics.get("epoch") == result.return_value.best_epoch
    )
    return Trained(result.return_value, best)


def _run_worker(config: dict[str, WorkerJob]) -> Outcome:
    job, context = config["job"], ray.train.get_context()
    new_run = not job.verifying and ray.train.get_checkpoint() is None
    with ExitStack() as stack:
        # Started first: it imports TensorFlow while this process does.
        gate = (
            stack.enter_context(Gate(job.spec.serve.packages)) if new_run and context.get_world_rank() == 0 else None
        )
        # Imported by the worker: the driver and the controller need no TensorFlow.
        from trainers.loop import train

        return train(job, gate)


def _ranks(cluster: ClusterSpec) -> int | tuple[int, int]:
    """How many workers Ray Train starts: a range lets it go on with fewer, and grow again when there is room."""
    return (cluster.least_workers, cluster.workers) if cluster.least_workers < cluster.workers else cluster.workers


def _trainer(spec: JobSpec, job: WorkerJob, *, name: str) -> "HorovodTrainer":
    cluster = spec.cluster
    return HorovodTrainer(
        _run_worker,
        train_loop_config={"job": job},
        backend_config=HorovodConfig(
            threads_per_worker=cluster.cpus_per_worker,
            start_timeout_s=cluster.start_timeout_s,
            environment=horovod_environment(spec),
            pin_to_cores=cluster.pin_to_cores,
            records=records_of(spec),
        ),
        scaling_config=ray.train.ScalingConfig(
            num_workers=_ranks(cluster),
            use_gpu=cluster.gpus_per_worker > 0,
            resources_per_worker={"CPU": cluster.cpus_per_worker, "GPU": cluster.gpus_per_worker},
        ),
        run_config=ray.train.RunConfig(
            name=name,
            storage_path=str((spec.folder / "checkpoints").absolute()),
            failure_config=ray.train.FailureConfig(max_failures=spec.train.max_restarts, controller_failure_limit=0),
            checkpoint_config=ray.train.CheckpointConfig(
                num_to_keep=spec.train.keep_checkpoints,
                checkpoint_score_attribute=spec.monitor,
                checkpoint_score_order=spec.mode,
            ),
            callbacks=[FeedCallback(job.feed)],
        ),
    )


class HorovodTrainer(DataParallelTrainer):
    """DataParallelTrainer that restarts for lost workers only, and starts no actor that it does not need."""

    def _create_default_callbacks(self) -> list[Any]:
        # Each starts an actor, which costs a second of a small machine's CPU: one deals out Ray Data sets, which
        # we do not pass; the other frees a lost driver's resources, which a private cluster does not outlive.
        unused = (DatasetsCallback, PlacementGroupCleanerCallback) if self._private_cluster else (DatasetsCallback,)
        return [one for one in super()._create_default_callbacks() if not isinstance(one, unused)]

    @property
    def _private_cluster(self) -> bool:
        return self.train_loop_config["job"].spec.cluster.address is None

    def _initialize_and_run_controller(self, **kwargs: Any) -> ray.train.Result:
        kwargs["failure_policy"] = LostWorkersPolicy(self.run_config.failure_config)
        return super()._initialize_and_run_controller(**kwargs)


class LostWorkersPolicy(DefaultFailurePolicy):
    """Ray would also repeat a job whose Python code raises; the same exception would come again, minutes later."""

    def make_decision(self, training_failed_error: TrainingFailedError) -> FailureDecision:
        """RAISE for an exception of the job's own code, else what Ray decides from its counts."""
        if isinstance(training_failed_error, WorkerGroupError) and own_exception(training_failed_error):
            return FailureDecision.RAISE
        return super().make_decision(training_failed_error)


def own_exception(error: WorkerGroupError) -> tuple[int, Exception] | None:
    """The first rank that raised on its own account, and what it raised; None when workers were lost.

    The other ranks end too, as the ring breaks: by LostRankError, or with their process.
    """
    for rank, failure in sorted(error.worker_failures.items()):
        if not (isinstance(failure, RayError | RayTrainError | LostRankError) or _raised_by_a_collective(failure)):
            return rank, failure
    return None


def _raised_by_a_collective(failure: Exception) -> bool:
    """Told by the type's home: an exception of the job's own code may say the same words."""
    home = type(failure).__module__.split(".")[0]
    return home == "horovod" or (home == "tensorflow" and any(sign in str(failure) for sign in RING_LOST))


def explain(error: TrainingFailedError, workers: dict[int, Event]) -> RingmasterError:
    """The one line for the user. `workers` tells host and pid of each rank."""
    if isinstance(error, ControllerError):
        cause = error.controller_failure
        if isinstance(cause, RingmasterError):
            return cause
        return TrainingError(f"the workers could not be started: {one_line(cause)}")
    if not isinstance(error, WorkerGroupError):
        return TrainingError(one_line(error))
    own = own_exception(error)
    if own is None:
        return _explain_loss(error.worker_failures, workers)
    rank, raised = own
    if isinstance(raised, RingmasterError):
        return raised
    return TrainingError(f"{_place(rank, workers)} raised {type(raised).__name__}: {one_line(raised)}")


def _explain_loss(failures: dict[int, Exception], workers: dict[int, Event]) -> TrainingError:
    dead = [(rank, failure) for rank, failure in failures.items() if not isinstance(failure, LostRankError)]
    if not dead:  # its process lives on but left the ring; the others say what they know
        return TrainingError(str(next(iter(failures.values()))))
    rank, failure = dead[0]
    cause = last_words(worker_log(workers[rank]["pid"])) if rank in workers else ""
    return TrainingError(f"{_place(rank, workers)} died: {cause or one_line(failure)}")


def last_words(log: str) -> str:
    """The line of a dead worker's standard error that tells most: Gloo's or the C++ runtime's, else the last one."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line for word in ("what():", "gloo", "Gloo", "MemoryError"))]
    return (telling or lines or [""])[-1][:400]


def _place(rank: int, workers: dict[int, Event]) -> str:
    return f"rank {rank} on host {workers[rank]['host']}" if rank in workers else f"rank {rank}"
