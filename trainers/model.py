"""The user's model: found by import path, built, compiled, and fitted to row shares. Knows nothing about Ray."""

import importlib
import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from configs.errors import SpecError, one_line
from configs.job import JobSpec
from configs.names import LOSSES
from configs.train import TrainSpec
from trainers import hvd
from trainers.hvd.losses import divisors_of_all_ranks
from trainers.job import Rows, Split


def build_model(spec: JobSpec, split: Rows, *, classes: int | None) -> keras.Model:
    """Call the model function, compile a plain model from `train`, and create all variables.

    Raises SpecError when the function raises, returns something else, or does not fit the data.
    """
    name = spec.model.function
    function = import_function(name)
    try:
        model = function(**spec.model.params)
    except Exception as error:
        raise SpecError(
            f"model.function {name} raised {type(error).__name__}: {one_line(error)}. Check it and model.params"
        ) from error
    if not isinstance(model, keras.Model):
        raise SpecError(f"model.function {name} returned {type(model).__name__}; it must return a keras.Model")
    _compile(model, spec.train, name)
    row = split.take(slice(0, 1))
    _check_reductions(model, name)
    _create_variables(model, row, classes, name)
    return model


def import_function(path: str) -> Any:
    """`package.module:function` -> the function. Raises SpecError when there is none."""
    module_name, _, function_name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise SpecError(
            f"cannot import {module_name!r} of {path!r}: {type(error).__name__}: {one_line(error)}"
        ) from error
    try:
        return getattr(module, function_name)
    except AttributeError as error:
        place = getattr(module, "__file__", None) or "a folder, or part of Python"
        raise SpecError(f"{module_name} ({place}) has no function {function_name!r}") from error


def add_import_paths(paths: tuple[str, ...]) -> None:
    """Make the `.py` files beside the YAML file importable."""
    sys.path[:0] = [path for path in paths if path not in sys.path]


def _compile(model: keras.Model, train: TrainSpec, name: str) -> None:
    declared = [key for key in ("optimizer", "loss", "metrics", "weighted_metrics") if getattr(train, key)]
    if model.compiled:
        if declared:
            raise SpecError(
                f"model.function {name} returns a compiled model, but train.{declared[0]} is set too; "
                "give it in one place"
            )
        # Horovod here has no XLA collectives, and Keras would turn XLA on by itself where there is a GPU.
        model.jit_compile = False
        return
    if train.loss is None or train.optimizer is None:
        missing = "loss" if train.loss is None else "optimizer"
        raise SpecError(
            f"model.function {name} returns a model that is not compiled, and train.{missing} is not set; set it"
        )
    try:
        # Not keras.optimizers.get, which has no Lamb.
        classes = {key.lower(): value for key, value in vars(keras.optimizers).items()}
        params = dict(train.optimizer.params)
        if isinstance(params.get("learning_rate"), dict):
            params["learning_rate"] = keras.optimizers.schedules.deserialize(params["learning_rate"])
        optimizer = classes[train.optimizer.name].from_config(params)
    except (TypeError, ValueError) as error:
        raise SpecError(f"train.optimizer {train.optimizer.name}: {one_line(error)}") from error
    model.compile(
        optimizer=optimizer,
        loss=train.loss,
        metrics=list(train.metrics),
        weighted_metrics=list(train.weighted_metrics) or None,
        jit_compile=False,
    )


def _check_reductions(model: keras.Model, name: str) -> None:
    """Only a mean over a batch's rows joins to the mean over the global batch; see `weigh_by_share`."""
    for loss in keras.tree.flatten(model.loss):
        reduction = getattr(loss, "reduction", "sum_over_batch_size")
        if reduction in ("sum", "none", None):
            raise SpecError(
                f"model.function {name} compiles its loss {loss.name} with reduction={reduction!r}: a step would "
                "depend on the number of workers; use reduction='sum_over_batch_size' (the default)"
            )


