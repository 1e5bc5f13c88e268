"""`Scaling`: what brings numbers of any unit to a common one."""

import numpy as np

from configs.preprocessing.sketches import Moments
from configs.spec import Spec


class Scaling(Spec):
    """(value - shift) / unit, in float64."""

    shift: float = 0.0
    unit: float = 1.0

    @classmethod
    def fit(cls, values: np.ndarray, scale: str) -> "Scaling":
        """standard: mean and deviation; minmax: smallest and range; robust: median and quartile distance."""
        moments = Moments()
        moments.add(values)
        if scale == "robust":
            low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
            return cls.of(float(middle), float(high - low), moments.largest)
        return cls.from_moments(moments, scale)

    @classmethod
    def from_moments(cls, moments: Moments, scale: str) -> "Scaling":
        """For scale standard, minmax or none."""
        if scale == "none" or not moments.count:
            return cls()
        if scale == "standard":
            return cls.of(moments.mean, moments.deviation, moments.largest)
        return cls.of(moments.low, moments.high - moments.low, moments.largest)

    @classmethod
    def of(cls, shift: float, unit: float, largest: float) -> "Scaling":
        # The mean of equal values is off by rounding: what is left is no spread, and dividing by it would blow it up.
        return cls(shift=shift, unit=1.0 if unit <= 1e-14 * largest else unit)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        scaled = np.asarray(values - self.shift)
        scaled /= self.unit
        return scaled
