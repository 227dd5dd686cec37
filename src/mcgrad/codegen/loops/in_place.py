"""Read rolled elements where they are: an array that joins parts of one Var is a view of this Var.

`np.roll(z, 1)` is a concatenate of two slices of z, and its derivative the sum of two pads. As assemblies they would be
copied to rows of their own, once a block. As views they are addresses, by a table where no strides can say them. That
is right where lanes are the vectors; where elements are, neighbours would lie apart.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mcgrad.codegen.loops.access import resolve
from mcgrad.ir.build import apply, broadcast, rebuild, take
from mcgrad.ir.interpret import IMPL
from mcgrad.ir.program import Program, Var
from mcgrad.ir.rewrite import rewrite_program

Rows = npt.NDArray[np.int64]


def in_place(program: Program) -> Program:
    """Return the Program with views in place of assemblies of the parts of one Var."""
    return rewrite_program(program, _rule)


def _rule(var: Var, args: tuple[Var, ...]) -> Var:
    var = rebuild(var, args)
    if not var.by_draw:
        return var
    found = _joined(var) if var.op == "concatenate" else _completed(var) if var.op == "add" else None
    return var if found is None else found


def _joined(var: Var) -> Var | None:
    """A concatenate of parts of one Var."""
    parts = [resolve(arg) for arg in var.args]
    if len({part.base for part in parts}) > 1:
        return None
    return _elements(parts[0].base, np.concatenate([part.rows() for part in parts], var.attrs.axis))


def _completed(var: Var) -> Var | None:
    """A sum of two pads of parts of one Var, of which each is zero where the other is not; or x and two such pads."""
    for x, y in (var.args, var.args[::-1]):
        if x.op == y.op == "pad":
            return _together(x, y)
        if x.op == "add" and y.op == "pad":
            for rest, pad in (x.args, x.args[::-1]):
                both = _together(pad, y) if pad.op == "pad" else None
                if both is not None:
                    return apply("add", rest, both)
    return None


def _together(x: Var, y: Var) -> Var | None:
    bases = {resolve(pad.args[0]).base for pad in (x, y)}
    # rows from 1 on, and 0 for what a pad adds
    first, second = (IMPL["pad"](pad, resolve(pad.args[0]).rows()[..., None] + 1)[..., 0] for pad in (x, y))
    if len(bases) > 1 or not np.array_equal(first == 0, second != 0):
        return None
    return _elements(bases.pop(), first + second - 1)


def _elements(base: Var, rows: Rows) -> Var | None:
    """Elements of a Var; of a multiple of another, multiples of its elements, which need no rows of their own.

    Not of a loop, whose results lie apart.
    """
    if base.op == "loop":
        return None
    if base.op == "multiply":
        for x, factor in (base.args, base.args[::-1]):
            if x.by_draw and factor.op == "broadcast" and factor.args[0].size == 1:
                return apply("multiply", _elements_of(x, rows), broadcast(factor.args[0], rows.shape))
    return take(base, rows)


def _elements_of(x: Var, rows: Rows) -> Var:
    inner = resolve(x)
    return take(inner.base, inner.rows().ravel()[rows])
