"""The numbers of a source of noise: the draw contract in NumPy, which every backend reproduces (docs/draws.md)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.noise.generators import GENERATORS
from mcgrad.noise.laws import DRAWS_PER_GROUP
from mcgrad.noise.source import NoiseSource


def numbers(
    source: NoiseSource, seed: int, components: npt.ArrayLike, first: int, n: int, dtype: npt.DTypeLike
) -> npt.NDArray[Any]:
    """Return components of draws first .. first + n - 1.

    Parameters
    ----------
    source : NoiseSource
    seed : int
        0 .. 2**64 - 1.
    components : int array
        Which numbers of the source, in C order of its shape.
    first, n : int
        The draws.
    dtype : {"float32", "float64"}

    Returns
    -------
    array of shape (components, n), in the order of the draws
    """
    dtype = np.dtype(dtype)
    generator, each = GENERATORS[source.generator], DRAWS_PER_GROUP[dtype.name]
    columns = np.asarray(components, np.uint64).reshape(-1, 1)
    start, stop = first // each, -(-(first + n) // each)  # groups that the range touches
    groups = np.uint64(start) + np.arange(stop - start, dtype=np.uint64)
    four = generator.words(seed, source.stream, columns, groups, each)
    out = np.empty((len(columns), stop - start, each), dtype)
    for k, values in enumerate(getattr(generator.laws[source.law], dtype.name)(*four)):
        out[:, :, k] = values
    return out.reshape(len(columns), -1)[:, first - each * start :][:, :n]
