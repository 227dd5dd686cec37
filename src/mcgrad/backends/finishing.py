"""How results are made of the moments of random outputs, as plain arrays: for backends that do so on a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

OF_ANY, OF_NONE = -2, -1  # in `follows`


class Interval(NamedTuple):
    """The condition that all numbers of an array lie between two others, neither of them."""

    array: Any
    below: float
    above: float


@dataclass(frozen=True, eq=False)
class Finishing:
    """What `engine.epilogue.Finisher` does, component by component.

    Parameters
    ----------
    sources : array of int32, shape (K,)
        Which random component each is, or -1 for constants.
    fixed : array of uint8, shape (K,)
        Whether it is zero, whatever the draws.
    follows : array of int32, shape (K,)
        The number of the value whose derivative it is: where that is not finite, it is NaN. `OF_NONE` where it is no
        derivative, `OF_ANY` where it is one of all numbers of the value.
    values : int
        How many numbers the value has, which come first.
    """

    sources: npt.NDArray[np.int32]
    fixed: npt.NDArray[np.uint8]
    follows: npt.NDArray[np.int32]
    values: int

    @property
    def size(self) -> int:
        """Number of components."""
        return len(self.sources)

    def ordered(self, order: Sequence[int]) -> Finishing:
        """Return the same with the components in another order, in which those of the value stay the first."""
        places = np.array(order, np.intp)
        return replace(self, sources=self.sources[places], fixed=self.fixed[places], follows=self.follows[places])
