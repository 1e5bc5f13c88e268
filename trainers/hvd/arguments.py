"""Positional arguments as Horovod has them.

`horovod.tensorflow` and `horovod.tensorflow.keras` name the same function and give its arguments in different orders.
A function here takes either: the kinds of the values tell which one was meant. Plain values, no TensorFlow.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from configs.errors import SpecError
from trainers.hvd.settings import Compression, Op

Result = TypeVar("Result")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, Op | Compression)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


KINDS: dict[str, Callable[[Any], bool]] = {
    "name": lambda value: value is None or _is_text(value),
    "average": lambda value: value is None or isinstance(value, bool),
    "device_dense": _is_text,
    "device_sparse": _is_text,
    "compression": lambda value: isinstance(value, Compression),
    "op": lambda value: value is None or isinstance(value, Op),
    "use_locking": lambda value: isinstance(value, bool),
    "sparse_as_dense": lambda value: isinstance(value, bool),
    "prescale_factor": _is_number,
    "postscale_factor": _is_number,
    "gradient_predivide_factor": _is_number,
    "backward_passes_per_step": _is_number,
}


def in_order_of(*orders: str) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Let a function of keywords be called with positional arguments in any of `orders`, the first that fits.

    An order: the names of the parameters, separated by spaces; the first one may go by another name in each.
    """
    ways = [order.split() for order in orders]

    def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
        own = inspect.signature(function).parameters
        first = next(iter(own))

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Result:
            named = {way[0]: first for way in ways if way[0] in kwargs}
            kwargs = {named.get(name, name): value for name, value in kwargs.items()}
            if not args:
                return function(**kwargs)
            return function(**_named(function.__name__, ways, args, first), **kwargs)

        call.__signature__ = _signature(own, ways[0])  # type: ignore[attr-defined]
        return call

    return decorate


def _named(function: str, ways: Sequence[Sequence[str]], args: Sequence[Any], first: str) -> dict[str, Any]:
    for way in ways:
        pairs = list(zip(way[1:], args[1:], strict=False))
        if len(args) <= len(way) and all(KINDS.get(name, lambda _: True)(value) for name, value in pairs):
            return {first: args[0], **dict(pairs)}
    given = ", ".join(repr(value) for value in args[1:])
    expected = " or ".join(f"({', '.join(way)})" for way in ways)
    raise SpecError(f"hvd.{function} received {given} after its first argument. Expected {expected}; give names.")


def _signature(own: Any, way: Sequence[str]) -> inspect.Signature:
    """The parameters in the order of `way`, then the others, which have names only."""
    first = next(iter(own))
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    shown = [own[name if name in own else first].replace(name=name, kind=kind) for name in way]
    rest = [parameter for name, parameter in own.items() if name != first and name not in way]
    return inspect.Signature([*shown, *rest])


def without_session(session: Any) -> None:
    """Raise SpecError where a TensorFlow 1 session is given."""
    if session is not None:
        raise SpecError(f"session={session!r} was given. Keras 3 has no sessions: leave it out.")
