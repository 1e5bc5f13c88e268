"""Names of Horovod that this binding does not have, each with what to write instead. Plain text."""

_INTERNAL = "it is internal to Horovod; import it from there if you need it"
_SESSIONS = "it is for TensorFlow 1 sessions, which Keras 3 does not have"

INSTEAD = {
    "elastic": (
        "elastic training of a plain script. Train with a Ringmaster job and cluster.min_workers, or restart the "
        "script from a keras.callbacks.BackupAndRestore folder"
    ),
    "broadcast_global_variables": f"{_SESSIONS}. Write hvd.broadcast_state(model), or hvd.broadcast_variables(list)",
    "BroadcastGlobalVariablesHook": f"{_SESSIONS}. Write hvd.callbacks.BroadcastGlobalVariablesCallback(0)",
    "LocalGradientAggregationHelper": "write hvd.DistributedOptimizer(optimizer, backward_passes_per_step=k)",
    "check_extension": _INTERNAL,
    "check_num_rank_power_of_2": _INTERNAL,
    "gpu_available": 'write tf.config.list_physical_devices("GPU")',
    "handle_average_backwards_compatibility": _INTERNAL,
    "is_version_greater_equal_than": _INTERNAL,
    "refs_to_vars": _INTERNAL,
    "split_list": _INTERNAL,
    "vars_to_refs": _INTERNAL,
}


def message(name: str) -> str:
    """Return what to tell who asks for one of these names."""
    return f"trainers.hvd does not have Horovod's '{name}': {INSTEAD[name]}."
