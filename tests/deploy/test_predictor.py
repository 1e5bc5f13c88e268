"""A registered folder becomes answers, after its golden batch gave those of training."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from configs.data import DataSpec
from configs.errors import DataError, DeployError
from configs.preprocessing import Preprocessing
from deploy import predictor
from deploy.predictor import Predictor
from deploy.pyfunc import _load_pyfunc

MakeFolder = Callable[..., Path]
ROWS = [{"size": 1, "colour": "blue"}, {"size": 10, "colour": "red"}, {"size": None, "colour": None}]
GOLDEN_ROWS = [{"size": 5.5, "colour": "blue"}]


def message(call: Callable[[], Any]) -> str:
    with pytest.raises((DeployError, DataError)) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_raw_rows_become_numbers(folder: MakeFolder) -> None:
    predictions = Predictor.load(folder()).predict_rows(ROWS)
    assert predictions.labels == [-4, 2.5, -2.5]
    assert predictions.scores.tolist() == [[-4], [2.5], [-2.5]]
    assert predictions.scores.dtype == np.float32


def test_raw_rows_become_labels(folder: MakeFolder) -> None:
    golden = {"rows": GOLDEN_ROWS, "outputs": [[1 / (1 + np.exp(-0.5))]]}
    predictions = Predictor.load(folder(kind="class", golden=golden, activation="sigmoid")).predict_rows(ROWS)
    assert predictions.labels == ["no", "yes", "no"]
    np.testing.assert_allclose(predictions.scores[:, 0], 1 / (1 + np.exp([4, -2.5, 2.5])), rtol=1e-5)


def overflowing(units: int) -> keras.Model:
    """Infinity minus infinity where size is 1e10 or more, 0 where it is small."""
    hidden = keras.layers.Dense(2 * units)
    model = keras.Sequential([keras.Input((2,)), hidden, keras.layers.Dense(units)])
    first = np.array([[1e30] * 2 * units, [0.0] * 2 * units], np.float32)
    second = np.repeat(np.array([[1.0] * units, [-1.0] * units], np.float32), units, axis=0)
    model.set_weights([first, np.zeros(2 * units, np.float32), second, np.zeros(units, np.float32)])
    return model


@pytest.mark.parametrize("kind", ["number", "class"])
def test_an_output_that_is_not_a_number_never_becomes_a_label(folder: MakeFolder, kind: str) -> None:
    golden = {"rows": GOLDEN_ROWS, "outputs": [[0.0]]}
    made = folder(kind=kind, golden=golden, model=overflowing(1))
    rows = [{"size": size, "colour": "blue"} for size in (1, 1e12, 2, 1e12)]
    expected = (
        "the model's output is not a finite number in row 2 (2 rows in all); look there for values far outside those "
        "of training, or leave these rows out"
    )
    assert message(lambda: Predictor.load(made).predict_rows(rows)) == expected
    frame = pd.DataFrame(rows)
    assert message(lambda: _load_pyfunc(str(made)).predict(frame)) == expected


def test_columns_and_rows_give_the_same(folder: MakeFolder) -> None:
    loaded = Predictor.load(folder())
    columns = {"size": np.array([1, 10, np.nan]), "colour": np.array(["blue", "red", None], object)}
    np.testing.assert_array_equal(loaded.predict(columns).scores, loaded.predict_rows(ROWS).scores)


def test_many_rows_go_through_the_model_in_chunks(folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "CHUNK_ROWS", 4)
    rows = [{"size": size, "colour": "blue"} for size in range(11)]
    assert Predictor.load(folder()).predict_rows(rows).labels == [size - 5.0 for size in range(11)]


def test_tensors_and_scalars_are_inputs_by_name(folder: MakeFolder) -> None:
    """A functional model gets a dict: `table`, and the tensor under its own name."""
    inputs = {"table": keras.Input((1,), name="table"), "image": keras.Input((2,), name="image")}
    total = keras.layers.Dense(1, kernel_initializer="ones")(keras.layers.Concatenate()(list(inputs.values())))
    spec = {
        "csv": "x.csv",
        "features": {"size": {"kind": "number", "scale": "none"}, "image": {"kind": "tensor", "divide_by": 2}},
        "target": {"column": "label", "kind": "number"},
    }
    columns = {"size": np.zeros(1), "image": np.zeros((1, 2)), "label": np.zeros(1)}
    fitted = Preprocessing.fit(columns, DataSpec.model_validate(spec))
    row = {"size": 1, "image": [4, 6]}
    golden = {"rows": [row], "outputs": [[6]]}
    loaded = Predictor.load(folder(model=keras.Model(inputs, total), fitted=fitted, golden=golden))
    assert loaded.predict_rows([row, {"size": 0, "image": [0, 1]}]).labels == [6, 0.5]


def test_the_golden_batch_must_give_what_it_gave_in_training(folder: MakeFolder) -> None:
    wrong = {"rows": GOLDEN_ROWS, "outputs": [[0.501]]}
    assert message(lambda: Predictor.load(folder(golden=wrong))) == (
        "the model's outputs on its golden batch differ by 0.001 from those of training (allowed 0.0001); "
        "use the library versions it was trained with"
    )


@pytest.mark.parametrize("outputs", [[[0.5, 0.5]], [[0.5], [0.5]], [[float("nan")]]])
def test_a_golden_batch_of_another_shape_or_nan_is_refused(folder: MakeFolder, outputs: list[list[float]]) -> None:
    text = message(lambda: Predictor.load(folder(golden={"rows": GOLDEN_ROWS, "outputs": outputs})))
    assert text.startswith("the model's outputs on its golden batch differ by ")


def test_outputs_within_rounding_are_the_same(folder: MakeFolder) -> None:
    loaded = Predictor.load(folder(golden={"rows": GOLDEN_ROWS, "outputs": [[0.50005]]}))
    assert loaded.predict_rows(GOLDEN_ROWS).labels == [0.5]


@pytest.mark.parametrize("name", ["model.keras", "preprocessing.json", "golden.json"])
def test_a_missing_file_is_named(folder: MakeFolder, name: str) -> None:
    path = folder()
    (path / name).unlink()
    expected = f"{path} lacks {name}; was this model registered by `ringmaster train`?"
    assert message(lambda: Predictor.load(path)) == expected


def test_a_broken_model_file(folder: MakeFolder) -> None:
    path = folder()
    content = (path / "model.keras").read_bytes()
    damaged = f"{path / 'model.keras'} is damaged, it is not a Keras file; train the model again"
    (path / "model.keras").write_bytes(content[:500])
    assert message(lambda: Predictor.load(path)) == damaged
    with zipfile.ZipFile(path / "model.keras", "w") as archive:
        archive.writestr("other.txt", "")
    text = message(lambda: Predictor.load(path))
    assert text.startswith(f"Keras cannot load {path / 'model.keras'}: ")
    assert text.endswith("registered classes and functions whose files were registered with it")
    assert ".." not in text


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("golden.json", '{"rows": [', "JSONDecodeError: Expecting value: line 1 column 11 (char 10)"),
        ("golden.json", "{}", "KeyError: 'outputs'"),
        ("golden.json", '{"rows": [], "outputs": []}', "DataError: there are no rows to predict; give at least one"),
        ("golden.json", "[]", "TypeError: list indices must be integers or slices, not str"),
        ("preprocessing.json", '{"features": {}}', "ValidationError: 1 validation error for Preprocessing"),
        ("preprocessing.json", "\xff", "ValidationError: 1 validation error for Preprocessing"),
    ],
)
def test_a_changed_file_is_refused(folder: MakeFolder, name: str, content: str, cause: str) -> None:
    path = folder()
    (path / name).write_text(content)
    text = message(lambda: Predictor.load(path))
    start = f"the files preprocessing.json and golden.json of {path} are not those that training wrote ({cause}"
    assert text.startswith(start)
    assert text.endswith("); train the model again")


def test_code_inside_a_model_file_is_not_run(folder: MakeFolder) -> None:
    path = folder(model=keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x * 2)]))
    text = message(lambda: Predictor.load(path))
    assert text.startswith(f"Keras cannot load {path / 'model.keras'}: ")
    assert "lambda" in text.lower()


def test_wrong_rows_are_named(folder: MakeFolder) -> None:
    loaded = Predictor.load(folder())
    empty = {"size": np.zeros(0), "colour": np.zeros(0, object)}
    assert message(lambda: loaded.predict_rows([])) == "there are no rows to predict; give at least one"
    assert message(lambda: loaded.predict(empty)) == "there are no rows to predict; give at least one"
    text = message(lambda: loaded.predict_rows([ROWS[0], {"size": "big", "colour": "red"}]))
    assert text == "column 'size', row 2: got 'big', expected a number"


def test_pyfunc_takes_a_frame(folder: MakeFolder) -> None:
    """What MLflow's own tools call: pandas in, labels out."""
    model = _load_pyfunc(str(folder()))
    frame = pd.DataFrame({"size": [1.0, 10.0], "colour": ["blue", None], "unused": [0, 0]})
    assert model.predict(frame).tolist() == [-4, 7.5]
