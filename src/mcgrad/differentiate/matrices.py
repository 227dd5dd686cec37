"""Derivatives of functions of matrices, in closed form: of no factorisation the steps are differentiated.

Sources: Giles, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation" (2008);
Murray, "Differentiation of the Cholesky decomposition" (2016). Matrices are in the last two axes. Of symmetric ones and
of triangular ones the lower triangle is read, so cotangents have zeros above it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mcgrad.ir.attributes import LETTERS
from mcgrad.ir.build import (
    apply,
    broadcast,
    concatenate,
    const,
    einsum,
    matrices,
    reduce,
    reshape,
    slice_,
    solve,
    transpose,
)
from mcgrad.ir.program import Shape, Var

Tangents = Sequence[Var | None]


# --- products and triangles ------------------------------------------------------------------------------------------
def times(x: Var, y: Var) -> Var:
    """Multiply matrices, batch by batch."""
    batch = LETTERS[3 : 1 + len(x.shape)]
    return einsum(f"{batch}ab,{batch}bc->{batch}ac", x, y)


def swapped(x: Var) -> Var:
    """Return the transposes of matrices."""
    last = len(x.shape) - 1
    return transpose(x, [*range(last - 1), last, last - 1])


def lower(x: Var, diagonal: float = 1.0) -> Var:
    """Return lower triangles, with the diagonal times a number; what is above is not read."""
    inside = np.tri(x.shape[-1], k=0 if diagonal else -1, dtype=bool)
    if diagonal not in (0.0, 1.0):
        x = apply("multiply", x, np.where(np.eye(x.shape[-1]), diagonal, 1.0))
    return apply("where", inside, x, 0.0)


def symmetric(x: Var) -> Var:
    """Return symmetric matrices of these lower triangles."""
    return apply("where", np.tri(x.shape[-1], dtype=bool), x, swapped(x))


def folded(x: Var) -> Var:
    """Return the cotangents of lower triangles, for those of the symmetric matrices that are made of them."""
    return lower(apply("add", x, swapped(x)), 0.5)


def identities(shape: Shape) -> Var:
    """Return identity matrices."""
    return broadcast(const(np.eye(shape[-1])), shape)


# --- factors and solutions -------------------------------------------------------------------------------------------
def _cholesky_forward(ts: Tangents, var: Var) -> Var:
    (t,) = ts
    assert t is not None
    half = solve("solve_triangular", var, symmetric(t))
    return times(var, lower(solve("solve_triangular", var, swapped(half)), 0.5))


def _cholesky_reverse(ct: Var, var: Var) -> list[Var]:
    inner = lower(times(swapped(var), ct), 0.5)
    half = solve("solve_triangular", var, inner, transposed=True)
    return [folded(solve("solve_triangular", var, swapped(half), transposed=True))]


def _solve_forward(ts: Tangents, var: Var) -> Var:
    (t, of_right), transposed = ts, var.attrs.transposed
    right = of_right
    if t is not None:
        moved = times(_as_read(swapped(t) if transposed else t, var), var)
        right = apply("negative", moved) if right is None else apply("subtract", right, moved)
    assert right is not None
    return solve(var.op, var.args[0], right, transposed)


def _solve_reverse(ct: Var, var: Var) -> list[Var]:
    transposed = var.attrs.transposed
    of_right = solve(var.op, var.args[0], ct, not transposed)
    left, right = (var, of_right) if transposed else (of_right, var)
    product = apply("negative", times(left, swapped(right)))
    return [lower(product) if var.op == "solve_triangular" else product, of_right]


def _as_read(x: Var, var: Var) -> Var:
    """Tangents of matrices, of which triangular systems read one triangle."""
    if var.op != "solve_triangular":
        return x
    return swapped(lower(swapped(x))) if var.attrs.transposed else lower(x)


# --- determinants ----------------------------------------------------------------------------------------------------
def _det_forward(ts: Tangents, var: Var) -> Var:
    (t,), axis = ts, len(var.shape)
    assert t is not None
    return reduce("sum", apply("multiply", matrices("cofactors", *var.args), t), (axis, axis + 1))


def _det_reverse(ct: Var, var: Var) -> list[Var]:
    return [apply("multiply", reshape(ct, (*ct.shape, 1, 1)), matrices("cofactors", *var.args))]


def _of_cofactors(t: Var, product: Var, var: Var) -> Var:
    """The share of t in a derivative of the cofactors c, (sum(c * t) c - product) / det: NaN for singular matrices."""
    axis = len(var.shape) - 2
    along = reduce("sum", apply("multiply", var, t), (axis, axis + 1))
    both = apply("subtract", apply("multiply", reshape(along, (*along.shape, 1, 1)), var), product)
    return apply("divide", both, reshape(matrices("det", *var.args), (*along.shape, 1, 1)))


def _cofactors_forward(ts: Tangents, var: Var) -> Var:
    (t,) = ts
    assert t is not None
    return _of_cofactors(t, times(var, times(swapped(t), var)), var)


def _cofactors_reverse(ct: Var, var: Var) -> list[Var]:
    return [_of_cofactors(ct, times(var, times(swapped(ct), var)), var)]


def _slope_of_logarithm(var: Var) -> Var:
    """The derivative of log |det a|, the inverse of the transpose of a: NaN for singular matrices."""
    (a,) = var.args
    inverse = solve("solve", a, identities(a.shape), transposed=True)
    logarithm = slice_(var, [*((0, n, 1) for n in var.shape[:-1]), (1, 2, 1)])
    singular = reshape(apply("equal", logarithm, -np.inf), (*var.shape[:-1], 1, 1))
    return apply("where", singular, np.nan, inverse)


def _slogdet_forward(ts: Tangents, var: Var) -> Var:
    (t,) = ts
    assert t is not None
    axis = len(var.shape) - 1
    slope = reduce("sum", apply("multiply", _slope_of_logarithm(var), t), (axis, axis + 1))
    slope = reshape(slope, (*slope.shape, 1))
    return concatenate([broadcast(const(0.0), slope.shape), slope], axis)


def _slogdet_reverse(ct: Var, var: Var) -> list[Var]:
    of_logarithm = slice_(ct, [*((0, n, 1) for n in ct.shape[:-1]), (1, 2, 1)])
    return [apply("multiply", reshape(of_logarithm, (*ct.shape[:-1], 1, 1)), _slope_of_logarithm(var))]


# --- eigenvalues -----------------------------------------------------------------------------------------------------
def _eigvalsh_forward(ts: Tangents, var: Var) -> Var:
    (t,), vectors = ts, matrices("eigenvectors", *var.args)
    assert t is not None
    return reduce("sum", apply("multiply", vectors, times(symmetric(t), vectors)), (len(var.shape) - 1,))


def _eigvalsh_reverse(ct: Var, var: Var) -> list[Var]:
    vectors = matrices("eigenvectors", *var.args)
    weighted = apply("multiply", vectors, reshape(ct, (*ct.shape[:-1], 1, ct.shape[-1])))
    return [folded(times(weighted, swapped(vectors)))]


def _reciprocal_gaps(var: Var) -> Var:
    """1 / (value j - value i) in row i and column j, with zeros on the diagonal: infinite where values are equal."""
    values, shape = matrices("eigvalsh", *var.args), var.shape
    rows, columns = (reshape(values, (*shape[:-2], *each)) for each in ((shape[-1], 1), (1, shape[-1])))
    same = np.eye(shape[-1], dtype=bool)
    gaps = apply("where", same, 1.0, apply("subtract", broadcast(columns, shape), broadcast(rows, shape)))
    return apply("where", same, 0.0, apply("reciprocal", gaps))


def _eigenvectors_forward(ts: Tangents, var: Var) -> Var:
    (t,) = ts
    assert t is not None
    turned = times(swapped(var), times(symmetric(t), var))
    return times(var, apply("multiply", _reciprocal_gaps(var), turned))


def _eigenvectors_reverse(ct: Var, var: Var) -> list[Var]:
    turned = apply("multiply", _reciprocal_gaps(var), times(swapped(var), ct))
    return [folded(times(times(var, turned), swapped(var)))]


def zero_where_unread(ct: Var, term: Var, batch: int) -> Var:
    """Return what a cotangent of matrices gives: zero for those whose cotangents are all exactly zero."""
    size = reduce("max", apply("absolute", ct), range(batch, len(ct.shape)))
    unread = reshape(apply("equal", size, 0.0), (*size.shape, *(1 for _ in term.shape[batch:])))
    return apply("where", unread, 0.0, term)


FORWARD: dict[str, Callable[[Tangents, Var], Var]] = {
    "cholesky": _cholesky_forward,
    "det": _det_forward,
    "cofactors": _cofactors_forward,
    "slogdet": _slogdet_forward,
    "eigvalsh": _eigvalsh_forward,
    "eigenvectors": _eigenvectors_forward,
    "solve": _solve_forward,
    "solve_triangular": _solve_forward,
}
REVERSE: dict[str, Callable[[Var, Var], list[Var]]] = {
    "cholesky": _cholesky_reverse,
    "det": _det_reverse,
    "cofactors": _cofactors_reverse,
    "slogdet": _slogdet_reverse,
    "eigvalsh": _eigvalsh_reverse,
    "eigenvectors": _eigenvectors_reverse,
    "solve": _solve_reverse,
    "solve_triangular": _solve_reverse,
}
