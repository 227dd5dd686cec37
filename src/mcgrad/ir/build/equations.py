"""Equations, folded where their arguments are literals."""

from __future__ import annotations

from typing import Any

from mcgrad.ir.build.leaves import const
from mcgrad.ir.infer import equation
from mcgrad.ir.interpret import interpret
from mcgrad.ir.program import Var

NOT_FOLDED = {"broadcast", "copy", "native_value", "native_gradient"}


def make(op: str, args: tuple[Var, ...], attrs: Any = None) -> Var:
    """Make an equation, or the literal that it equals where its arguments are literals."""
    var = equation(op, args, attrs)
    if op not in NOT_FOLDED and all(x.is_const or (x.op == "broadcast" and x.args[0].is_const) for x in args):
        (value,) = interpret([var], {}, "float64")
        return const(value[..., 0])
    return var


def copy(x: Var) -> Var:
    """Compute the same values anew for each draw, in rows of their own, though no draw may change x."""
    return make("copy", (x,))
