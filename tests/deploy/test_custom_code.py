"""Custom code travels with a model as source, or is refused with the layer that holds it."""

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from configs.errors import DeployError, SpecError
from configs.outputs import compiled, rounding
from configs.registered import Documents, Golden
from deploy.gate import check
from deploy.predictor import Predictor
from trainers.custom_code import model_code

MakeFolder = Callable[..., Path]
GOLDEN_ROWS = [{"size": 5.5, "colour": "blue"}, {"size": 2, "colour": "red"}]
INPUTS = np.array([[5.5, 2], [2, 3]], np.float32)
REGISTERED = "import keras\n@keras.saving.register_keras_serializable('mine')\n"
LAYER = """class Scale(keras.layers.Layer):
    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1],), initializer='ones')
    def call(self, x):
        return x * self.w * {factor}
def build():
    return keras.Sequential([keras.Input((2,)), Scale(name='scale'), keras.layers.Dense(1)])
"""
SUBCLASS = """class Net(keras.Model):
    def __init__(self, units=1, **kwargs):
        super().__init__(**kwargs)
        self.units, self.out = units, keras.layers.Dense(units)
    def call(self, x):
        return self.out(x)
"""
FUNCTION = "def twice(x):\n    return x * 2\n"


@pytest.fixture
def write(folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Return `write(files, module)`: the folder that would be registered of what `module`.build returns."""
    modules, known = set(sys.modules), dict(keras.saving.get_custom_objects())

    def forget() -> None:
        for name in set(sys.modules) - modules:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
                del sys.modules[name]
        keras.saving.get_custom_objects().clear()
        keras.saving.get_custom_objects().update(known)

    def made(files: dict[str, str], module: str = "m", home: str = "home") -> Path:
        for name, text in files.items():
            path = tmp_path / home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        importlib.invalidate_caches()
        with monkeypatch.context() as patched:
            patched.syspath_prepend(str(tmp_path / home))
            keras.utils.set_random_seed(0)
            model = importlib.import_module(module).build()
        code = model_code(model, (str(tmp_path / home),))
        path = folder(model=model, kind="number")
        outputs = compiled(model)({"table": INPUTS})
        documents = Documents((path / "preprocessing.json").read_text(), GOLDEN_ROWS)
        documents.write(path, Golden(outputs, rounding(model)), code)
        forget()
        return path

    yield made
    forget()


TRAVELS = {
    "layer": {"m.py": REGISTERED + LAYER.format(factor=1)},
    "second local module": {
        "m.py": "import second\nfrom pkg.deep import TWO\n" + REGISTERED + LAYER.format(factor="second.ONE * TWO"),
        "second.py": "ONE = 1\n",
        "pkg/__init__.py": "",
        "pkg/deep.py": "from .deeper import TWO\n",
        "pkg/deeper.py": "def two():\n    import second\n    return second.ONE + 1\nTWO = two()\n",
    },
    "function": {
        "m.py": REGISTERED + FUNCTION + "def build():\n    return keras.Sequential([keras.Input((2,)), "
        "keras.layers.Lambda(twice), keras.layers.Dense(1, activation=twice)])\n"
    },
    "subclass": {
        "m.py": REGISTERED + SUBCLASS + "    def get_config(self):\n        return {'units': self.units}\n"
        "def build():\n    net = Net()\n    net(keras.ops.zeros((1, 2)))\n    return net\n"
    },
    "subclass without get_config": {
        "m.py": REGISTERED
        + SUBCLASS
        + "def build():\n    net = Net()\n    net(keras.ops.zeros((1, 2)))\n    return net\n"
    },
    **{
        f"{policy} policy": {
            "m.py": "import keras\ndef build():\n    return keras.Sequential([keras.Input((2,)), "
            f"keras.layers.Dense(64, 'relu', dtype='{policy}'), keras.layers.BatchNormalization(dtype='{policy}'), "
            f"keras.layers.Dropout(0.5), keras.layers.GaussianNoise(1.0), keras.layers.Dense(1, dtype='{policy}')])\n"
        }
        for policy in ("mixed_bfloat16", "mixed_float16", "bfloat16", "float16")
    },
}


@pytest.mark.parametrize("files", TRAVELS.values(), ids=TRAVELS.keys())
def test_what_travels_is_loaded_without_the_jobs_files(write: Callable[..., Path], files: dict[str, str]) -> None:
    path = write(files)
    known = dict(keras.saving.get_custom_objects())
    assert check(path, []) is None
    assert keras.saving.get_custom_objects() == known
    assert "m" not in sys.modules


REFUSED = {
    "lambda": (
        "import keras\ndef build():\n    return keras.Sequential([keras.Input((2,)), "
        "keras.layers.Lambda(lambda x: x * 2, name='double')])\n",
        "layer 'double' (Lambda) holds a Python lambda",
    ),
    "unregistered class": (
        "import keras\n" + LAYER.format(factor=1),
        "layer 'scale' (Scale) is not registered with Keras, so a saved model cannot find it again. Put "
        "@keras.saving.register_keras_serializable() above `class Scale` at the top level of m",
    ),
    "unregistered function": (
        "import keras\n" + FUNCTION + "def build():\n    return keras.Sequential([keras.Input((2,)), "
        "keras.layers.Dense(1, activation=twice, name='out')])\n",
        "layer 'out' (Dense) uses function twice, which is not registered",
    ),
    "argument that is not saved": (
        REGISTERED + "class Odd(keras.layers.Layer):\n    def __init__(self, what, **kwargs):\n"
        "        super().__init__(**kwargs)\n    def call(self, x):\n        return x\n"
        "def build():\n    return keras.Sequential([keras.Input((2,)), Odd(object(), name='odd')])\n",
        "layer 'odd' (Odd) cannot be saved",
    ),
    "secret": (
        REGISTERED + LAYER.format(factor=1) + "URL = 'http://me:word@host'\n",
        "holds a password in a URI, and the file would be registered with the model",
    ),
}


@pytest.mark.parametrize(("source", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_travel_is_named(write: Callable[..., Path], source: str, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        write({"m.py": source})
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_package_that_no_serving_image_has(write: Callable[..., Path]) -> None:
    path = write({"m.py": "import hypothesis\n" + REGISTERED + LAYER.format(factor=1)})
    told = check(path, [])
    assert told is not None
    assert told.startswith(
        "layer 'scale' (Scale) comes from m, whose `import hypothesis` needs the package 'hypothesis'"
    )
    assert check(path, ["hypothesis"]) is None


def test_two_versions_define_the_same_name(write: Callable[..., Path]) -> None:
    answers = []
    for factor in (1, 3):
        path = write({"m.py": REGISTERED + LAYER.format(factor=factor)}, home=f"home{factor}")
        answers.append(Predictor.load(path).predict_rows(GOLDEN_ROWS).scores)
    np.testing.assert_allclose(answers[1], 3 * answers[0], rtol=1e-6)


def test_a_source_that_was_changed_is_not_run(write: Callable[..., Path]) -> None:
    path = write(TRAVELS["layer"])
    (path / "code" / "m.py").write_text("raise SystemExit('was run')\n")
    with pytest.raises(DeployError, match=r"code/m\.py is not the file that was registered"):
        Predictor.load(path)


def test_a_source_outside_the_folder_is_not_read(write: Callable[..., Path]) -> None:
    path = write(TRAVELS["layer"])
    manifest = json.loads((path / "code.json").read_text())
    (path / "code.json").write_text(json.dumps(manifest | {"files": {"../../m.py": ""}}))
    with pytest.raises(DeployError, match="names '../../m.py', which is not below code"):
        Predictor.load(path)
