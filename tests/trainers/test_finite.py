"""A loss that is not finite ends the run where it happened, with the rows of its batch."""

from functools import partial
from typing import Any

import keras
import numpy as np
import pytest

from configs.errors import TrainingError
from trainers import hvd
from trainers.data import batch_rows, steps_per_epoch, training_dataset
from trainers.finite import LossWatch, StopAtBadLoss
from trainers.job import Split
from trainers.model import weigh_by_share
from trainers.order import epoch_order


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the only rank."""
    monkeypatch.setattr(hvd, "rank", lambda: 0)
    monkeypatch.setattr(hvd, "size", lambda: 1)


def train(bad_row: int | None, *, rows: int = 40, batch: int = 4, epochs: int = 2, **options: Any) -> list[float]:
    """Train one weight on rows 0..rows-1, of which one has an input that is not finite; return the losses."""
    inputs = np.ones((rows, 1), np.float32)
    if bad_row is not None:
        inputs[bad_row] = np.inf
    split = Split({"x": inputs}, np.ones(rows, np.float32), source_rows=np.arange(rows) + 101)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.01), "mse", jit_compile=False, **options)
    weigh_by_share(model, may_be_empty=False)
    data = training_dataset(split, global_batch_rows=batch, rank=0, size=1, seed=3, first_epoch=0)
    rows_of = partial(batch_rows, split, global_batch_rows=batch, seed=3)
    steps = steps_per_epoch(rows, batch)
    stop = StopAtBadLoss(LossWatch(model), rows_of, steps=steps)
    done = model.fit(data, epochs=epochs, steps_per_epoch=steps, callbacks=[stop], shuffle=False, verbose=0)
    return done.history["loss"]


@pytest.mark.parametrize("bad_row", [0, 17, 39])
def test_the_rows_of_the_first_bad_batch_are_named(bad_row: int) -> None:
    order = epoch_order(40, seed=3, epoch=0)
    step = int(np.flatnonzero(order == bad_row)[0]) // 4
    rows = ", ".join(str(row + 101) for row in order[4 * step : 4 * step + 4])
    expected = (
        f"the loss is not finite in epoch 1, step {step + 1} of 10, on rank 0, with rows {rows} of the data. "
        "Look for extreme values in these rows, or lower the learning rate"
    )
    with pytest.raises(TrainingError, match=f"^{expected}$"):
        train(bad_row)


def test_of_many_rows_the_first_are_named() -> None:
    with pytest.raises(TrainingError, match=r"rows (\d+, ){20}\.\.\. \(40 in all\) of the data"):
        train(3, batch=40)


def test_several_steps_in_one_call_are_told_apart() -> None:
    order = epoch_order(40, seed=3, epoch=0)
    bad_row = int(order[4 * 6])
    with pytest.raises(TrainingError, match="step 7 of 10"):
        train(bad_row, steps_per_execution=5)


def test_finite_losses_disturb_nothing() -> None:
    assert np.isfinite(train(None)).all()


def test_where_it_looks() -> None:
    """Often at the start, then seldom, and always before a checkpoint."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])

    class Counting(LossWatch):
        looks = 0

        def first_bad(self) -> None:
            self.looks += 1

    def looked(epoch: int, steps: int, **options: int) -> list[int]:
        watch = Counting(model)
        stop = StopAtBadLoss(watch, lambda **_: np.arange(0), steps=steps, **options)
        stop.on_epoch_begin(epoch)
        found = []
        for batch in range(steps):
            before = watch.looks
            stop.on_train_batch_end(batch)
            if watch.looks > before:
                found.append(batch + 1)
        return found

    assert looked(0, 200) == [1, 2, 4, 8, 16, 32, 64, 128, 192, 200]
    assert looked(1, 130) == [64, 128, 130]
    assert looked(1, 70, also_every=50) == [50, 64, 70]
