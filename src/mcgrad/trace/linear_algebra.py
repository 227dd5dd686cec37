"""numpy.linalg of traced matrices, and scipy.linalg's triangular systems."""

from __future__ import annotations

from collections.abc import Callable
from operator import index
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from mcgrad.ir import build
from mcgrad.ir.build import apply
from mcgrad.ir.program import Var
from mcgrad.trace.operands import operand
from mcgrad.trace.products import matmul
from mcgrad.trace.refuse import refusal
from mcgrad.trace.shaping import concatenate, flip, matrix_transpose, moveaxis, section


class SlogdetResult(NamedTuple):
    """What np.linalg.slogdet returns."""

    sign: Any
    logabsdet: Any


class EighResult(NamedTuple):
    """What np.linalg.eigh returns."""

    eigenvalues: Any
    eigenvectors: Any


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
    return matrix_transpose(_lower(matrix_transpose(x))) if upper else _lower(x)


def _lower(x: Var) -> Var:
    return build.matrices("cholesky", x)


def solve(a: Any, b: Any) -> Var:
    """np.linalg.solve."""
    x, y = _square(a), apply("float", operand(b))
    if not y.shape or y.shape[-2:][0] != x.shape[-1]:
        raise ValueError(f"solve: matrices of shape {x.shape} do not match a right side of shape {y.shape}")
    return _solved("solve", x, y)


