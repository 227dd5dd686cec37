"""Which pairs of rows of a batch with common noise are compared."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Pairs: TypeAlias = tuple[NDArray[np.intp], NDArray[np.intp]]

MOST_PAIRED = 32  # rows of which all pairs are compared; more are compared with the first


def pairs(rows: int) -> Pairs:
    """Return the first and the second rows of the pairs: all, or of many rows each with the first."""
    if rows <= MOST_PAIRED:
        first, second = np.triu_indices(rows, 1)
        return first, second
    return np.zeros(rows - 1, np.intp), np.arange(1, rows)
