"""Random changes of training images: drawn from (seed, epoch, row), so the same on any number of workers.

Works on preprocessed images, which are linear in the pixels. Knows nothing about validation, which sees images as they
are.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from configs.features import AugmentSpec, ImageFeature
from trainers.job import Split

Change = Callable[[Split, np.ndarray], Split]
"""(rows taken from a split, their numbers in it) -> the rows, changed."""
DRAWS = 6
"""Random numbers per image: two flips, two shifts, turn, brightness."""


class Augmentation:
    """The random changes that a job asks for, by model input."""

    def __init__(self, images: Mapping[str, ImageFeature], *, seed: int) -> None:
        self._images, self._seed = images, seed

    @classmethod
    def of(cls, features: Mapping[str, Any], *, seed: int) -> "Augmentation | None":
        """What the features of a job ask for; None where no image is to be changed."""
        images = {name: each for name, each in features.items() if each.kind == "image" and each.augment is not None}
        return cls(images, seed=seed) if images else None

    def of_epoch(self, epoch: int) -> Change:
        """The changes of one epoch."""
        keys = {
            name: np.random.SeedSequence((self._seed, epoch, number)).generate_state(1, np.uint64)
            for number, name in enumerate(self._images, 1)
        }

        def change(part: Split, numbers: np.ndarray) -> Split:
            changed = {
                name: change_images(part.inputs[name], feature, draw(keys[name], numbers))
                for name, feature in self._images.items()
            }
            return replace(part, inputs={**part.inputs, **changed})

        return change


def draw(key: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(...,) row numbers -> (..., DRAWS) float32 from 0 to 1, which depend on the key and the row alone.

    SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014): number n of a stream is a
    hash of n, so none before it need be drawn.
    """
    place = rows.astype(np.uint64)[..., np.newaxis] * np.uint64(DRAWS) + np.arange(1, DRAWS + 1, dtype=np.uint64)
    bits: np.ndarray = key + place * np.uint64(0x9E3779B97F4A7C15)  # wraps around, as it should
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    return (bits >> np.uint64(40)).astype(np.float32) / np.float32(2**24)


def change_images(images: np.ndarray, feature: ImageFeature, draws: np.ndarray) -> np.ndarray:
    """(..., height, width, channels) float32 preprocessed images, changed by (..., DRAWS) numbers from 0 to 1."""
    spec = feature.augment
    if spec is None:
        return images
    flat, numbers = images.reshape(-1, *images.shape[-3:]), draws.reshape(-1, DRAWS)
    if spec.flip != "none" or spec.shift or spec.rotate:
        flat = _moved(flat, _transforms(numbers, spec, height=flat.shape[1], width=flat.shape[2]))
    if spec.brightness:
        factor = (1 + spec.brightness * (2 * numbers[:, 5] - 1))[:, None, None, None]
        # The pixel, not the preprocessed value (pixel - mean) / std, is multiplied.
        offset = np.asarray(feature.mean, np.float32) / np.asarray(feature.std, np.float32)
        flat = flat * factor + offset * (factor - 1)
    return np.asarray(flat, np.float32).reshape(images.shape)


def _transforms(draws: np.ndarray, spec: AugmentSpec, *, height: int, width: int) -> np.ndarray:
    """(images, 8): where each output pixel comes from, as TensorFlow's projective transform takes it."""
    flip_x = np.where((draws[:, 0] < 0.5) & (spec.flip in ("horizontal", "both")), -1.0, 1.0)
    flip_y = np.where((draws[:, 1] < 0.5) & (spec.flip in ("vertical", "both")), -1.0, 1.0)
    shift_x, shift_y = (
        np.trunc(spec.shift * length * (2 * draws[:, column] - 1)) for column, length in ((2, width), (3, height))
    )
    turn = np.deg2rad(spec.rotate * (2 * draws[:, 4] - 1))
    a, b = np.cos(turn) * flip_x, -np.sin(turn) * flip_y
    c, d = np.sin(turn) * flip_x, np.cos(turn) * flip_y
    x, y = (width - 1) / 2, (height - 1) / 2  # turned and mirrored about the middle
    zero = np.zeros_like(a)
    rows = [a, b, x - a * x - b * y + shift_x, c, d, y - c * x - d * y + shift_y, zero, zero]
    return np.stack(rows, axis=1).astype(np.float32)


def _moved(images: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    with tf.device("CPU"):
        moved = tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=transforms,
            output_shape=images.shape[1:3],
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="NEAREST",
        )
    return np.asarray(moved.numpy())
