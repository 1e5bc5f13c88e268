"""Codes as one column each, in no more memory than these columns take."""

import numpy as np


def write_hot(codes: np.ndarray, out: np.ndarray) -> None:
    """Set out (..., columns) to 0, and to 1 in the column that codes (...) names; a code below 0 has none."""
    out[...] = 0
    known = codes >= 0
    places = codes[..., None]
    # Where a row has no column, the 0 that is there is written again.
    np.put_along_axis(out, np.maximum(places, 0), known[..., None].astype(out.dtype), axis=-1)


def hot(codes: np.ndarray, columns: int) -> np.ndarray:
    """(...) codes -> (..., columns) float32."""
    out = np.empty((*codes.shape, columns), np.float32)
    write_hot(codes, out)
    return out
