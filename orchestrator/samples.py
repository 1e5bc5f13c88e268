"""Data sets that come with installed libraries, as columns."""

import numpy as np
from sklearn.datasets import load_digits


def digits() -> dict[str, np.ndarray]:
    """1,797 handwritten digits: `image` (rows, 8, 8, 1) with values 0..16, `digit` (rows,) 0..9.

    Source: UCI ML hand-written digits, as bundled with scikit-learn.
    """
    bunch = load_digits()
    return {"image": bunch.images[..., np.newaxis], "digit": bunch.target}
