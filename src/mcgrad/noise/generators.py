"""The table of generators of words: the reference of each, its kernel, and the laws that its words may be given to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from mcgrad.noise import philox
from mcgrad.noise.laws import BOX_MULLER, UNIFORM, Law
from mcgrad.noise.source import PHILOX


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

    words: Callable[[int, int, npt.ArrayLike, npt.ArrayLike, int], tuple[npt.NDArray[Any], ...]]
    kernel: str
    laws: Mapping[str, Law]


GENERATORS = {
    PHILOX: Generator(philox.words, "philox4x32", {"uniform": UNIFORM, "normal": BOX_MULLER}),
}