def _create_variables(model: keras.Model, row: Split, classes: int | None, name: str) -> None:
    """Build layers, metrics and optimizer slots from one row, without a training step."""
    try:
        _check_outputs(model, model(row.x), row.target, classes, name)
        model.test_on_batch(row.x, row.target)
    except SpecError:
        raise
    except Exception as error:
        shapes = {key: value.shape[1:] for key, value in row.inputs.items()}
        raise SpecError(
            f"model.function {name} does not fit the data, inputs {shapes}: {type(error).__name__}: {one_line(error)}"
        ) from error
    model.optimizer.build(model.trainable_variables)
    if not all(optimizer.built for optimizer in hvd.optimizers_of(model)):
        raise SpecError(
            f"model.function {name} keeps an optimizer beside model.optimizer that has no variables yet, so a "
            "checkpoint could not hold its state. Call its build(variables to train) in that function"
        )
    model.reset_metrics()


ONE_OUTPUT = {"binary_crossentropy", "binary_focal_crossentropy", "hinge", "squared_hinge"}


def _check_outputs(model: keras.Model, outputs: Any, target: np.ndarray, classes: int | None, name: str) -> None:
    """A label outside the model's outputs would end in a TensorFlow error, or in a NaN loss on a GPU; one number
    beside several outputs would be compared with each of them."""
    shape, loss = getattr(outputs, "shape", None), str(getattr(model.loss, "name", model.loss))
    if shape is None or len(shape) != 2 or loss not in LOSSES:
        return
    if target.ndim == 2:
        wanted, what = target.shape[1], f"{target.shape[1]} values per row"
    elif classes is None:
        wanted, what = 1, "one number per row"
    else:
        wanted = 1 if loss in ONE_OUTPUT else classes
        what = f"{classes} classes"
    if shape[-1] != wanted:
        raise SpecError(
            f"model.function {name} has {shape[-1]} outputs, but loss {loss} on a target of {what} "
            f"expects {wanted}; change its last layer, or the loss"
        )


def switch_dropout_off(model: keras.Model) -> None:
    """Set every layer's rate of dropout or noise to 0, so that no layer draws random numbers."""
    for layer in model._flatten_layers():
        for name in ("rate", "dropout", "recurrent_dropout", "stddev"):
            if isinstance(getattr(layer, name, None), float):
                setattr(layer, name, 0.0)


def weigh_by_share(model: keras.Model, *, may_be_empty: bool) -> None:
    """Make the model's steps take (x, y[, weight], share) batches.

    The share scales this rank's gradients inside the distributed optimizer, and nothing else: losses and metrics
    stay those of the real rows. (Keras divides the weighted loss of a batch by its number of rows, so the share is
    right for weighted rows too; where it divides by a mask's counts or by weights, those of all ranks are taken.)
    With `may_be_empty`, a batch of share 0 (a rank without rows) leaves metrics and moving statistics as they were.
    """
    train_step, test_step = model.train_step, model.test_step

    def weighted_train_step(data: Any) -> Any:
        *batch, share = data
        for optimizer in hvd.optimizers_of(model):
            optimizer.gradient_share = share[0]
        return _unless_empty(model, share[0], lambda: train_step(tuple(batch)), guard=may_be_empty)

    def plain_test_step(data: Any) -> Any:
        *batch, share = data
        with divisors_of_all_ranks(share[0]):
            return _unless_empty(model, share[0], lambda: test_step(tuple(batch)), guard=may_be_empty)

    model.train_step, model.test_step = weighted_train_step, plain_test_step
    model.train_function = model.test_function = None  # compiled from the steps that were replaced


def _unless_empty(model: keras.Model, share: Any, step: Any, *, guard: bool) -> Any:
    if not guard:
        return step()
    statistics = [variable for variable in model.non_trainable_variables if "float" in str(variable.dtype)]
    kept = [*model.metrics_variables, *statistics]
    before = [tf.identity(variable.value) for variable in kept]
    logs = step()
    for variable, value in zip(kept, before, strict=True):
        variable.assign(tf.where(share > 0, variable.value, value))
    return logs
