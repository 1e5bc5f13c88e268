"""YAML and overrides become a JobSpec; every mistake is one line that names the value and the fix."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.errors import SpecError
from configs.job import JobSpec
from configs.load import load_spec, recipe_names

Make = Callable[..., JobSpec]


def message(make: Callable[[], Any]) -> str:
    with pytest.raises(SpecError) as caught:
        make()
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_the_tree_is_read(small_job: Make) -> None:
    spec = small_job()
    assert spec.name == "small"
    assert spec.data.features["size"].kind == "number"
    assert spec.data.features["colour"].kind == "category"
    assert spec.train.optimizer is not None
    assert (spec.train.optimizer.name, spec.train.optimizer.params) == ("adam", {"learning_rate": 0.01})
    assert spec.train.metrics == ("accuracy",)
    assert spec.cluster.workers == 2
    assert spec.home == Path.cwd()
    assert spec.registered_model == "small"


def test_every_recipe_is_valid() -> None:
    names = "adult cifar digits fashion housing pollution reviews sms titanic".split()
    assert recipe_names() == names
    assert [load_spec(name).name for name in recipe_names()] == names


def test_a_spec_cannot_be_changed(small_job: Make) -> None:
    with pytest.raises(ValueError, match="frozen"):
        small_job().train.epochs = 3


@pytest.mark.parametrize(
    ("overrides", "path", "value"),
    [
        (["train.epochs=7"], "train.epochs", 7),
        (["train.epochs=7", "train.epochs=8"], "train.epochs", 8),
        (["train.optimizer.params.learning_rate=1e-3"], "train.optimizer.params.learning_rate", 0.001),
        (["train.optimizer=sgd"], "train.optimizer.name", "sgd"),
        (["train.optimizer=sgd", "train.optimizer.params.momentum=.5"], "train.optimizer.name", "sgd"),
        (["train.metrics=[auc, accuracy]"], "train.metrics", ("auc", "accuracy")),
        (["data.split.valid=0"], "data.split.valid", 0.0),
        (["cluster.address=auto"], "cluster.address", "auto"),
        (["serve.host=0.0.0.0"], "serve.host", "0.0.0.0"),
        (["tracking.uri=http://a:5000/?x=1"], "tracking.uri", "http://a:5000/?x=1"),
        (["model.params.hidden=[1, 2]"], "model.params", {"hidden": [1, 2], "dropout": 0.0}),
        (["model.params.deep.er=1"], "model.params", {"hidden": [8], "dropout": 0.0, "deep": {"er": 1}}),
    ],
)
def test_overrides(small_job: Make, overrides: list[str], path: str, value: object) -> None:
    found: Any = small_job(*overrides)
    for name in path.split("."):
        found = found[name] if isinstance(found, dict) else getattr(found, name)
    assert found == value


def test_a_tilde_is_the_home_folder(small_job: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    spec = small_job("folder=~/runs", "data.csv=~/a.csv")
    assert (spec.folder, spec.data.csv) == (Path("/home/me/runs"), Path("/home/me/a.csv"))
    expected = "job.yaml: folder: ~nobody-here/x: Could not determine home directory.; write the path out"
    assert message(lambda: small_job("folder=~nobody-here/x")) == expected


def test_an_override_below_a_shorthand_keeps_its_name(small_job: Make) -> None:
    spec = small_job("data.features.size.scale=minmax", "data.features.size.fill=-1")
    size = spec.data.features["size"].model_dump()
    assert (size["kind"], size["fill"], size["scale"]) == ("number", -1.0, "minmax")
    text = message(lambda: small_job("data.features.colour.length=3"))
    assert text.startswith("job.yaml: data.features.colour: unknown key 'length'. Valid: as_input, buckets, encode")


def test_a_model_parameter_called_optimizer_is_no_shorthand(small_job: Make) -> None:
    text = message(lambda: small_job("model.params.optimizer=adam", "model.params.optimizer.name=sgd"))
    assert text == "override 'model.params.optimizer.name=sgd': 'optimizer' holds 'adam' and has no keys of its own"


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from("abc"), st.integers() | st.booleans() | st.floats(allow_nan=False)))
def test_overrides_say_what_the_file_would_say(small_job: Make, params: dict[str, object]) -> None:
    """Setting keys one by one gives the tree that setting them at once gives."""
    at_once = small_job(f"model.params={yaml.safe_dump(params, default_flow_style=True)}")
    clean = "model.params={}"
    one_by_one = small_job(clean, *(f"model.params.{key}={yaml_scalar(value)}" for key, value in params.items()))
    assert one_by_one == at_once


def yaml_scalar(value: object) -> str:
    return yaml.safe_dump(value).removesuffix("...\n").strip()


@pytest.mark.parametrize("text", ["1e-3", "1E3", "+1e3", "-1.5e-3", ".5e1", "1.e2"])
def test_a_number_with_an_exponent_is_a_number(small_job: Make, text: str) -> None:
    assert small_job(f"model.params={{x: {text}}}").model.params["x"] == float(text)


@pytest.mark.parametrize("text", ["1e", "e3", "1e3x", "v1e3"])
def test_text_that_looks_almost_like_a_number_stays_text(small_job: Make, text: str) -> None:
    assert small_job(f"model.params={{x: {text}}}").model.params["x"] == text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "job.yaml: expected a mapping with keys such as name, data and model, got None"),
        ("# nothing\n", "job.yaml: expected a mapping with keys such as name, data and model, got None"),
        ("- a\n- b\n", "job.yaml: expected a mapping with keys such as name, data and model, got ['a', 'b']"),
        ("hello", "job.yaml: expected a mapping with keys such as name, data and model, got 'hello'"),
        ("name: a\nname: b\n", "job.yaml: line 1 column 1 is not valid YAML: key 'name' is given twice"),
        ("a: {b: 1, b: 2}", "job.yaml: line 1 column 4 is not valid YAML: key 'b' is given twice"),
        ("name: [a\n", "job.yaml: line 2 column 1 is not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("name: *x\n", "job.yaml: line 1 column 7 is not valid YAML: found undefined alias 'x'"),
        ("a: 1\n---\nb: 1\n", "job.yaml: line 2 column 1 is not valid YAML: but found another document"),
        ("? [a]\n: b\n", "job.yaml: line 1 column 3 is not valid YAML: found unhashable key"),
        (
            "1: b\n",
            "job.yaml: unknown key 1. "
            "Valid: cluster, data, folder, horovod, kubernetes, model, name, serve, tracking, train",
        ),
        ("name: a\n", "job.yaml: data is missing; add it"),
    ],
)
def test_wrong_files(small_job: Make, content: str, expected: str) -> None:
    Path("job.yaml").write_text(content)
    assert message(small_job) == expected


def test_no_python_objects_come_out_of_yaml(small_job: Make) -> None:
    Path("job.yaml").write_text("name: !!python/object/apply:os.getcwd []\n")
    assert "could not determine a constructor for the tag" in message(small_job)


@pytest.mark.parametrize(
    ("content", "byte"), [(b"name: \xff\n", 7), ("name: caf\u00e9\n".encode("latin-1"), 10), (b"\xff\xfen\0", 1)]
)
def test_a_file_that_is_not_utf8(small_job: Make, content: bytes, byte: int) -> None:
    Path("job.yaml").write_bytes(content)
    assert message(small_job) == f"job.yaml: is not UTF-8 text (byte {byte}); save it as UTF-8"


def test_a_byte_order_mark_is_no_part_of_the_first_key(small_job: Make) -> None:
    before = small_job()
    Path("job.yaml").write_bytes(b"\xef\xbb\xbf" + Path("job.yaml").read_bytes())
    assert small_job() == before


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("nope.yaml", "nope.yaml: no such file. Give the path of a job's YAML file"),
        (
            "titanik",
            "titanik: neither a file nor a recipe; unknown recipe 'titanik'; did you mean 'titanic'? "
            "Valid: adult, cifar, digits, fashion, housing, pollution, reviews, sms, titanic",
        ),
        (
            "elsewhere/titanic",
            "elsewhere/titanic: neither a file nor a recipe; unknown recipe 'elsewhere/titanic'. "
            "Valid: adult, cifar, digits, fashion, housing, pollution, reviews, sms, titanic",
        ),
        (".", ".: is a folder. Give the path of a job's YAML file"),
    ],
)
def test_wrong_paths(small_job: Make, path: str, expected: str) -> None:
    assert message(lambda: load_spec(path)) == expected


def test_a_recipe_is_found_beside_a_folder_of_its_name(small_job: Make) -> None:
    Path("titanic").mkdir()
    assert load_spec("titanic").name == "titanic"


ROOT_KEYS = "cluster, data, folder, horovod, kubernetes, model, name, serve, tracking, train"
MAPPING = "expected a mapping of keys to values"
TEXT = "expected text; put quotes around it if it looks like a number, a date or yes/no"
IMPORT = "expected package.module:function, or file:function for a file.py beside the YAML file"
NAME = "expected letters, digits, '_', '.' and '-', a letter or digit first"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.epochs", "override 'train.epochs': expected key.key=value, for example train.epochs=5"),
        ("=3", "override '=3': expected key.key=value, for example train.epochs=5"),
        (
            "train.epochs=[1",
            "override 'train.epochs=[1': line 1 column 3 is not valid YAML: "
            "expected ',' or ']', but got '<stream end>'",
        ),
        ("name.x=3", "override 'name.x=3': 'name' holds 'small' and has no keys of its own"),
        ("trian.epochs=3", f"job.yaml: unknown key 'trian'; did you mean 'train'? Valid: {ROOT_KEYS}"),
        (
            "data.target.colum=x",
            "job.yaml: data.target: unknown key 'colum'; did you mean 'column'? Valid: "
            "classes, column, columns, kind, labels, separator, strip",
        ),
        ("data.params={a: 1}", "job.yaml: data: params goes with function; a csv takes none"),
        ("data.csv=null", "job.yaml: data: give exactly one of csv, files and function; got none"),
        ("data.function=a:b", "job.yaml: data: give exactly one of csv, files and function; got csv and function"),
        ("data.csv=[a]", "job.yaml: data.csv=['a']: expected a path"),
        ("data.features={}", "job.yaml: data.features={}: expected at least one"),
        ("data.features=[size]", f"job.yaml: data.features=['size']: {MAPPING}"),
        ("data.features.size=5", f"job.yaml: data.features.size=5: {MAPPING}"),
        ("data.features={3: number}", f"job.yaml: data.features.3=3: {TEXT}"),
        (
            "data.features.size=numbr",
            "job.yaml: data.features.size: unknown feature kind 'numbr'; did you mean 'number'? "
            "Valid: auto, category, date, image, number, tensor, text",
        ),
        (
            "data.features.size={fill: mean}",
            "job.yaml: data.features.size: unknown feature kind None. "
            "Valid: auto, category, date, image, number, tensor, text",
        ),
        (
            "data.features.size.fill=most",
            "job.yaml: data.features.size.fill='most': Input should be 'mean', 'median' or 'most_frequent'; "
            "or Input should be a valid number, unable to parse string as a number",
        ),
        (
            "data.features.number={kind: number, scale: log}",
            "job.yaml: data.features.number.scale='log': Input should be 'standard', 'minmax', 'robust' or 'none'",
        ),
        (
            "data.features={size: number, table: tensor}",
            "job.yaml: data: features: 'table' names the model input of the scalar features; rename that column",
        ),
        (
            "data.target.column=size",
            "job.yaml: data: column 'size' is the target and cannot be a feature too; remove it from features",
        ),
        (
            "data.id=size",
            "job.yaml: data: column 'size' is the id and cannot be a feature too; remove it from features",
        ),
        ("data.id=label", "job.yaml: data: column 'label' is the target and cannot be the id too; remove id"),
        ("data.target=label", f"job.yaml: data.target='label': {MAPPING}"),
        ("data.split.valid=1", "job.yaml: data.split.valid=1: Input should be less than 1"),
        (
            "data.split={valid: 0.5, test: 0.5}",
            "job.yaml: data.split: valid=0.5 and test=0.5 leave no rows to train on; make their sum less than 1",
        ),
        ("model.function=build", f"job.yaml: model.function='build': {IMPORT}"),
        ("model.function=zoo/mlp.py:build", f"job.yaml: model.function='zoo/mlp.py:build': {IMPORT}"),
        ("name=a b", f"job.yaml: name='a b': {NAME}"),
        ("name=1e5", f"job.yaml: name=100000.0: {TEXT}"),
        ("tracking.registered_model=a/b", f"job.yaml: tracking.registered_model='a/b': {NAME}"),
        ("train.epochs=0", "job.yaml: train.epochs=0: Input should be greater than 0"),
        ("train.epochs=true", "job.yaml: train: epochs=True: expected a number"),
        ("serve.cpus_per_replica=no", "job.yaml: serve: cpus_per_replica=False: expected a number"),
        ("data.features.size.fill=true", "job.yaml: data.features.size: fill=True: expected a number"),
        ("train.metrics=accuracy", "job.yaml: train.metrics='accuracy': expected a list, such as [a, b]"),
        ("train.mode=most", "job.yaml: train.mode='most': Input should be 'min' or 'max'"),
        ("cluster.start_timeout_s=.nan", "job.yaml: cluster.start_timeout_s=nan: Input should be a finite number"),
        (
            "cluster.gpus_per_worker=2",
            "job.yaml: cluster.gpus_per_worker=2: a Horovod rank drives one GPU. "
            "Use gpus_per_worker=1 and cluster.workers=4",
        ),
        ("serve.port=70000", "job.yaml: serve.port=70000: Input should be less than or equal to 65535"),
    ],
)
def test_wrong_values(small_job: Make, override: str, expected: str) -> None:
    assert message(lambda: small_job(override)) == expected


@pytest.mark.parametrize(
    ("override", "kind", "near"),
    [
        ("train.optimizer=adm", "optimizer.name: unknown optimizer 'adm'", "adam"),
        ("train.loss=binary_crossentrpy", "loss: unknown loss 'binary_crossentrpy'", "binary_crossentropy"),
        ("train.metrics=[acuracy]", "metrics.0: unknown metric 'acuracy'", "accuracy"),
    ],
)
def test_a_misspelt_keras_name_is_met_with_the_nearest(small_job: Make, override: str, kind: str, near: str) -> None:
    expected = re.escape(f"job.yaml: train.{kind}; did you mean '{near}'? Valid: ")
    with pytest.raises(SpecError, match=f"^{expected}"):
        small_job(override)


@pytest.mark.parametrize(
    ("overrides", "monitor", "mode"),
    [
        ([], "val_loss", "min"),
        (["data.split.valid=0"], "loss", "min"),
        (["train.monitor=val_accuracy"], "val_accuracy", "max"),
        (["train.monitor=accuracy"], "accuracy", "max"),
        (["train.monitor=val_sparse_categorical_accuracy"], "val_sparse_categorical_accuracy", "max"),
        (["train.monitor=val_auc"], "val_auc", "max"),
        (["train.monitor=val_cosine_similarity"], "val_cosine_similarity", "max"),
        (["train.monitor=val_mae"], "val_mae", "min"),
        (["train.monitor=val_accuracy", "train.mode=min"], "val_accuracy", "min"),
    ],
)
def test_what_is_best(small_job: Make, overrides: list[str], monitor: str, mode: str) -> None:
    spec = small_job(*overrides)
    assert (spec.monitor, spec.mode) == (monitor, mode)


def test_a_validation_monitor_needs_validation_rows(small_job: Make) -> None:
    text = message(lambda: small_job("data.split.valid=0", "train.monitor=val_accuracy"))
    assert text == (
        "job.yaml: train.monitor='val_accuracy' needs validation rows, but data.split.valid is 0. "
        "Set data.split.valid=0.2 or monitor a training metric"
    )
