"""Every optimizer of a model: `model.optimizer`, and those that its own `compile` keeps under other names."""

from typing import Any

import keras


def optimizers_of(model: Any) -> list[Any]:
    """Return each optimizer once, `model.optimizer` first, then by the names that hold them.

    Looked for in the attributes of the model, and in lists, tuples and dicts of them; not inside a loss scale, whose
    variables hold those of the optimizer within.
    """
    named = {name: value for name, value in vars(model).items() if name not in ("_optimizer", "optimizer")}
    first = getattr(model, "optimizer", None)
    held = [first, *(leaf for _, value in sorted(named.items()) for leaf in _leaves(value))]
    found = {id(one): one for one in held if isinstance(one, keras.optimizers.Optimizer)}
    inner = {id(getattr(one, "inner_optimizer", None)) for one in found.values()}
    return [one for key, one in found.items() if key not in inner]


def slots_of(model: Any) -> list[Any]:
    """Return the variables of all optimizers of the model, in order."""
    return [variable for optimizer in optimizers_of(model) for variable in optimizer.variables]


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for _, part in sorted(value.items(), key=str) for leaf in _leaves(part)]
    if isinstance(value, list | tuple):
        return [leaf for part in value for leaf in _leaves(part)]
    return [value]
