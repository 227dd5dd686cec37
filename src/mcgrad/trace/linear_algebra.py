"""numpy.linalg of small traced matrices, and scipy.linalg's triangular systems."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mcgrad.ir import build
from mcgrad.ir.build import apply
from mcgrad.ir.program import Var
from mcgrad.trace.factorizations import at, cholesky as lower_factor, eliminated, solve_lower, solve_upper
from mcgrad.trace.operands import operand
from mcgrad.trace.shaping import matrix_transpose


class SlogdetResult(NamedTuple):
    """What np.linalg.slogdet returns."""

    sign: Any
    logabsdet: Any


def _square(a: Any) -> Var:
    x = apply("float", operand(a))
    if len(x.shape) < 2:
        raise np.linalg.LinAlgError(f"{len(x.shape)}-dimensional array given. Array must be at least two-dimensional")
    if x.shape[-1] != x.shape[-2]:
        raise np.linalg.LinAlgError("Last 2 dimensions of the array must be square")
    return x


def cholesky(a: Any, /, *, upper: bool = False) -> Var:
    """np.linalg.cholesky."""
    x = _square(a)
    if not x.size:
        return x
    return matrix_transpose(lower_factor(matrix_transpose(x))) if upper else lower_factor(x)


def solve(a: Any, b: Any) -> Var:
    """np.linalg.solve."""
    x, y = _square(a), apply("float", operand(b))
    vector = len(y.shape) == 1
    right = build.reshape(y, (*y.shape, 1)) if vector else y
    if len(right.shape) < 2 or right.shape[-2] != x.shape[-1]:
        raise ValueError(f"solve: matrices of shape {x.shape} do not match a right side of shape {y.shape}")
    batch = np.broadcast_shapes(x.shape[:-2], right.shape[:-2])
    if not x.size or not right.size:
        shape = (*batch, *right.shape[-2:])
        return build.const(np.zeros(shape[:-1] if vector else shape))
    u, c, _ = eliminated(x, right)
    result = solve_upper(u, c)
    return build.reshape(result, result.shape[:-1]) if vector else result


def inv(a: Any) -> Var:
    """np.linalg.inv."""
    x = _square(a)
    return solve(x, np.eye(x.shape[-1]))


def det(a: Any) -> Var:
    """np.linalg.det: written out up to three rows, else the product of the pivots.

    With a pivot that is zero before the last, the matrix is singular and its elimination has not the derivative of the
    determinant, which is that of the minors: the value is zero and the derivative NaN.
    """
    x = _square(a)
    n, batch = x.shape[-1], x.shape[:-2]
    if n == 0:
        return build.const(np.ones(batch))
    if n <= 3:
        return _minor(x, tuple(range(n)))
    pivots, sign = _pivots(x)
    early = build.reduce("prod", at(pivots, (slice(0, n - 1),)), (len(batch),))
    is_zero = apply("stop", apply("float", apply("equal", early, 0.0)))
    unknown = apply("multiply", is_zero, apply("sqrt", apply("absolute", early)))  # 0, of derivative 0 * inf
    return apply("add", apply("multiply", sign, build.reduce("prod", pivots, (len(batch),))), unknown)


def _minor(x: Var, columns: tuple[int, ...]) -> Var:
    """The determinant of the last rows of x in these columns, by its first row."""
    row = x.shape[-1] - len(columns)
    terms = [at(x, (row, column)) for column in columns]
    if len(columns) > 1:
        minors = [_minor(x, tuple(c for c in columns if c != column)) for column in columns]
        terms = [apply("multiply", term, minor) for term, minor in zip(terms, minors, strict=True)]
    result = terms[0]
    for k, term in enumerate(terms[1:]):
        result = apply("subtract" if k % 2 == 0 else "add", result, term)
    return result


def slogdet(a: Any) -> SlogdetResult:
    """np.linalg.slogdet."""
    x = _square(a)
    batch = x.shape[:-2]
    if not x.shape[-1]:
        return SlogdetResult(build.const(np.ones(batch)), build.const(np.zeros(batch)))
    pivots, sign = _pivots(x)
    signs = build.reduce("prod", apply("sign", pivots), (len(batch),))
    logs = build.reduce("sum", apply("log", apply("absolute", pivots)), (len(batch),))
    return SlogdetResult(apply("multiply", sign, signs), logs)


def _pivots(x: Var) -> tuple[Var, Var]:
    """The diagonal of the upper triangular form, with zeros if it is singular, and the sign of the permutation."""
    n = x.shape[-1]
    u, _, sign = eliminated(x, build.const(np.zeros((n, 0))))
    diagonal = build.take(u, np.diagonal(np.arange(u.size).reshape(u.shape), axis1=-2, axis2=-1))
    return diagonal, sign


def solve_triangular(a: Any, b: Any, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False) -> Var:
    """scipy.linalg.solve_triangular."""
    x, y = _square(a), apply("float", operand(b))
    if trans in (1, "T", 2, "C"):
        x, lower = matrix_transpose(x), not lower
    vector = len(y.shape) == 1
    right = build.reshape(y, (*y.shape, 1)) if vector else y
    if right.shape[-2] != x.shape[-1]:
        raise ValueError(f"shapes of a {x.shape} and b {y.shape} are incompatible")
    if not right.size:
        return y
    result = (solve_lower if lower else solve_upper)(x, right, unit_diagonal)
    return build.reshape(result, result.shape[:-1]) if vector else result


def upper_cholesky(a: Any, lower: bool = False) -> Var:
    """scipy.linalg.cholesky, whose factor is the upper one unless `lower` says otherwise."""
    return cholesky(a, upper=not lower)


def cho_factor(a: Any, lower: bool = False) -> tuple[Var, bool]:
    """scipy.linalg.cho_factor; the other triangle is zero."""
    return cholesky(a, upper=not lower), lower


def cho_solve(c_and_lower: Any, b: Any) -> Var:
    """scipy.linalg.cho_solve."""
    factor, lower = c_and_lower
    return solve_triangular(factor, solve_triangular(factor, b, not lower, lower), lower, lower)


SCIPY: dict[str, Callable[..., Any]] = {
    "solve_triangular": solve_triangular,
    "cholesky": upper_cholesky,
    "cho_factor": cho_factor,
    "cho_solve": cho_solve,
}
