"""No XLA around a collective: it cannot compile Horovod's, and Keras turns XLA on by itself where there is a GPU.

A step tells whether a collective stands in it only when it is traced. So a collective that finds itself in a step
with XLA ends that trace, and the step is made again without.
"""

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

log = logging.getLogger(__name__)


class _Step:
    """A model's step that runs now with XLA on."""

    def __init__(self) -> None:
        self.has_collective = False


_steps: list[_Step] = []


class CollectiveUnderXlaError(Exception):
    """Ends the trace of a step that XLA could not compile; never leaves the step."""


def refuse_xla() -> None:
    """Called by every collective: ends the trace of a step with XLA around it."""
    if _steps and not tf.executing_eagerly():
        _steps[-1].has_collective = True
        raise CollectiveUnderXlaError


def switch_xla_off(model: Any) -> None:
    """Compile the model's steps without XLA from now on, and say so."""
    if not getattr(model, "jit_compile", False):
        return
    log.warning(
        "Model '%s' was compiled with jit_compile on. XLA cannot compile Horovod's reduction, so jit_compile is off "
        "now. Pass jit_compile=False to model.compile to say so yourself.",
        model.name,
    )
    model.jit_compile = False
    if model.train_function is not None:
        model.train_function = None
        model.make_train_function()
    model.test_function = None


_prepares: list[Callable[[Any], None]] = []


def before_train_steps(prepare: Callable[[Any], None]) -> None:
    """Call `prepare` with a model whenever Keras is about to build its train step."""
    if prepare not in _prepares:
        _prepares.append(prepare)
    watch_every_model()


@functools.cache
def watch_every_model() -> None:
    """Watch the steps of every model from now on.

    Keras tells nobody which model an optimizer, a tape or a layer trains, so the methods that build the steps are
    replaced. A script that calls nothing but `fit` would meet XLA's compiler error otherwise.
    """
    for kind in ("train", "test"):
        _replace(kind)


def _replace(kind: str) -> None:
    stock = getattr(keras.Model, f"make_{kind}_function")

    @functools.wraps(stock)
    def make(model: Any, force: bool = False) -> Any:
        for prepare in _prepares if kind == "train" else ():
            prepare(model)
        before = getattr(model, f"{kind}_function")
        made = stock(model, force=force)
        step = getattr(model, f"{kind}_function")
        if step is not before and model.jit_compile and not model.run_eagerly:
            setattr(model, f"{kind}_function", _watched(model, kind, step))
        return made

    setattr(keras.Model, f"make_{kind}_function", make)


def _watched(model: Any, kind: str, step: Any) -> Any:
    @functools.wraps(step)
    def run(iterator: Any) -> Any:
        batches = iterator if isinstance(iterator, tf.data.Iterator) else list(iterator)
        with _entered() as entered:
            try:
                return step(batches if batches is iterator else iter(batches))
            except Exception:
                if not entered.has_collective:
                    raise
        switch_xla_off(model)
        getattr(model, f"make_{kind}_function")(force=True)
        return getattr(model, f"{kind}_function")(batches if batches is iterator else iter(batches))

    return run


@contextmanager
def _entered() -> Iterator[_Step]:
    step = _Step()
    _steps.append(step)
    try:
        yield step
    finally:
        _steps.remove(step)
