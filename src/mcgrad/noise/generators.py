"""The tables of generators and of point sets: the reference of each, its kernel, and the laws for its values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.noise import philox, sobol
from mcgrad.noise.inversion import INVERSE_NORMAL, INVERSE_UNIFORM, Inversion
from mcgrad.noise.laws import BOX_MULLER, DRAWS_PER_GROUP, UNIFORM, Law
from mcgrad.noise.rows import draws_of_row
from mcgrad.noise.source import PHILOX, SOBOL, SOBOL_OWEN, NoiseSource

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Generator:
    """A function of (seed, stream, component, group of draws) whose values are four words of 32 bits.

    Parameters
    ----------
    words : callable
        (seed, stream, components, groups, each) -> four uint32 arrays of the broadcast shape of `components` and
        `groups` (uint64). `each` is the number of draws in a group; group g has draws g * each .. (g + 1) * each - 1.
    kernel : str
        The same for one group, a scalar function (component, high, stream, low, key0, key1) -> four uint32, with the
        halves of the group and of the seed; in the file of `kernels/` that has the generator's name. "{bits}" in the
        name stands for 32 or 64: the kernel of a generator whose words depend on the size of a group.
    laws : dict of str to Law
        What makes uniforms of the words, and normals, by the laws of noise Vars.
    """

    words: Callable[[int, int, npt.ArrayLike, npt.ArrayLike, int], tuple[Array, ...]]
    kernel: str
    laws: Mapping[str, Law]

    def numbers(
        self, source: NoiseSource, seed: int, components: Array, first: int, n: int, dtype: np.dtype[Any]
    ) -> Array:
        """Return components of draws first .. first + n - 1 of a source: shape (components, n)."""
        each = DRAWS_PER_GROUP[dtype.name]
        start, stop = first // each, -(-(first + n) // each)  # groups that the range touches
        groups = np.uint64(start) + np.arange(stop - start, dtype=np.uint64)
        four = self.words(seed, source.stream, components[:, None], groups, each)
        out = np.empty((len(components), stop - start, each), dtype)
        for k, values in enumerate(getattr(self.laws[source.law], dtype.name)(*four)):
            out[:, :, k] = values
        return out.reshape(len(components), -1)[:, first - each * start :][:, :n]


@dataclass(frozen=True, slots=True)
class PointSet:
    """A function of (seed of a replicate, coordinate, draw) whose values are integers of 32 bits, or of 64 in float64.

    The coordinate of a component is `NoiseSource.coordinate` + component: it counts on over all sources of a Program.
    Coordinates from `sobol.COORDINATES` on have no points; their integers are random (`philox.integers`), with the
    coordinate as the component.

    Parameters
    ----------
    table : callable
        (seed, coordinates, bits) -> rows, of the coordinates of a uint64 array: what a point is made of. Of an array of
        seeds it gives an array of tables.
    points : callable
        (rows, first, n) -> integers, of shape (coordinates, n).
    kernel : str
        The same for one point, in the file of `kernels/` that has the name; "{bits}" stands for 32 or 64.
    laws : dict of str to Inversion
        What makes uniforms of the integers, and normals, by the laws of noise Vars.
    """

    table: Callable[[sobol.Seed, Array, int], Array]
    points: Callable[[Array, int, int], Array]
    kernel: str
    laws: Mapping[str, Inversion]

    def numbers(
        self, source: NoiseSource, seed: int, components: Array, first: int, n: int, dtype: np.dtype[Any]
    ) -> Array:
        """Return components of draws first .. first + n - 1 of a source, in a replicate: shape (components, n)."""
        bits = 8 * dtype.itemsize
        coordinates = np.uint64(source.coordinate) + components
        inside = coordinates < sobol.COORDINATES
        integers = np.empty((len(coordinates), n), sobol.WORDS[bits])
        row, point = divmod(first, draws_of_row(dtype.name))
        integers[inside] = self.points(self.table(seed, coordinates[inside], bits), point, n)
        if row:
            integers[inside] ^= sobol.shifts_of_row(seed, coordinates[inside], row, bits)[:, None]
        if not inside.all():
            integers[~inside] = philox.integers(seed, source.stream, coordinates[~inside], first, n, bits)
        values: Array = getattr(self.laws[source.law], dtype.name)(integers)
        return values


_INVERSIONS = {"uniform": INVERSE_UNIFORM, "normal": INVERSE_NORMAL}

GENERATORS = {
    PHILOX: Generator(philox.words, "philox4x32", {"uniform": UNIFORM, "normal": BOX_MULLER}),
}
POINT_SETS = {
    SOBOL: PointSet(sobol.table_of, sobol.points, "sobol{bits}", _INVERSIONS),
    SOBOL_OWEN: PointSet(sobol.owen_table_of, sobol.owen_points, "sobol_owen{bits}", _INVERSIONS),
}


def named(generator: str) -> Generator | PointSet:
    """Return the generator, or the point set, of that name."""
    return POINT_SETS[generator] if generator in POINT_SETS else GENERATORS[generator]
