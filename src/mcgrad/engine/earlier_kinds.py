"""Calls with arguments of the same kinds as an earlier one's: of these only the numbers are looked at.

Names, shapes and dtypes decide all else that `Inputs` checks. What does not pass here is checked there again, which
raises the error that names it, or accepts it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mcgrad.distributions.constraints import is_inside
from mcgrad.ir.spaces import Input, Values
from mcgrad.noise import Shape

KEPT = 64  # kinds, of one Estimator


class Place(NamedTuple):
    """Where a value goes, and what is looked at in it.

    Parameters
    ----------
    name : Input
    bounds : (float, float) or None
        Between which all of its numbers have to lie; None where all are accepted.
    dtype : str
        What the array is given as.
    """

    name: Input
    bounds: tuple[float, float] | None
    dtype: str


class EarlierKinds:
    """The kinds of changes in calls of one Estimator, and the values of all inputs that do not change."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[Values, Sequence[Place], Shape]] = {}

    def find(self, changes: Mapping[str, Any]) -> tuple[dict[Input, npt.NDArray[Any]], Shape] | None:
        """Return the values of all inputs, and the batch shape, if there were such changes, and their numbers pass."""
        arrays, kind = [*changes.values()], _kind(changes)
        found = None if kind is None else self._known.get(kind)
        if found is None:
            return None
        others, places, shape = found
        values = {**others}
        for (name, bounds, dtype), x in zip(places, arrays, strict=True):
            array = np.asarray(x, dtype, order="C")
            if bounds is not None and not is_inside(*bounds, array):
                return None
            values[name] = array
        return values, shape

    def keep(self, changes: Mapping[str, Any], others: Values, places: Sequence[Place], shape: Shape) -> None:
        """Keep the kind of changes that were accepted.

        Parameters
        ----------
        changes : mapping from str to array or float
        others : mapping from Input to array
            Values of all inputs, of which those in `places` change.
        places : sequence of Place
            Of each change, in order.
        shape : tuple of int
            The batch shape.
        """
        kind = _kind(changes)
        if kind is None:
            return
        if len(self._known) >= KEPT:
            self._known.clear()
        self._known[kind] = others, places, shape


def _kind(changes: Mapping[str, Any]) -> Hashable:
    """Return what is equal for changes of the same names, shapes and dtypes; None where a value is of another type."""
    kind: list[Any] = []
    for name, x in changes.items():
        if type(x) is np.ndarray:
            kind.append((name, x.shape, x.dtype))
        elif type(x) is float:
            kind.append(name)
        else:
            return None
    return tuple(kind)
