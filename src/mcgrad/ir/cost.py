"""The cost of Vars in multiplications a draw, for the choice of modes of differentiation, backends and methods."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from mcgrad.ir.ops import OPS

if TYPE_CHECKING:
    from mcgrad.ir.program import Var

NOISE = 30.0  # multiplications that a number of a noise source takes
BLAS = 0.1  # what a multiplication takes inside a product of matrices


def cost(var: Var) -> float:
    """Estimated cost of one Var for one draw, in multiplications."""
    op = OPS[var.op]
    if op.name == "noise":
        return NOISE * var.size
    if op.name == "loop":
        return float(var.attrs.length) * sum(cost(inner) for inner in var.attrs.body.equations if inner.by_draw)
    if op.name == "einsum":
        return BLAS * contraction_size(var)
    if op.name == "divide" and not var.args[1].by_draw:
        return float(var.size)  # becomes a product with the reciprocal
    elements = max((arg.size for arg in var.args), default=0) if op.category in ("reduction", "native") else var.size
    return op.cost * elements


def contraction_size(var: Var) -> int:
    """Number of multiplications of an einsum."""
    return prod(var.attrs.extents([arg.shape for arg in var.args]).values())
