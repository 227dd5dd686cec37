"""The numbers of a source of noise: the draw contract in NumPy, which every backend reproduces (docs/draws.md)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.noise.generators import named
from mcgrad.noise.source import NoiseSource


def numbers(
    source: NoiseSource, seed: int, components: npt.ArrayLike, first: int, n: int, dtype: npt.DTypeLike
) -> npt.NDArray[Any]:
    """Return components of draws first .. first + n - 1.

    Parameters
    ----------
    source : NoiseSource
    seed : int
        0 .. 2**64 - 1; of a point set, that of the replicate (`sobol.seed_of_replicate`).
    components : int array
        Which numbers of the source, in C order of its shape.
    first, n : int
        The draws; of a point set, those of the replicate.
    dtype : {"float32", "float64"}

    Returns
    -------
    array of shape (components, n), in the order of the draws
    """
    columns = np.asarray(components, np.uint64).reshape(-1)
    return named(source.generator).numbers(source, seed, columns, first, n, np.dtype(dtype))