def _solved(op: str, x: Var, y: Var, transposed: bool = False) -> Var:
    """Solve systems of a matrix, or of several that match several right sides."""
    right = build.reshape(y, (*y.shape, 1)) if len(y.shape) == 1 else y
    batch, (n, k) = np.broadcast_shapes(x.shape[:-2], right.shape[:-2]), right.shape[-2:]
    if not x.size or not right.size:
        found = build.const(np.zeros((*batch, n, k)))
    elif len(x.shape) == 2 and len(batch):  # of one matrix: its right sides are columns of one
        axes = range(len(batch))
        columns = build.transpose(right, [len(batch), *axes, len(batch) + 1])
        found = build.solve(op, x, build.reshape(columns, (n, right.size // n)), transposed)
        found = build.transpose(build.reshape(found, (n, *batch, k)), [*(i + 1 for i in axes), 0, len(batch) + 1])
    else:
        x, right = (build.broadcast(each, (*batch, *each.shape[-2:])) for each in (x, right))
        found = build.solve(op, x, right, transposed)
    return build.reshape(found, found.shape[:-1]) if len(y.shape) == 1 else found


def inv(a: Any) -> Var:
    """np.linalg.inv."""
    x = _square(a)
    return solve(x, np.eye(x.shape[-1]))


def det(a: Any) -> Var:
    """np.linalg.det: written out up to three rows, else the product of the pivots.

    With a pivot that is zero before the last, the value is zero and the derivative NaN.
    """
    x = _square(a)
    n, batch = x.shape[-1], x.shape[:-2]
    if n == 0 or not x.size:
        return build.const(np.ones(batch))
    return _minor(x, tuple(range(n))) if n <= 3 else build.matrices("det", x)


def _minor(x: Var, columns: tuple[int, ...]) -> Var:
    """The determinant of the last rows of x in these columns, by its first row."""
    row = x.shape[-1] - len(columns)
    terms = [_element(x, row, column) for column in columns]
    if len(columns) > 1:
        minors = [_minor(x, tuple(c for c in columns if c != column)) for column in columns]
        terms = [apply("multiply", term, minor) for term, minor in zip(terms, minors, strict=True)]
    result = terms[0]
    for k, term in enumerate(terms[1:]):
        result = apply("subtract" if k % 2 == 0 else "add", result, term)
    return result


def _element(x: Var, i: int, j: int) -> Var:
    bounds = [*((0, n, 1) for n in x.shape[:-2]), (i, i + 1, 1), (j, j + 1, 1)]
    return build.reshape(build.slice_(x, bounds), x.shape[:-2])


def slogdet(a: Any) -> SlogdetResult:
    """np.linalg.slogdet."""
    x = _square(a)
    if not x.size:
        return SlogdetResult(build.const(np.ones(x.shape[:-2])), build.const(np.zeros(x.shape[:-2])))
    both = build.matrices("slogdet", x)
    axis = len(both.shape) - 1
    sign, logarithm = (build.reshape(section(both, axis, k, k + 1), both.shape[:-1]) for k in (0, 1))
    return SlogdetResult(apply("sign", sign), logarithm)  # which says that it jumps


def matrix_power(a: Any, n: int) -> Var:
    """np.linalg.matrix_power, by repeated squares."""
    x, power = _square(a), index(n)
    if power < 0:
        x, power = inv(x), -power
    result, square = None, x
    while power:
        if power & 1:
            result = square if result is None else matmul(result, square)
        power >>= 1
        if power:
            square = matmul(square, square)
    return build.broadcast(build.const(np.eye(x.shape[-1])), x.shape) if result is None else result


# --- eigenvalues and singular values ---------------------------------------------------------------------------------
def eigvalsh(a: Any, UPLO: str = "L") -> Var:
    """np.linalg.eigvalsh."""
    x = _triangle(a, UPLO)
    return build.matrices("eigvalsh", x) if x.size else build.const(np.zeros(x.shape[:-1]))


def eigh(a: Any, UPLO: str = "L") -> EighResult:
    """np.linalg.eigh, with eigenvectors whose first element that is larger than half of the largest is positive."""
    x = _triangle(a, UPLO)
    return EighResult(eigvalsh(x), build.matrices("eigenvectors", x) if x.size else x)


def _triangle(a: Any, name: str) -> Var:
    """Matrices whose lower triangle is the one to be read."""
    if str(name).upper() not in ("L", "U"):
        raise ValueError("UPLO argument must be 'L' or 'U'")
    return _square(a) if name.upper() == "L" else matrix_transpose(_square(a))


def svdvals(x: Any, /) -> Var:
    """np.linalg.svdvals: the eigenvalues that are not negative of [[0, x], [x.T, 0]]."""
    v = apply("float", operand(x))
    if len(v.shape) < 2:
        raise np.linalg.LinAlgError(f"{len(v.shape)}-dimensional array given. Array must be at least two-dimensional")
    *batch, m, n = v.shape
    if not v.size:
        return build.const(np.zeros((*batch, min(m, n))))
    axis = len(batch)
    rows = [[np.zeros((*batch, m, m)), v], [matrix_transpose(v), np.zeros((*batch, n, n))]]
    values = eigvalsh(concatenate([concatenate(row, axis + 1) for row in rows], axis))
    return flip(section(values, axis, max(m, n), m + n), axis)


def cond(x: Any, p: Any = None) -> Var:
    """np.linalg.cond, of the largest and the smallest singular value, or of norms of the matrix and of its inverse."""
    v = operand(x)
    if p is None or p in (2, -2):
        values = svdvals(v)
        axis, n = len(values.shape) - 1, values.shape[-1]
        first, last = (build.reshape(section(values, axis, k, k + 1), values.shape[:-1]) for k in (0, n - 1))
        return apply("divide", *((last, first) if p == -2 else (first, last)))
    return apply("multiply", *(norm(each, p, (-2, -1)) for each in (v, inv(v))))


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Var:
    """np.linalg.norm: vector norms of every order, and all norms of matrices."""
    v = operand(x)
    axes = tuple(range(len(v.shape))) if axis is None else normalize_axis_tuple(axis, len(v.shape))
    size = apply("absolute", v)
    if ord is None or (ord == "fro" and len(axes) == 2) or (ord == 2 and len(axes) == 1):
        result = apply("sqrt", build.reduce("sum", apply("multiply", v, v), axes))
    elif len(axes) == 1 and ord in (np.inf, -np.inf):
        result = build.reduce("max" if ord > 0 else "min", size, axes)
    elif len(axes) == 1 and ord == 0:
        result = build.reduce("sum", apply("not_equal", v, 0.0), axes)
    elif len(axes) == 1 and not isinstance(ord, str):
        total = build.reduce("sum", apply("power", size, float(ord)), axes)
        result = apply("power", total, 1.0 / ord)
    elif len(axes) == 2 and ord in (1, -1, np.inf, -np.inf):
        summed, compared = axes if abs(ord) == 1 else axes[::-1]
        sums = build.reduce("sum", size, (summed,))
        result = build.reduce("max" if ord > 0 else "min", sums, (compared - (compared > summed),))
    elif len(axes) == 2 and ord in (2, -2, "nuc"):
        values = svdvals(moveaxis(v, axes, (-2, -1)))
        result = build.reduce({2: "max", -2: "min", "nuc": "sum"}[ord], values, (len(values.shape) - 1,))
    else:
        raise refusal(f"np.linalg.norm with ord={ord!r} over {len(axes)} axes",
                      "vectors take any number, matrices None, 'fro', 'nuc', 2, -2, 1, -1, inf and -inf")  # fmt: skip
    return build.reshape(result, tuple(1 if i in axes else n for i, n in enumerate(v.shape))) if keepdims else result


# --- scipy.linalg ----------------------------------------------------------------------------------------------------
def solve_triangular(a: Any, b: Any, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False) -> Var:
    """scipy.linalg.solve_triangular."""
    x, y = _square(a), apply("float", operand(b))
    if y.shape[-2:][0] != x.shape[-1]:
        raise ValueError(f"shapes of a {x.shape} and b {y.shape} are incompatible")
    if unit_diagonal:
        x = apply("where", np.eye(x.shape[-1], dtype=bool), 1.0, x)
    transposed = trans in (1, "T", 2, "C")
    return _solved("solve_triangular", x if lower else matrix_transpose(x), y, transposed if lower else not transposed)


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
