"""`ClusterSpec`: how many workers, what each one gets, and which Ray cluster holds them."""

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from configs.spec import Spec


class ClusterSpec(Spec):
    """The workers of the job."""

    workers: PositiveInt = 1
    """Horovod ranks."""
    cpus_per_worker: PositiveInt = 1
    """CPUs reserved for each worker; also its number of TensorFlow threads."""
    pin_to_cores: bool = False
    """Bind every worker to cores of its own, so that the system does not move it about. Only for a job that has its
    hosts to itself: two jobs would choose the same cores."""
    gpus_per_worker: NonNegativeInt = 0
    """GPUs of each worker (0 or 1; a Horovod rank drives one GPU)."""
    address: str | None = None
    """A running Ray cluster ("auto" or host:port); by default a private one is started on this machine."""
    start_timeout_s: PositiveFloat = 300.0
    """How long the workers may take to start and find each other."""
