"""Every name of horovod.tensorflow and horovod.tensorflow.keras is here with its arguments and defaults, or the page
says what to write instead, and so does the error.
"""

import importlib
import inspect
import pkgutil
from pathlib import Path

import horovod.keras
import horovod.tensorflow
import horovod.tensorflow.keras
import horovod.tensorflow.keras.callbacks
import pytest

from configs.errors import SpecError
from trainers import hvd
from trainers.hvd import absent

PAGE = (Path(__file__).parents[3] / "docs" / "migration.md").read_text()
MODULES = (horovod.tensorflow.keras, horovod.keras, horovod.tensorflow)
# Our order is that of Horovod's Keras binding where the two differ; the other one is tested by calls.
OTHER_ORDER = {(horovod.tensorflow, "allreduce"), (horovod.tensorflow, "DistributedOptimizer")} | {
    (horovod.tensorflow, "reducescatter")
}
LIBRARIES = {"K", "inspect", "keras", "os", "tf", "version", "warnings"}
OWN_FILES = {"compression", "functions", "gradient_aggregation", "gradient_aggregation_eager", "mpi_ops"} | {
    "sync_batch_norm",
    "util",
}


def public(module):
    return [name for name in vars(module) if not name.startswith("_") and name not in LIBRARIES | OWN_FILES]


PAIRS = [(module, name) for module in MODULES for name in public(module)]
CALLBACKS = [name for name, value in vars(horovod.tensorflow.keras.callbacks).items() if inspect.isclass(value)]


def has(module, name):
    return hasattr(module, name)


@pytest.mark.parametrize(("module", "name"), PAIRS, ids=lambda value: getattr(value, "__name__", value))
def test_every_name_is_here_or_the_page_and_the_error_say_what_to_write(module, name):
    if has(hvd, name):
        return
    assert name in absent.INSTEAD
    with pytest.raises(AttributeError) as raised:
        getattr(hvd, name)
    assert str(raised.value) == f"trainers.hvd does not have Horovod's '{name}': {absent.INSTEAD[name]}."
    assert f"`{name}`" in PAGE.partition("## What is different")[2]


def default(value):
    """Horovod's default in our words."""
    if value is horovod.tensorflow.Compression.none:
        return hvd.Compression.none
    return value


def parameters(function):
    return list(inspect.signature(function).parameters.values())


def check_same_signature(theirs, ours, *, same_order):
    expected, found = parameters(theirs), parameters(ours)
    named = {parameter.name: parameter for parameter in found}
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    expected = [parameter for parameter in expected if parameter.kind not in kinds]
    if same_order:
        assert [p.name for p in found[: len(expected)]] == [p.name for p in expected]
    for parameter in expected if same_order else expected[1:]:
        assert parameter.name in named
        # op=None is the average, average=True too.
        if parameter.default is not inspect.Parameter.empty and parameter.name not in ("op", "average"):
            assert named[parameter.name].default == default(parameter.default), parameter.name


FUNCTIONS = [
    (module, name)
    for module, name in PAIRS
    if has(hvd, name) and callable(getattr(module, name)) and name not in ("Compression", "ProcessSet")
]


@pytest.mark.parametrize(("module", "name"), FUNCTIONS, ids=lambda value: getattr(value, "__name__", value))
def test_arguments_have_horovods_names_order_and_defaults(module, name):
    same_order = (module, name) not in OTHER_ORDER
    ours = getattr(hvd, name)
    if module is horovod.tensorflow and name in ("allgather", "broadcast"):
        same_order = False  # the first one is called tensor there, value in the Keras binding
    if module is horovod.keras and name == "DistributedOptimizer":
        same_order = False  # its tenth, groups, stands where backward_passes_per_step does in the other
    check_same_signature(getattr(module, name), ours, same_order=same_order)


@pytest.mark.parametrize("name", CALLBACKS)
def test_callbacks_have_horovods_arguments(name):
    theirs, ours = getattr(horovod.tensorflow.keras.callbacks, name), getattr(hvd.callbacks, name)
    check_same_signature(theirs, ours, same_order=True)


def test_no_module_has_the_name_of_a_function_whatever_was_imported():
    modules = {name for _, name, _ in pkgutil.iter_modules(hvd.__path__)}
    assert not modules & hvd.MODULE_OF.keys()
    for module in modules:
        importlib.import_module(f"trainers.hvd.{module}")
    for name in hvd.MODULE_OF:
        assert not inspect.ismodule(getattr(hvd, name)), name


def test_arguments_that_fit_no_order_are_refused_with_both():
    with pytest.raises(
        SpecError, match=r"hvd.allreduce received 3.5 after its first argument. Expected \(value, name"
    ):
        hvd.allreduce([1.0], 3.5)


def test_average_and_op_together_are_refused():
    with pytest.raises(SpecError, match="Both average=False and op=sum were given"):
        hvd.allreduce([1.0], average=False, op=hvd.Sum)
