"""Compute draw-independent Vars on the host: constants for kernels, and constant outputs and factors for the engine.

Backends make a `HostValues` of a Program's hoisted Vars when they compile it, and call it when they bind inputs.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mcgrad.arrays import as_dtype, to_common_device
from mcgrad.backends.base import Array
from mcgrad.ir.interpret import Interpreter
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Level, Program, Var, toposort
from mcgrad.ir.spaces import Input, Values

WIDE = "float64"  # in which draw-independent values are computed, whatever the Program's dtype


class HostValues:
    """Evaluates draw-independent Vars from the inputs, once for each binding: on the device, if an input is there.

    Arithmetic is in float64 in either dtype, on inputs as they were given, and each root is rounded once. Roots that
    only move elements of inputs have the dtype throughout: no copy of large data is made in float64 for them.

    Parameters
    ----------
    roots : list of Var
    dtype : str
        What the values are rounded to.
    """

    def __init__(self, roots: list[Var], dtype: str) -> None:
        self._dtype = np.dtype(dtype)
        computed = set(computed_roots(roots)) if dtype != WIDE else set()
        self._computed = _Evaluation([root for root in roots if root in computed], WIDE, dtype)
        self._others = _Evaluation([root for root in roots if root not in computed], dtype, dtype)
        self._is_computed = [root in computed for root in roots] if computed else []

    def __call__(self, inputs: Values) -> list[Array]:
        """Return the values of the roots, without an axis of draws: of one row, if there are inputs by row."""
        return [value[..., 0] for value in self._values(inputs, False)]

    def rows(self, inputs: Values) -> list[Array]:
        """Return the values of the roots in many rows, which are the last axis: of extent 1 where all have the same.

        Parameters
        ----------
        inputs : mapping from Input to array
            Those by row have the rows on the first axis.
        """
        return self._values(inputs, True)

    def _values(self, inputs: Values, rows: bool) -> list[Array]:
        others = self._others(inputs, rows)
        if not self._is_computed:
            return others
        wide, moved = self._computed(inputs, rows), iter(others)
        with np.errstate(over="ignore", under="ignore"):
            computed = iter([as_dtype(value, self._dtype) for value in wide])
        return [next(computed if is_computed else moved) for is_computed in self._is_computed]


class _Evaluation:
    """Vars evaluated in one dtype; `nextafter` goes along the numbers of another, that of the Program."""

    def __init__(self, roots: list[Var], dtype: str, neighbours: str) -> None:
        self._interpreter, self._dtype = Interpreter(roots, dtype=dtype, neighbours=neighbours), np.dtype(dtype)
        leaves = [var for var in self._interpreter.inputs if not var.by_draw]
        self._leaves = [(var, var.attrs, var.level is Level.ROW) for var in leaves]

    def __call__(self, inputs: Values, rows: bool) -> list[Array]:
        if not self._interpreter.roots:
            return []
        dtype, leaves = self._dtype, {}
        given = to_common_device([inputs[name] for _, name, _ in self._leaves])
        for (var, _, by_row), x in zip(self._leaves, given, strict=True):
            if type(x) is not np.ndarray or x.dtype != dtype:
                x = as_dtype(x, dtype)
            leaves[var] = x.transpose(*range(1, x.ndim), 0) if rows and by_row else x[..., None]
        return self._interpreter(leaves)


def computed_roots(roots: Iterable[Var]) -> list[Var]:
    """Return those of some draw-independent Vars that take arithmetic, each once: others only move elements."""
    moving: set[Var] = set()
    for var in toposort(roots):
        if OPS[var.op].category in ("leaf", "view", "assembly") and moving.issuperset(var.args):
            moving.add(var)
    return [root for root in dict.fromkeys(roots) if root not in moving]


def wide_inputs(program: Program) -> set[Input]:
    """Return the inputs that go into draw-independent arithmetic."""
    return {var.attrs for var in toposort(computed_roots(program.hoisted())) if var.op == "input"}
