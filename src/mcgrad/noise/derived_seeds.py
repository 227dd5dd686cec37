"""Seeds that follow from a seed, each of which has draws of its own: of replicates and of levels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mcgrad.noise import philox


def derived_seeds(seed: int, stream: int, first: int, count: int) -> npt.NDArray[np.uint64]:
    """Return the seeds of numbers first .. first + count - 1: the first two words of their groups in a stream."""
    numbers = np.arange(first, first + count, dtype=np.uint64)
    low, high, *_ = (word.astype(np.uint64) for word in philox.words(seed, stream, 0, numbers, 4))
    return high << np.uint64(32) | low
