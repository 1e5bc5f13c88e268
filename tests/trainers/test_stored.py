"""Rows on disk are the rows that were written, whatever shards they stand in, and few files are open at a time."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import DataError
from configs.preprocessing import FittedTensor
from trainers import stored
from trainers.data import training_dataset
from trainers.job import Split
from trainers.stored import Shard, ShardWriter, StoredSplit

PIXELS = FittedTensor(kind="image", shape=(2, 3), divide_by=255.0)


def rows(count: int, first: int = 0) -> Split:
    numbers = np.arange(first, first + count)
    images = (numbers[:, None, None] + np.arange(6).reshape(2, 3)).astype(np.uint8)
    inputs = {"photo": images, "table": numbers[:, None].astype(np.float32)}
    return Split(inputs, numbers % 3, numbers.astype(np.float32) / 2, numbers + 1, {"photo": PIXELS})


def written(folder: Path, counts: list[int], **options: int) -> StoredSplit:
    writer = ShardWriter(folder, "part")
    first = 0
    for count in counts:
        writer.add(rows(count, first))
        first += count
    writer.close()
    return StoredSplit(folder, tuple(writer.shards), {"photo": PIXELS}, **options)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 50), st.data())
def test_rows_are_what_they_were(tmp_path_factory: pytest.TempPathFactory, counts: list, per_shard: int, data) -> None:
    whole = rows(sum(counts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored, "SHARD_BYTES", per_shard * stored.record_type(whole).itemsize)
        split = written(tmp_path_factory.mktemp("shards"), counts, shuffle_rows=5)
    assert len(split) == sum(counts)
    assert all(shard.rows == per_shard for shard in split.shards[:-1])
    picked = np.array(data.draw(st.lists(st.integers(0, len(split) - 1), min_size=1, max_size=30)))
    for asked in (picked, picked[np.newaxis], slice(1, 9)):
        found, expected = split.take(asked), whole.take(asked)
        for name, array in expected.inputs.items():
            assert found.inputs[name].dtype == array.dtype
            np.testing.assert_array_equal(found.inputs[name], array)
        for name in ("target", "weight", "source_rows"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.inputs["photo"].shape[1:] == (2, 3, 1)


def test_images_stay_bytes_on_the_disk(tmp_path: Path) -> None:
    split = written(tmp_path, [10])
    assert split.row_bytes == 6 + 4 + 8 + 4 + 8


def test_an_epoch_of_two_ranks_holds_every_row_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "SHARD_BYTES", 7 * 30)
    split = pickle.loads(pickle.dumps(written(tmp_path, [50], shuffle_rows=20)))
    shard = {"global_batch_rows": 8, "size": 2, "seed": 3, "first_epoch": 1}
    seen = []
    for rank in (0, 1):
        for x, _, _, share in training_dataset(split, **shard, rank=rank).take(7).as_numpy_iterator():
            assert share[0] == 1.0
            seen += x["table"][:, 0].tolist()
    assert sorted(seen) == list(range(50))
    assert seen != sorted(seen)


def test_shards_that_are_not_used_are_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "SHARD_BYTES", 10 * 30)
    split = written(tmp_path, [200], shuffle_rows=20)
    order = split.order(seed=0, epoch=0)
    for start in range(0, 200, 10):
        split.take(order[start : start + 10])
        assert len(split._files._mapped) <= 4  # two windows of two shards


def test_a_shard_that_is_not_there_is_named(tmp_path: Path) -> None:
    split = StoredSplit(tmp_path, (Shard("part-00000.npy", 3),))
    with pytest.raises(DataError, match=r"cannot be read on this host: .*part-00000\.npy.*name a `folder` on a disk"):
        split.take(slice(0, 1))
