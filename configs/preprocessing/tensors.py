"""Tensor and image columns: an array per row, rescaled."""

from typing import Literal

import numpy as np

from configs.errors import DataError
from configs.features import ImageFeature, TensorFeature
from configs.preprocessing.values import FIX, BadValue
from configs.spec import Spec


class FittedTensor(Spec):
    """An array per row of a fixed shape: (value / divide_by - mean) / std."""

    kind: Literal["tensor", "image"] = "tensor"
    shape: tuple[int, ...]
    """Without the rows axis, as the raw rows have it."""
    divide_by: float
    mean: float | tuple[float, ...] = 0.0
    std: float | tuple[float, ...] = 1.0

    def transform(self, column: str, values: np.ndarray) -> np.ndarray:
        """(rows, *shape) -> float32 of that shape; an image without channels gets one, (rows, height, width, 1)."""
        tensor = self._tensor(column, values)
        self.require_shape(column, tensor)
        if values.dtype.kind not in "iub" and not np.isfinite(tensor).all():
            row = int(np.argwhere(~np.isfinite(tensor))[0][0])
            raise BadValue(f"column {column!r}, row ", row + 1, f": holds a value that is not finite{FIX}")
        if self.kind == "image" and len(self.shape) == 2:
            tensor = tensor[..., None]
        # In place where the values were copied already: allocating costs as much as dividing.
        out = None if np.may_share_memory(tensor, values) else tensor
        done = np.divide(tensor, np.float32(self.divide_by), out=out)
        if self.mean != 0.0:
            done -= np.asarray(self.mean, np.float32)
        if self.std != 1.0:
            done /= np.asarray(self.std, np.float32)
        return np.asarray(done)

    def require_shape(self, column: str, values: np.ndarray) -> None:
        """Raise DataError where the rows have another shape."""
        if values.shape[1:] != self.shape:
            raise DataError(f"column {column!r}: got shape {values.shape[1:]} per row, expected {self.shape}")

    def _tensor(self, column: str, values: np.ndarray) -> np.ndarray:
        try:
            return np.asarray(values, np.float32)
        except (TypeError, ValueError) as error:
            raise DataError(f"column {column!r}: expected numbers of shape {self.shape} in each row") from error


class TensorFitter:
    """Learns the shape of a tensor or image column."""

    def __init__(self, column: str, spec: TensorFeature | ImageFeature) -> None:
        self._column, self._spec = column, spec
        self._shape: tuple[int, ...] | None = None

    def update(self, values: np.ndarray) -> None:
        if values.dtype == object or values.ndim < 2:
            paths = values.dtype == object and any(isinstance(value, str) for value in values[:100])
            fix = ", got texts; paths of image files are read as a feature of kind image" if paths else ""
            raise DataError(f"column {self._column!r}: expected an array of numbers of one shape per row{fix}")
        if self._spec.kind == "image" and values.ndim not in (3, 4):
            raise DataError(
                f"column {self._column!r}: got shape {values.shape[1:]} per row, expected an image of "
                "(height, width) or (height, width, channels); use kind tensor"
            )
        self._require(values.shape[1:])

    def merge(self, other: "TensorFitter") -> None:
        if other._shape is not None:
            self._require(other._shape)

    def finish(self) -> FittedTensor:
        """Raises DataError when mean or std has another number of values than the last axis."""
        spec, shape = self._spec, self._shape or ()
        channels = 1 if spec.kind == "image" and len(shape) == 2 else (shape or (0,))[-1]
        for name, given in (("mean", spec.mean), ("std", spec.std)):
            if isinstance(given, tuple) and len(given) != channels:
                raise DataError(f"column {self._column!r}: {name} has {len(given)} values for {channels} channels")
        return FittedTensor(kind=spec.kind, shape=shape, divide_by=spec.divide_by, mean=spec.mean, std=spec.std)

    def _require(self, shape: tuple[int, ...]) -> None:
        if self._shape not in (None, shape):
            fix = "resize them with data.read.height and data.read.width" if self._spec.kind == "image" else ""
            raise DataError(
                f"column {self._column!r}: rows of shape {shape} and of {self._shape}; {fix or 'make them equal'}"
            )
        self._shape = shape
