"""The models of the recipes: what goes in and out, and which layers they consist of."""

from collections.abc import Callable

import keras
import numpy as np
import pytest

from trainers.zoo import cnn, mlp, series, text


@pytest.mark.parametrize(
    ("model", "rows", "outputs"),
    [
        (lambda: mlp.build(hidden=(4,)), np.zeros((3, 5), np.float32), 1),
        (lambda: cnn.build(input_shape=(8, 8, 1), classes=4, filters=(2,)), np.zeros((3, 8, 8, 1), np.float32), 4),
        (lambda: text.build(tokens=9, embedding=4, units=2), np.ones((3, 6), np.int32), 1),
        (lambda: text.build(tokens=9, embedding=4, units=2, classes=5), np.ones((3, 6), np.int32), 5),
        (lambda: series.build(units=2, outputs=3), np.zeros((3, 6, 2), np.float32), 3),
    ],
)
def test_every_model_gives_a_row_of_outputs_per_row_and_saves_as_stock_layers(
    tmp_path, model: Callable[[], keras.Model], rows: np.ndarray, outputs: int
) -> None:
    built = model()
    given = np.asarray(built(rows))
    assert given.shape == (3, outputs)
    built.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(np.asarray(loaded(rows)), given)
    assert {layer.__class__.__module__.partition(".")[0] for layer in loaded.layers} == {"keras"}


def test_padding_does_not_change_what_is_read() -> None:
    model = text.build(tokens=9, embedding=4, units=2)
    short, padded = np.array([[3, 4]]), np.array([[3, 4, 0, 0, 0]])
    np.testing.assert_allclose(model(short), model(padded), rtol=1e-6)


def test_output_scale_and_offset_keep_the_unit_of_the_target() -> None:
    rows = np.zeros((1, 2), np.float32)  # an untrained layer gives 0 for zeros, as its bias is 0
    assert np.asarray(mlp.build(hidden=(4,), activation=None, output_scale=10.0, output_offset=7.0)(rows)) == 7.0
    assert np.asarray(series.build(output_scale=10.0, output_offset=7.0)(rows[:, :, None])).shape == (1, 1)


def test_batch_norm_stands_after_each_convolution() -> None:
    names = [type(layer).__name__ for layer in cnn.build(input_shape=(8, 8, 1), classes=2, batch_norm=True).layers]
    assert names[:8] == ["Conv2D", "BatchNormalization", "Activation", "MaxPooling2D"] * 2
