"""Real Ray, real Horovod, rows on disk: two workers, a kill, a data set of Ray's, and nothing left behind."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from configs.errors import DataError
from configs.job import JobSpec
from orchestrator import run
from orchestrator.verification import verify

pytestmark = pytest.mark.cluster

Make = Callable[..., JobSpec]
STREAMING = ("data.loading=streaming", "train.global_batch_rows=2", "train.checkpoint_every_steps=4")


def test_a_kill_inside_an_epoch_changes_nothing(small_job: Make, tmp_path: Path) -> None:
    """To the bit, as with rows in memory."""
    seen: list[dict] = []

    def on_event(event: dict) -> None:
        seen.append(event)
        if event["kind"] == "checkpoint" and (event["epoch"], event["step"]) == (1, 8):
            os.kill(next(one["pid"] for one in seen if one["kind"] == "worker" and one["rank"] == 1), signal.SIGKILL)

    expected = run(small_job(*STREAMING))
    result = run(small_job(*STREAMING), on_event=on_event)
    assert [event["kind"] for event in seen].count("failure") >= 1
    assert result.weights_sha256 == expected.weights_sha256
    assert result.metrics == expected.metrics
    notes = [event["text"] for event in seen if event["kind"] == "note"]
    assert notes[:3] == [
        "loading: streaming, as data.loading=streaming",
        "streaming 0.5 kB in 1 piece(s): counting rows",
        "learning from 41 rows",
    ]
    assert not (tmp_path / "ringmaster-runs" / "stream").exists()


def test_one_worker_and_two_end_with_the_same_weights(small_job: Make) -> None:
    differences = verify(small_job("data.loading=streaming"), workers=2, steps=3)
    assert max(one.largest for one in differences) < 1e-5


def test_an_error_in_a_task_is_one_line_of_the_user(small_job: Make, tmp_path: Path) -> None:
    with (tmp_path / "small.csv").open("a") as file:
        file.write("inf,red,big\n")
    expected = r"^\S*small\.csv: column 'size', row 42: got an infinite value; mend or remove the row$"
    with pytest.raises(DataError, match=expected):
        run(small_job("data.loading=streaming"))
    assert not (tmp_path / "ringmaster-runs" / "stream").exists()


def test_a_data_set_of_ray_is_streamed(small_job: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows in the same parts as with the data set in memory."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "ray_rows.py").write_text(
        "import time\n\nimport numpy as np\nimport ray.data\n\n\ndef load():\n"
        "    numbers = np.arange(200.0)\n    points = np.stack([numbers, -numbers], axis=1)\n"
        "    rows = [{'size': n, 'point': p, 'label': 'ab'[int(n) % 2]} for n, p in zip(numbers, points)]\n"
        "    made = ray.data.from_items(rows, override_num_blocks=4)\n"
        "    return made.map_batches(late)\n\n\ndef late(batch):\n"
        "    time.sleep(1.5 if batch['size'][0] == 0 else 0)  # the first rows come last\n"
        "    return batch\n"
    )
    features = "data.features={size: number, point: {kind: tensor, divide_by: 100}}"
    options = ("data.csv=null", "data.function=ray_rows:load", features, "model.function=two_inputs:build")
    (tmp_path / "two_inputs.py").write_text(
        "import keras\n\n\ndef build(**params):\n"
        "    inputs = {'table': keras.Input((1,)), 'point': keras.Input((2,))}\n"
        "    joined = keras.layers.Concatenate()(list(inputs.values()))\n"
        "    return keras.Model(inputs, keras.layers.Dense(1, activation='sigmoid')(joined))\n"
    )
    found = {}
    for loading in ("indexed", "streaming"):
        notes: list[str] = []
        result = run(
            small_job(*options, f"data.loading={loading}", "train.epochs=1", "train.global_batch_rows=200"),
            on_event=lambda event, notes=notes: notes.append(event["text"]) if event["kind"] == "note" else None,
        )
        found[loading] = [result.metrics[name] for name in ("loss", "val_loss", "test_loss")]
        assert notes[0].startswith(f"loading: {loading}")
    # One batch holds all training rows, so their order does not matter.
    np.testing.assert_allclose(found["streaming"], found["indexed"], rtol=1e-5)
    assert not (tmp_path / "ringmaster-runs" / "stream").exists()
