"""Factors of matrices of a few rows, and solutions of their systems: each element is an array of its own.

So it stays in a register. Of larger matrices these would be too many equations: `factor_loops` has loops for them.
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from mcgrad.ir import build
from mcgrad.ir.build import apply, broadcast, concatenate, const, reshape
from mcgrad.ir.program import Shape, Var
from mcgrad.simplify.steps import (
    absolute,
    add,
    at,
    div,
    equal,
    hypot,
    less,
    mul,
    neg,
    sqrt,
    sub,
    unit,
    where,
)

Rows = list[list[Var]]


def elements(x: Var) -> Rows:
    """Return the elements of matrices, each of the shape of the batch."""
    rows, columns = x.shape[-2:]
    return [[at(x, i, j) for j in range(columns)] for i in range(rows)]


def joined(parts: list[Var], shape: Shape) -> Var:
    """Return arrays of a batch as the elements of one array, in C order, in last axes of this shape."""
    batch = parts[0].shape
    return reshape(concatenate([unit(part) for part in parts], len(batch)), (*batch, *shape))


def less_products(x: Var, *pairs: tuple[Var, Var]) -> Var:
    """Subtract products."""
    return reduce(lambda rest, pair: sub(rest, mul(*pair)), pairs, x)


# --- triangular factors ----------------------------------------------------------------------------------------------
def cholesky(a: Var) -> Var:
    """Return the lower triangular L of L @ L.T = a; the lower triangle of a is read."""
    n = a.shape[-1]
    tril: Rows = []
    for i in range(n):
        tril.append([])
        for j in range(i + 1):
            rest = less_products(at(a, i, j), *zip(tril[i], tril[j][:j], strict=i != j))
            tril[i].append(sqrt(rest) if i == j else div(rest, tril[j][j]))
    zero = broadcast(const(0.0), a.shape[:-2])
    return joined([tril[i][j] if j <= i else zero for i in range(n) for j in range(n)], (n, n))


def solve_triangular(tril: Var, b: Var, transposed: bool) -> Var:
    """Return x of tril @ x = b, or of tril.T @ x = b, by substitution."""
    n, factor = tril.shape[-1], elements(tril)
    x: dict[int, Var] = {}
    for i in reversed(range(n)) if transposed else range(n):
        products = ((unit(factor[j][i] if transposed else factor[i][j]), x[j]) for j in x)
        x[i] = div(less_products(at(b, i, slice(None)), *products), unit(factor[i][i]))
    return stacked([x[i] for i in range(n)])


def stacked(rows: list[Var]) -> Var:
    """Return arrays (..., k) as the rows of (..., n, k)."""
    return concatenate([unit(row, -2) for row in rows], len(rows[0].shape) - 1)


# --- elimination -----------------------------------------------------------------------------------------------------
def eliminated(a: Var, b: Var | None) -> tuple[Rows, list[Var], Var]:
    """Bring a @ x = b into upper triangular form, by rows with the largest pivot of each column.

    Returns
    -------
    u, c, sign
        The elements of u and the rows of c, of u @ x = c, and the sign of the permutation of rows.
    """
    n, batch = a.shape[-1], a.shape[:-2]
    rows, right = elements(a), [] if b is None else [at(b, i, slice(None)) for i in range(n)]
    sign = broadcast(const(1.0), batch)
    for j in range(n):
        for i in range(j + 1, n):
            swap = less(absolute(rows[j][j]), absolute(rows[i][j]))
            for c in range(j, n):
                rows[j][c], rows[i][c] = _swapped(rows[j][c], rows[i][c], swap)
            if right:
                right[j], right[i] = _swapped(right[j], right[i], unit(swap))
            sign = where(swap, neg(sign), sign)
        divisor = add(rows[j][j], apply("float", equal(rows[j][j], 0.0)))  # 0 / 0 is 0 there
        for i in range(j + 1, n):
            factor = div(rows[i][j], divisor)
            rows[i] = [less_products(x, (factor, y)) if c > j else x
                       for c, (x, y) in enumerate(zip(rows[i], rows[j], strict=True))]  # fmt: skip
            if right:
                right[i] = less_products(right[i], (unit(factor), right[j]))
    return rows, right, sign


def _swapped(x: Var, y: Var, swap: Var) -> tuple[Var, Var]:
    return where(swap, y, x), where(swap, x, y)


def solve(a: Var, b: Var, transposed: bool) -> Var:
    """Return x of a @ x = b, or of a.T @ x = b."""
    last = len(a.shape) - 1
    u, c, _ = eliminated(build.transpose(a, [*range(last - 1), last, last - 1]) if transposed else a, b)
    x: dict[int, Var] = {}
    for i in reversed(range(a.shape[-1])):
        x[i] = div(less_products(c[i], *((unit(u[i][j]), x[j]) for j in x)), unit(u[i][i]))
    return stacked([x[i] for i in range(a.shape[-1])])


def slogdet(a: Var) -> Var:
    """Return the sign and the logarithm of the size of determinants, in a last axis."""
    u, _, sign = eliminated(a, None)
    pivots = [u[i][i] for i in range(a.shape[-1])]
    sign = reduce(lambda x, y: mul(x, apply("sign", y)), pivots, sign)
    logarithm = reduce(lambda x, y: add(x, y), [apply("log", absolute(x)) for x in pivots])
    return joined([sign, logarithm], (2,))


# --- eigenvalues of two rows -----------------------------------------------------------------------------------------
def eigvalsh(a: Var) -> Var:
    """Return the two eigenvalues in increasing order: their mean, less and more half of their difference."""
    if a.shape[-1] == 1:
        return reshape(a, a.shape[:-1])
    (x, _), (y, z) = elements(a)
    mean = mul(add(x, z), 0.5)
    half = hypot(mul(sub(x, z), 0.5), y)
    return joined([sub(mean, half), add(mean, half)], (2,))


def eigenvectors(a: Var) -> Var:
    """Return the two eigenvectors as columns, by half of the angle of (x - z, 2 y), with the signs of `ir.matrices`."""
    if a.shape[-1] == 1:
        return where(apply("isfinite", a), 1.0, np.nan)
    (x, _), (y, z) = elements(a)
    angle = mul(apply("arctan2", mul(y, 2.0), sub(x, z)), 0.5)
    c, s = apply("cos", angle), apply("sin", angle)
    half = mul(apply("maximum", c, absolute(s)), 0.5)
    sign = where(less(s, 0.0), -1.0, 1.0)
    of_smaller = where(less(half, absolute(s)), neg(sign), 1.0)
    of_larger = where(less(half, c), 1.0, sign)  # c is not negative
    smaller = (mul(of_smaller, x) for x in (neg(s), c))
    larger = (mul(of_larger, x) for x in (c, s))
    return joined([x for row in zip(smaller, larger, strict=True) for x in row], (2, 2))
