"""Draw-independent Vars in many rows: what all rows share once, what each has for itself in ranges of the rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcgrad.backends.base import Array
from mcgrad.backends.host_values import HostValues
from mcgrad.ir.program import Level, Var, toposort, with_bodies
from mcgrad.ir.spaces import Values

TILE = 16  # rows: all shapes are multiples of it, so that no row is alone in what NumPy does with vectors
MIXING = frozenset({"einsum", "table"})  # ops that may round a row's values otherwise among more rows


class HostRows:
    """Evaluates draw-independent Vars from inputs of many rows: a row's values depend on its own inputs alone, by bit.

    Parameters
    ----------
    roots : sequence of Var
    dtype : str
        What the values are rounded to.
    """

    def __init__(self, roots: Sequence[Var], dtype: str) -> None:
        self.shared = [var for var in roots if var.level is not Level.ROW]
        self.by_row = [var for var in roots if var.level is Level.ROW]
        self._shared, self._by_row = HostValues(self.shared, dtype), HostValues(self.by_row, dtype)
        needed = list(with_bodies(toposort(self.by_row)))
        self._inputs = {var.attrs for var in needed if var.op == "input" and var.level is Level.ROW}
        self._mixes = any(var.op in MIXING for var in needed if var.level is Level.ROW)

    def of_all(self, inputs: Values) -> list[Array]:
        """Return the values that all rows share."""
        return self._shared(inputs)

    def of_rows(self, inputs: Values, start: int, stop: int) -> list[Array]:
        """Return the values of the rows start .. stop, which are the last axis."""
        if start == stop:
            return [np.empty((*var.shape, 0)) for var in self.by_row]
        step = TILE if self._mixes else stop - start
        parts = [self._padded(inputs, i, min(i + step, stop)) for i in range(start, stop, step)]
        return [part[0] if len(part) == 1 else np.concatenate(part, -1) for part in zip(*parts, strict=True)]

    def _padded(self, inputs: Values, start: int, stop: int) -> list[Array]:
        """Evaluate with the last row repeated, up to a multiple of `TILE` rows."""
        chosen = np.minimum(np.arange(start, stop + (start - stop) % TILE), stop - 1)
        whole = len(chosen) == stop - start
        part = {
            name: (x[start:stop] if whole else x[chosen]) if name in self._inputs else x for name, x in inputs.items()
        }
        return [value[..., : stop - start] for value in self._by_row.rows(part)]
