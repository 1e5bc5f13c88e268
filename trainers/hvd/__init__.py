"""Horovod for Keras 3: the names a Horovod user knows, on Keras 3 models with the TensorFlow
backend.

`from trainers import hvd` works in a plain script under `horovodrun` and inside a Ringmaster job.
Horovod's own Keras binding makes no allreduce call on Keras 3; this one stands on Horovod's
low-level operations alone.

Names are imported on first use, so that `trainers.hvd.environment` (plain text, used by the
driver) needs neither TensorFlow nor Horovod. Knows nothing about Ray, MLflow or the YAML file.
"""

from importlib import import_module
from typing import Any

from trainers.hvd import absent

HOMES = {
    "collectives": (
        "init shutdown is_initialized rank size local_rank local_size cross_rank cross_size "
        "allreduce allgather broadcast broadcast_object allgather_object barrier join "
        "ProcessSet add_process_set remove_process_set global_process_set start_timeline "
        "stop_timeline"
    ),
    "settings": "Adasum Average Compression Max Min Op Product Sum",
    "messages": "allgather_json broadcast_json",
    "model_optimizers": "optimizers_of slots_of",
    "optimizer": "DistributedOptimizer is_distributed stock_optimizer",
    "state": "broadcast_state broadcast_variables broadcast_ decorrelate_seeds",
    "metrics": "AverageMetrics",
    "batch_norm": "AverageBatchNorm average_batch_norm",
    "sync_batch_norm": "SyncBatchNormalization synchronize_batch_norm",
    "learning_rate": "LearningRateSchedule LearningRateWarmup scale_learning_rate",
    "operations": (
        "grouped_allreduce grouped_allgather alltoall reducescatter grouped_reducescatter broadcast_object_fn "
        "is_homogeneous mpi_threads_supported mpi_enabled mpi_built gloo_enabled gloo_built nccl_built ddl_built "
        "ccl_built cuda_built rocm_built size_op rank_op local_size_op local_rank_op process_set_included_op"
    ),
    "tape": "DistributedGradientTape",
    "partial": "PartialDistributedOptimizer PartialDistributedGradientTape",
    "equality": "check_equal_weights weights_by_name weights_sha256",
    "proof": "CheckEqualWeights",
    "environment": "tuning_environment",
    "affinity": "pin_to_cores",
    "failures": "failures_explained",
    "stall": "StallWatch",
    "verify": "compare_weights",
    "loading": "load_model",
}
MODULE_OF = {name: module for module, names in HOMES.items() for name in names.split()}

SUBMODULES = ("callbacks",)
"""Public as modules; a module of another name is the binding's own, and no function has a module's name."""

__all__ = sorted([*MODULE_OF, *SUBMODULES])


def __getattr__(name: str) -> Any:
    if name in SUBMODULES:
        return import_module(f"trainers.hvd.{name}")
    if name in absent.INSTEAD:
        raise AttributeError(absent.message(name))
    if name not in MODULE_OF:
        raise AttributeError(f"trainers.hvd has no name '{name}'. It has: {', '.join(__all__)}.")
    value = getattr(import_module(f"trainers.hvd.{MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
