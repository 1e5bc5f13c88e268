"""The user's model function: what is built from it, and the one line for each way in which it can be wrong."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest

from configs.errors import SpecError, one_line
from configs.job import JobSpec
from configs.names import OPTIMIZERS
from trainers.job import Split
from trainers.model import add_import_paths, build_model, import_function, weigh_by_share

Make = Callable[..., JobSpec]
Models = Callable[[Callable[..., Any]], str]

SPLIT = Split({"table": np.arange(12, dtype=np.float32).reshape(6, 2)}, np.array([0, 1, 0, 1, 0, 1]))


def dense(units: int = 1, activation: str = "sigmoid") -> keras.Model:
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(units, activation=activation)])


def compiled(**_: Any) -> keras.Model:
    model = dense()
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch, small_job: Make) -> Callable[..., JobSpec]:
    """Return `make(function, *overrides)`: a job whose model function is the given one."""

    def make(function: Callable[..., Any], *overrides: str) -> JobSpec:
        module = ModuleType("user_models")
        module.build = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "user_models", module)
        return small_job("model.function=user_models:build", "model.params={}", *overrides)

    return make


def message(spec: JobSpec, classes: int | None = 2) -> str:
    with pytest.raises(SpecError) as caught:
        build_model(spec, SPLIT, classes=classes)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_plain_model_is_compiled_from_the_spec(models: Make) -> None:
    model = build_model(models(dense), SPLIT, classes=2)
    assert type(model.optimizer) is keras.optimizers.Adam
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)
    assert model.loss == "binary_crossentropy"
    assert model.jit_compile is False
    assert set(model.test_on_batch(SPLIT.x, SPLIT.target, return_dict=True)) == {"loss", "accuracy"}


def test_everything_is_built_and_nothing_is_trained(models: Make) -> None:
    """Before the first step all variables are there, to be broadcast, and the metrics are empty."""
    keras.utils.set_random_seed(0)
    model = build_model(models(dense), SPLIT, classes=2)
    keras.utils.set_random_seed(0)
    for variable, untouched in zip(model.weights, dense().weights, strict=True):
        np.testing.assert_array_equal(variable.numpy(), untouched.numpy())
    assert model.optimizer.built
    assert int(model.optimizer.iterations) == 0
    assert len(model.optimizer.variables) == 2 + 2 * len(model.trainable_variables)
    assert all(float(np.sum(variable.numpy())) == 0 for variable in model.metrics_variables)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_of_the_table(models: Make, name: str) -> None:
    spec = models(dense, f"train.optimizer={{name: {name}, params: {{learning_rate: 0.125}}}}")
    optimizer = build_model(spec, SPLIT, classes=2).optimizer
    assert type(optimizer).__name__.lower() == name
    assert float(optimizer.learning_rate) == 0.125


def test_a_learning_rate_schedule_is_made_from_its_parameters(models: Make) -> None:
    schedule = "{class_name: ExponentialDecay, config: {initial_learning_rate: 0.5, decay_steps: 1, decay_rate: 0.5}}"
    optimizer = build_model(
        models(dense, f"train.optimizer.params.learning_rate={schedule}"), SPLIT, classes=2
    ).optimizer
    optimizer.iterations.assign(2)
    assert float(optimizer.learning_rate) == 0.125


def test_a_compiled_model_stays_as_it_is_but_for_xla(models: Make) -> None:
    spec = models(compiled, "train.optimizer=null", "train.loss=null", "train.metrics=[]")
    model = build_model(spec, SPLIT, classes=2)
    assert type(model.optimizer) is keras.optimizers.SGD
    assert model.jit_compile is False


@pytest.mark.parametrize(
    ("function", "overrides", "expected"),
    [
        (
            lambda: 1 / 0,
            [],
            "model.function user_models:build raised ZeroDivisionError: division by zero. Check it and model.params",
        ),
        (
            lambda: int("a\nb"),
            [],
            "model.function user_models:build raised ValueError: invalid literal for int() with base 10: 'a\\nb'. "
            "Check it and model.params",
        ),
        (lambda: None, [], "model.function user_models:build returned NoneType; it must return a keras.Model"),
        (
            lambda: keras.layers.Dense(1),
            [],
            "model.function user_models:build returned Dense; it must return a keras.Model",
        ),
        (
            compiled,
            [],
            "model.function user_models:build returns a compiled model, but train.optimizer is set too; "
            "give it in one place",
        ),
        (
            compiled,
            ["train.optimizer=null"],
            "model.function user_models:build returns a compiled model, but train.loss is set too; "
            "give it in one place",
        ),
        (
            dense,
            ["train.loss=null"],
            "model.function user_models:build returns a model that is not compiled, and train.loss is not set; set it",
        ),
        (
            dense,
            ["train.optimizer=null"],
            "model.function user_models:build returns a model that is not compiled, and train.optimizer is not set; "
            "set it",
        ),
        (
            dense,
            ["train.optimizer={name: sgd, params: {momentun: 0.9}}"],
            "train.optimizer sgd: Argument(s) not recognized: {'momentun': 0.9}",
        ),
    ],
)
def test_wrong_model_functions(models: Make, function: Any, overrides: list[str], expected: str) -> None:
    assert message(models(function, *overrides)) == expected


def test_a_model_of_another_input_shape_is_named_with_the_inputs(models: Make) -> None:
    text = message(models(lambda: keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])))
    assert text.startswith(
        "model.function user_models:build does not fit the data, inputs {'table': (2,)}: ValueError: "
    )


@pytest.mark.parametrize(
    ("units", "loss", "classes", "expected"),
    [
        (
            3,
            "sparse_categorical_crossentropy",
            2,
            "model.function user_models:build has 3 outputs, but loss sparse_categorical_crossentropy on a target "
            "of 2 classes expects 2; change its last layer, or the loss",
        ),
        (
            2,
            "sparse_categorical_crossentropy",
            3,
            "model.function user_models:build has 2 outputs, but loss sparse_categorical_crossentropy on a target "
            "of 3 classes expects 3; change its last layer, or the loss",
        ),
    ],
)
def test_outputs_must_fit_the_classes(models: Make, units: int, loss: str, classes: int, expected: str) -> None:
    spec = models(lambda: dense(units, "softmax"), f"train.loss={loss}", "train.metrics=[]")
    assert message(spec, classes) == expected


@pytest.mark.parametrize(
    ("units", "loss", "target", "expected"),
    [
        (
            2,
            "categorical_crossentropy",
            np.eye(3),
            "2 outputs, but loss categorical_crossentropy on a target of 3 values",
        ),
        (
            1,
            "binary_crossentropy",
            np.eye(3),
            "has 1 outputs, but loss binary_crossentropy on a target of 3 values per row",
        ),
        (1, "mse", np.ones((3, 2)), "has 1 outputs, but loss mse on a target of 2 values per row expects 2"),
        (3, "mae", np.ones(3), "has 3 outputs, but loss mae on a target of one number per row expects 1"),
    ],
)
def test_outputs_must_fit_the_values_of_a_row(
    models: Make, units: int, loss: str, target: np.ndarray, expected: str
) -> None:
    """Keras would compare one number with every output, or every output with one number, and say nothing."""
    split = Split({"table": np.ones((3, 2), np.float32)}, target.astype(np.float32))
    with pytest.raises(SpecError) as caught:
        build_model(models(lambda: dense(units), f"train.loss={loss}", "train.metrics=[]"), split, classes=None)
    assert expected in str(caught.value)
    right = target.shape[1] if target.ndim == 2 else 1
    build_model(models(lambda: dense(right), f"train.loss={loss}", "train.metrics=[]"), split, classes=None)


def test_a_file_beside_the_yaml_file_is_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "beside_yaml.py").write_text("def build():\n    return 7\n")
    add_import_paths((str(tmp_path), str(tmp_path)))
    assert import_function("beside_yaml:build")() == 7
    add_import_paths((str(tmp_path),))
    assert sys.path[0] == str(tmp_path)


def test_imports_that_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "broken_module.py").write_text("import no_such_library\n")
    (tmp_path / "other_module.py").write_text("def biuld():\n    pass\n")
    for path, expected in {
        "no_such_module:build": "cannot import 'no_such_module' of 'no_such_module:build': "
        "ModuleNotFoundError: No module named 'no_such_module'",
        "broken_module:build": "cannot import 'broken_module' of 'broken_module:build': "
        "ModuleNotFoundError: No module named 'no_such_library'",
        "other_module:build": f"other_module ({tmp_path}/other_module.py) has no function 'build'",
        "sys:build": "sys (a folder, or part of Python) has no function 'build'",
    }.items():
        with pytest.raises(SpecError) as caught:
            import_function(path)
        assert str(caught.value) == expected


def weighted(may_be_empty: bool) -> keras.Model:
    model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization(), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mae"], jit_compile=False)
    weigh_by_share(model, may_be_empty=may_be_empty)
    return model


def batches(*shares: float) -> Any:
    for share in shares:
        yield SPLIT.x, SPLIT.target.astype(np.float32), np.full(len(SPLIT), share, np.float32)


def test_an_empty_share_leaves_metrics_and_statistics_as_they_were() -> None:
    """Losses and metrics are those of the real rows: the batch of share 0 counts for nothing."""
    keras.utils.set_random_seed(1)
    once, twice = weighted(True), weighted(True)
    twice.set_weights(once.get_weights())
    for model in (once, twice):
        model.optimizer.learning_rate.assign(0)
    shares = {once: [1.0], twice: [1.0, 0.0]}
    logs = [
        model.fit(batches(*shares[model]), steps_per_epoch=len(shares[model]), shuffle=False, verbose=0).history
        for model in (once, twice)
    ]
    assert logs[0] == logs[1]
    for mine, other in zip(once.non_trainable_variables, twice.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), other.numpy())
    assert float(once.layers[0].moving_mean[0]) != 0


def test_the_share_does_not_scale_the_reported_loss() -> None:
    """It scales gradients, in the distributed optimizer; losses and metrics are plain means."""
    keras.utils.set_random_seed(1)
    model = weighted(False)
    plain = keras.models.clone_model(model)
    plain.set_weights(model.get_weights())
    plain.compile("sgd", "mse", metrics=["mae"])
    expected = plain.evaluate(SPLIT.x, SPLIT.target, verbose=0, return_dict=True)
    found = model.evaluate(batches(0.5), steps=1, verbose=0, return_dict=True)
    assert found == pytest.approx(expected)


def test_weighted_shares_add_up_to_the_step_of_one_process() -> None:
    """Loss, metrics and gradients of uneven shares, weighted: as one process on the joined batch has them."""
    weight = np.array([0, 1, 2, 3, 4, 5], np.float32)
    target = SPLIT.target.astype(np.float32)
    parts = [slice(0, 4), slice(4, 6)]
    keras.utils.set_random_seed(1)
    start = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])

    def step(rows: slice, share: float) -> tuple[np.ndarray, list[np.ndarray]]:
        model = keras.models.clone_model(start)
        model.set_weights(start.get_weights())
        model.compile(keras.optimizers.SGD(1.0), "mse", weighted_metrics=["mae"], jit_compile=False)
        weigh_by_share(model, may_be_empty=False)
        batch = (SPLIT.x[rows], target[rows], weight[rows], np.full(len(target[rows]), share, np.float32))
        model.fit((one for one in [batch]), steps_per_epoch=1, shuffle=False, verbose=0)
        moved = [after - before for after, before in zip(model.get_weights(), start.get_weights(), strict=True)]
        return np.concatenate([move.ravel() for move in moved]), [v.numpy() for v in model.metrics_variables]

    whole, counted = step(slice(0, 6), 1.0)
    moves, states = zip(*(step(rows, 1.0) for rows in parts), strict=True)
    shares = [2 * 4 / 6, 2 * 2 / 6]
    average = sum(share * move for share, move in zip(shares, moves, strict=True)) / 2
    np.testing.assert_allclose(average, whole, rtol=1e-5)
    for total, of_ranks in zip(counted, zip(*states, strict=True), strict=True):
        np.testing.assert_allclose(sum(of_ranks), total, rtol=1e-5)


@pytest.mark.parametrize("nested", [False, True])
def test_reductions_that_do_not_add_up_over_workers(models: Make, nested: bool) -> None:
    def reduced(reduction: str | None) -> JobSpec:
        def build(**_: Any) -> keras.Model:
            model = dense()
            loss = keras.losses.BinaryCrossentropy(reduction=reduction)
            model.compile("sgd", [loss] if nested else loss)
            return model

        return models(build, "train.optimizer=null", "train.loss=null", "train.metrics=[]")

    weights = replace(SPLIT, weight=np.arange(6, dtype=np.float32))
    use = "use reduction='sum_over_batch_size' (the default)"
    for reduction in ("sum", "none", None):
        assert message(reduced(reduction)) == (
            f"model.function user_models:build compiles its loss binary_crossentropy with reduction={reduction!r}: a "
            f"step would depend on the number of workers; {use}"
        )
    for fine, split in [("mean_with_sample_weight", weights), ("sum_over_batch_size", weights), ("mean", weights)]:
        assert build_model(reduced(fine), split, classes=2).compiled


def test_one_line_is_one_line_of_readable_length() -> None:
    assert one_line(ValueError("a\n  b\tc")) == "a b c"
    assert one_line(ValueError("x" * 800)) == "x" * 800
    assert one_line(ValueError("x" * 500 + "the cause")) == "x" * 500 + "the cause"
    assert one_line(ValueError("x" * 900 + "the cause")) == "x" * 400 + " ... " + "x" * 391 + "the cause"
