"""Random changes of training images: the right pixels, the same on any number of ranks, others in every epoch."""

from typing import Any

import numpy as np
import pytest

from configs.features import ImageFeature
from trainers.augment import DRAWS, Augmentation, change_images
from trainers.data import training_dataset
from trainers.job import Split
from trainers.order import epoch_order

IMAGE = np.arange(12, dtype=np.float32).reshape(1, 3, 4, 1)


def changed(images: np.ndarray, draws: list[float], *, mean: Any = 0.0, std: Any = 1.0, **options: Any) -> np.ndarray:
    feature = ImageFeature(divide_by=1.0, mean=mean, std=std, augment=options)
    return change_images(images, feature, np.tile(np.float32(draws), (len(images), 1)))


@pytest.mark.parametrize(
    ("draws", "options", "expected"),
    [
        ([0.2, 0.2, 0.5, 0.5, 0.5, 0.5], {"flip": "horizontal"}, IMAGE[:, :, ::-1]),
        ([0.2, 0.2, 0.5, 0.5, 0.5, 0.5], {"flip": "vertical"}, IMAGE[:, ::-1]),
        ([0.2, 0.2, 0.5, 0.5, 0.5, 0.5], {"flip": "both"}, IMAGE[:, ::-1, ::-1]),
        ([0.7, 0.7, 0.5, 0.5, 0.5, 0.5], {"flip": "both"}, IMAGE),
        ([0.7, 0.7, 0.999, 0.5, 0.5, 0.5], {"shift": 0.6}, IMAGE[:, :, [2, 3, 3, 3]]),
        ([0.7, 0.7, 0.5, 0.001, 0.5, 0.5], {"shift": 0.6}, IMAGE[:, [0, 0, 1]]),
        ([0.7, 0.7, 0.5, 0.5, 0.999999, 0.5], {"rotate": 180.0}, IMAGE[:, ::-1, ::-1]),
        ([0.7, 0.7, 0.5, 0.5, 0.5, 1.0], {"brightness": 0.5}, IMAGE * 1.5),
    ],
)
def test_pixels_go_where_they_should(draws: list[float], options: dict[str, Any], expected: np.ndarray) -> None:
    np.testing.assert_allclose(changed(IMAGE, draws, **options), expected, atol=1e-3)


def test_brightness_multiplies_the_pixel_and_not_what_preprocessing_made_of_it() -> None:
    colours = np.repeat(IMAGE, 3, axis=-1)
    mean, std = (1.0, 2.0, 3.0), (2.0, 2.0, 4.0)
    found = changed((colours - mean) / np.array(std), [0.5] * 5 + [0.0], mean=mean, std=std, brightness=0.25)
    np.testing.assert_allclose(found, (colours * 0.75 - mean) / np.array(std), rtol=1e-5)


SPLIT = Split({"photo": np.random.default_rng(0).random((10, 6, 6, 1), np.float32)}, np.arange(10))
FEATURE = ImageFeature(augment={"flip": "both", "shift": 0.2, "rotate": 20.0, "brightness": 0.2})


def images_by_row(epoch: int, *, size: int, seed: int = 1) -> dict[int, np.ndarray]:
    """Row to image as the ranks see them in one epoch."""
    seen: dict[int, np.ndarray] = {}
    for rank in range(size):
        augmentation = Augmentation.of({"photo": FEATURE}, seed=seed)
        data = training_dataset(
            SPLIT, global_batch_rows=4, rank=rank, size=size, seed=1, first_epoch=epoch, augmentation=augmentation
        )
        for x, y, share in data.take(3).as_numpy_iterator():
            seen |= {int(row): image for row, image, part in zip(y, x, share, strict=True) if part}
    return seen


def test_a_row_is_changed_alike_on_any_number_of_ranks_and_otherwise_in_another_epoch() -> None:
    alone, shared, later = images_by_row(0, size=1), images_by_row(0, size=3), images_by_row(1, size=1)
    assert sorted(alone) == sorted(shared) == sorted(epoch_order(10, seed=1, epoch=0))
    for row, image in alone.items():
        np.testing.assert_array_equal(shared[row], image)
        assert not np.allclose(later[row], image, atol=1e-3)
        assert not np.allclose(image, SPLIT.inputs["photo"][row], atol=1e-3)
    assert any(not np.array_equal(alone[row], image) for row, image in images_by_row(0, size=1, seed=2).items())


def test_nothing_is_done_where_nothing_is_asked_for() -> None:
    assert Augmentation.of({"photo": ImageFeature()}, seed=0) is None
    plain = ImageFeature(augment={})
    np.testing.assert_array_equal(change_images(IMAGE, plain, np.zeros((1, DRAWS), np.float32)), IMAGE)
