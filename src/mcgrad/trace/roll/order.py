"""The equations of a trace in the order in which they were made, and what two of them have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.ir.program import Var

Numbers = npt.NDArray[np.int64]
SLOTS = 4  # arguments that are compared one by one; of equations with more, all at once
CONST = -1  # as the source of an argument: a literal array
MOVING = ("slice", "take")  # ops that may read another place in each iteration


class Order:
    """Equations in order, as arrays of numbers.

    Parameters
    ----------
    equations : sequence of Var
        Each after its arguments, as far as these are among them.

    Attributes
    ----------
    place : dict from Var to int
    kinds : array of int, shape (n,)
        Equal for equations of one op, with equal attributes (but for places that are read) and shapes.
    sources : array of int, shape (SLOTS, n)
        The place of each argument: `CONST` for literals, less for what is not among the equations.
    distances : array of int, shape (SLOTS, n)
        How far before the equation each argument is; the source of what is not among the equations.
    """

    def __init__(self, equations: Sequence[Var]) -> None:
        self.equations = equations
        self.place = {var: i for i, var in enumerate(equations)}
        n = len(equations)
        self.kinds = np.zeros(n, np.int64)
        self.sources = np.full((SLOTS, n), CONST, np.int64)
        self.distances = np.full((SLOTS, n), CONST, np.int64)
        kinds: dict[Any, int] = {}
        outside: dict[Any, int] = {}
        for i, var in enumerate(equations):
            self.kinds[i] = kinds.setdefault(_kind(var), len(kinds))
            found = [self._source(arg, outside) for arg in var.args]
            away = [i - source if source >= 0 else source for source in found]
            if len(found) > SLOTS:
                found = [outside.setdefault(tuple(found), CONST - 1 - len(outside))]
                away = [outside.setdefault((*away, "away"), CONST - 1 - len(outside))]
            self.sources[: len(found), i] = found
            self.distances[: len(away), i] = away

    def _source(self, arg: Var, outside: dict[Any, int]) -> int:
        if arg.is_const:
            return CONST
        place = self.place.get(arg)
        return outside.setdefault(arg, CONST - 1 - len(outside)) if place is None else place

    def __len__(self) -> int:
        return len(self.equations)

    def repeats(self, period: int) -> npt.NDArray[np.bool_]:
        """Say of each equation whether the one a period later computes the same of what is a period later."""
        n = len(self) - period
        same: npt.NDArray[np.bool_] = self.kinds[:n] == self.kinds[period:]
        for sources, distances in zip(self.sources, self.distances, strict=True):
            far = (sources < CONST) | (distances > 2 * period)
            both_far = far[:n] & far[period:]  # such as the elements of a list, one in each iteration
            same &= (sources[:n] == sources[period:]) | (distances[:n] == distances[period:]) | both_far
        return same


def _kind(var: Var) -> Any:
    attrs = None if var.op in MOVING else var.attrs
    return var.op, attrs, var.shape, var.kind, tuple((x.shape, x.kind, x.is_const) for x in var.args)
