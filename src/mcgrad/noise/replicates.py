"""Replicates: the seeds of independent randomisations of a point set."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mcgrad.noise.derived_seeds import derived_seeds
from mcgrad.noise.streams import REPLICATES


def seeds_of_replicates(seed: int, first: int, count: int) -> npt.NDArray[np.uint64]:
    """Return the seeds of replicates first .. first + count - 1 of a seed, of which each makes a table of its own.

    That of a replicate is the first two words of its group in a stream of Philox (docs/draws.md).
    """
    return derived_seeds(seed, REPLICATES, first, count)
