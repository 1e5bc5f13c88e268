"""`ClusterSpec`: how many workers, what each one gets, and which Ray cluster holds them."""

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from configs.spec import Spec


class ClusterSpec(Spec):
    """The workers of the job."""

    workers: PositiveInt = 1
    """Horovod ranks."""
    min_workers: PositiveInt | None = None
    """The job starts, and goes on after a loss, with as few as this; by default it waits for all `workers`."""
    cpus_per_worker: PositiveInt = 1
    """CPUs reserved for each worker; also its number of TensorFlow threads."""
    pin_to_cores: bool = False
    """Bind every worker to cores of its own, so that the system does not move it about. Only for a job that has its
    hosts to itself: two jobs would choose the same cores."""
    gpus_per_worker: NonNegativeInt = 0
    """GPUs of each worker (0 or 1; a Horovod rank drives one GPU)."""
    address: str | None = None
    """A running Ray cluster ("auto" or host:port); by default a private one is started on this machine."""
    queue_timeout_s: PositiveFloat = 86400.0
    """How long the job may wait on a running cluster until others make room for it."""
    start_timeout_s: PositiveFloat = 300.0
    """How long the workers may take to start and find each other."""

    @model_validator(mode="after")
    def _ordered(self) -> "ClusterSpec":
        if self.min_workers is not None and self.min_workers > self.workers:
            raise ValueError(f"min_workers={self.min_workers} is more than workers={self.workers}; lower it")
        return self

    @property
    def least_workers(self) -> int:
        """The smallest number of ranks that trains."""
        return self.min_workers or self.workers
