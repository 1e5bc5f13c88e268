"""Ray Train backend that turns a worker group into a Horovod job over Gloo (or NCCL, where Horovod was built for it).

Runs in the Ray Train controller, which must stay light: what needs Horovod is imported inside the functions that the
workers execute. Knows nothing about Keras or the job.
"""

import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.train.backend import Backend, BackendConfig

from configs.errors import ClusterError
from trainers.hvd.ranks import gloo_environment, plan_ranks

logger = logging.getLogger(__name__)
LOOPBACK = "127.0.0.1"
THREAD_VARIABLES = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


@dataclass
class HorovodConfig(BackendConfig):
    """Starts Horovod's rendezvous on rank 0 and gives every worker its place and its thread budget."""

    threads_per_worker: int = 1
    """TensorFlow threads of a worker: its CPUs, so that workers on one machine do not fight over cores."""
    start_timeout_s: float = 300.0
    pin_to_cores: bool = False
    """Bind every worker to its share of its host's cores."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """HOROVOD_* variables of the job's tuning, for every worker."""
    records: tuple[str, ...] = ()
    """Variables that name a file which rank 0 writes, such as HOROVOD_TIMELINE."""

    @property
    def backend_cls(self) -> type[Backend]:
        return HorovodBackend


class HorovodBackend(Backend):
    """Ray keeps one instance per process for all attempts, so nothing is stored on it."""

    def on_start(self, worker_group, backend_config: HorovodConfig) -> None:  # type: ignore[no-untyped-def]
        """Plan the ranks, start the rendezvous server on rank 0, set the environment of every worker."""
        metadata = [worker.metadata for worker in worker_group.get_workers()]
        hosts = [worker.node_id for worker in metadata]
        timeout_s, records = backend_config.start_timeout_s, backend_config.records
        threads = dict.fromkeys(THREAD_VARIABLES, str(backend_config.threads_per_worker))
        environment = {**threads, **backend_config.environment}
        # Ranks of one host talk over its loopback interface, which nobody else hears.
        addresses = [LOOPBACK if len(set(hosts)) == 1 else worker.node_ip for worker in metadata]
        port = _get(worker_group.execute_single_async(0, _start_rendezvous, hosts, addresses[0]), timeout_s)
        told = [
            worker_group.execute_single_async(
                plan.rank, _tell, plan.environment() | environment, address, addresses[0], port, records
            )
            for plan, address in zip(plan_ranks(hosts), addresses, strict=True)
        ]
        _get(told, timeout_s)
        if backend_config.pin_to_cores:
            _get(worker_group.execute_async(_pin), timeout_s)

    def on_shutdown(self, worker_group, backend_config: HorovodConfig) -> None:  # type: ignore[no-untyped-def]
        """Stop the rendezvous server, where rank 0 still lives."""
        try:
            ray.get(worker_group.execute_single_async(0, _stop_rendezvous), timeout=5)
        except (ray.exceptions.RayError, TimeoutError) as error:
            logger.info("rank 0 is gone, and its rendezvous server with it: %s", error)


def _get(refs: Any, timeout_s: float) -> Any:
    try:
        return ray.get(refs, timeout=timeout_s)
    except ray.exceptions.GetTimeoutError as error:
        raise ClusterError(
            f"the workers did not prepare for Horovod within cluster.start_timeout_s={timeout_s:g}; "
            "look at their logs, or allow more time"
        ) from error


_running: list[Any] = []
"""In rank 0's process: the rendezvous server of the attempt."""


def _start_rendezvous(hosts: list[str], address: str) -> int:
    from trainers.hvd.rendezvous import start_rendezvous

    rendezvous = start_rendezvous(hosts, address=address)
    _running.append(rendezvous)
    return rendezvous.port


def _stop_rendezvous() -> None:
    running = _running
    while running:
        running.pop().stop()


def _pin() -> None:
    from trainers.hvd.affinity import pin_to_cores

    pin_to_cores()  # before TensorFlow starts its threads, which inherit the cores


def _tell(environment: dict[str, str], own_address: str, address: str, port: int, records: tuple[str, ...]) -> None:
    """On every worker, before TensorFlow is imported: its place, its threads, its network interface."""
    from trainers.hvd.rendezvous import interface_of

    os.environ.update(environment)
    os.environ.update(gloo_environment(address, port, interface_of(own_address)))
    if records:  # on every rank, or they would wait for each other: rank 0 alone writes
        folder = tempfile.mkdtemp(prefix="ringmaster-horovod-")
        os.environ.update({name: os.path.join(folder, name.lower()) for name in records})
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
