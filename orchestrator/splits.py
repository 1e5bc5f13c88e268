"""Which rows train, which choose the best epoch, and which only test."""

import numpy as np

from configs.data import SplitSpec
from configs.errors import DataError
from trainers.job import TEST, TRAIN, VALID


def split_rows(rows: int, split: SplitSpec) -> dict[str, np.ndarray]:
    """Row numbers of each part, drawn at random from the seed; parts of fraction 0 are left out.

    Raises DataError when a part would be empty.
    """
    order = np.random.default_rng(split.seed).permutation(rows)
    test, valid = round(rows * split.test), round(rows * split.valid)
    parts = {TRAIN: order[test + valid :]}
    if split.valid:
        parts[VALID] = order[test : test + valid]
    if split.test:
        parts[TEST] = order[:test]
    empty = next((name for name, part in parts.items() if not len(part)), None)
    if empty:
        raise DataError(
            f"{rows} row(s) leave none for the {empty} part (data.split.valid={split.valid}, "
            f"data.split.test={split.test}); give more rows, or change data.split"
        )
    return parts
