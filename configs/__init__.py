"""What a job is: the YAML file as a frozen tree, its errors, and the fitted preprocessing.

Runs anywhere. Knows nothing about Ray, Keras, Horovod or MLflow.
"""

from configs.errors import (
    ClusterError,
    DataError,
    DeployError,
    RingmasterError,
    SpecError,
    TrackingError,
    TrainingError,
)
from configs.job import JobSpec
from configs.load import load_spec

__all__ = [
    "ClusterError",
    "DataError",
    "DeployError",
    "JobSpec",
    "RingmasterError",
    "SpecError",
    "TrackingError",
    "TrainingError",
    "load_spec",
]
