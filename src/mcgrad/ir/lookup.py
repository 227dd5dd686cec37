"""The tables of `table` equations: an array that a function makes of one number, in float64 and once for all draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Table:
    """A function of a number that no draw changes, too long for a kernel: it runs on the host.

    Parameters
    ----------
    function : callable
        ``function(x, *given)`` of a float: an array of shape `shape`. A function of a module, so that it has a name.
    given : tuple
        Its other arguments.
    shape : tuple of int
    derivative : Table, optional
        The same of its derivative in x; without it there is no derivative rule.
    """

    function: Callable[..., Any]
    given: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    derivative: Table | None = None

    def __call__(self, x: Array) -> Array:
        """Return the arrays of all elements of x, shape ``(*x.shape, *shape)``, in its dtype."""
        x = np.asarray(x)
        found = np.empty((x.size, *self.shape), x.dtype if x.dtype.kind == "f" else np.float64)
        for i, value in enumerate(x.ravel()):
            found[i] = self.function(float(value), *self.given)
        return found.reshape((*x.shape, *self.shape))

    def __repr__(self) -> str:
        return f"{self.function.__name__}{self.given or ''}"
