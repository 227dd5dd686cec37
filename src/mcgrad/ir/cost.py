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
    if op.category == "matrices":
        return _of_matrices(var)
    if op.name == "divide" and not var.args[1].by_draw:
        return float(var.size)  # becomes a product with the reciprocal
    if op.name == "scatter":
        return op.cost * var.args[0].size
    elements = max((arg.size for arg in var.args), default=0) if op.category in ("reduction", "native") else var.size
    return op.cost * elements


def _of_matrices(var: Var) -> float:
    """Cost of a function of matrices, by the loops that `simplify` makes of it."""
    a, n = var.args[0], var.args[0].shape[-1]
    if var.op in ("eigvalsh", "eigenvectors"):
        return 60.0 * n * a.size
    steps = {"cholesky": 1.0, "det": 2.0, "slogdet": 2.0, "solve": 2.0, "cofactors": 4.0}.get(var.op, 0.0)
    eliminated = steps * n * a.size if a.by_draw else 0.0
    return eliminated + {"solve": 2.0, "solve_triangular": 1.0}.get(var.op, 0.0) * n * var.size


def contraction_size(var: Var) -> int:
    """Number of multiplications of an einsum."""
    return prod(var.attrs.extents([arg.shape for arg in var.args]).values())
