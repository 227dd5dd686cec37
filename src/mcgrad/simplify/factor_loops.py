"""Factors of matrices and solutions of their systems as loops over the rows: a step eliminates one.

Rows and columns of triangular factors are kept as steps find them: from the diagonal on, with what follows at the end.
Such a *skewed* array has the steps in front, and all that substitution reads of it in one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mcgrad.ir.build import apply, broadcast, concatenate, const, reduce, transpose
from mcgrad.ir.program import Var
from mcgrad.simplify.steps import (
    absolute,
    add,
    at,
    div,
    equal,
    less,
    moved_down,
    moved_up,
    mul,
    outer,
    picked,
    run,
    sqrt,
    steps_first,
    steps_to,
    sub,
    unit,
    where,
    zeros,
)

ALL, LATER, BEFORE = slice(None), slice(1, None), slice(0, -1)


# --- triangular factors ----------------------------------------------------------------------------------------------
def cholesky(a: Var) -> Var:
    """Return the lower triangular L of L @ L.T = a; the lower triangle of a is read."""
    n = a.shape[-1]

    def step(carries: Sequence[Var], elements: Sequence[Var], same: Sequence[Var]) -> tuple[list[Var], list[Var]]:
        (rest,) = carries
        column = at(rest, ALL, 0)
        column = div(column, sqrt(at(column, slice(0, 1))))
        below = at(column, LATER)
        left = sub(at(rest, LATER, LATER), outer(below, below))
        return [moved_up(left, -2, -1)], [column]

    _, (columns,) = run(step, [a], length=n)
    i, j = np.indices((n, n))
    whole = picked(columns, lambda places: np.moveaxis(places, 0, -1)[..., (i - j) % n, j])
    return where(i >= j, whole, 0.0)


def skewed(tril: Var) -> Var:
    """Return the columns of lower triangular matrices from the diagonal on; zeros follow."""
    n = tril.shape[-1]
    t, i = np.indices((n, n))
    lower = where(np.tri(n, dtype=bool), tril, 0.0)
    return picked(lower, lambda places: np.moveaxis(places[..., (t + i) % n, t], -2, 0))


def substituted(columns: Var, b: Var) -> Var:
    """Return x of tril @ x = b, for skewed columns and right sides (..., n, k), with the rows of x in front."""

    def step(carries: Sequence[Var], elements: Sequence[Var], same: Sequence[Var]) -> tuple[list[Var], list[Var]]:
        (rest,), (column,) = carries, elements
        x = div(at(rest, 0, ALL), at(column, slice(0, 1)))
        left = sub(at(rest, LATER, ALL), outer(at(column, LATER), x))
        return [moved_up(left, -2)], [x]

    _, (rows,) = run(step, [b], [columns])
    return rows


def substituted_back(columns: Var, rows: Var) -> Var:
    """Return x of tril.T @ x = b, for skewed columns and the rows of b in front."""
    n, *batch, k = rows.shape

    def step(carries: Sequence[Var], elements: Sequence[Var], same: Sequence[Var]) -> tuple[list[Var], list[Var]]:
        (known,), (column, row) = carries, elements
        products = mul(unit(at(column, LATER)), at(known, BEFORE, ALL))
        rest = sub(row, reduce("sum", products, (len(batch),)))
        return [moved_down(div(rest, at(column, slice(0, 1))), known, -2)], []

    (found,), _ = run(step, [zeros((*batch, n, k))], [columns, rows], reverse=True)
    return found


def solve_triangular(tril: Var, b: Var, transposed: bool) -> Var:
    """Return x of tril @ x = b, or of tril.T @ x = b."""
    columns = skewed(tril)
    if transposed:
        return substituted_back(columns, steps_first(b, -2))
    return steps_to(substituted(columns, b), -2)


# --- elimination -----------------------------------------------------------------------------------------------------
class Elimination(NamedTuple):
    """What elimination does to matrices, step by step, with the largest element of each column as pivot.

    Parameters
    ----------
    rows : Var of shape (n, ..., n)
        The rows of the upper triangular form, skewed: each begins with its pivot.
    factors, chosen : Vars of shape (n, ..., n)
        What each step subtracts of its row from the rows of the matrix, in their own order; 1 at the row that a step
        has chosen, else 0.
    sign : Var of shape (...)
        That of the permutation.
    """

    rows: Var
    factors: Var
    chosen: Var
    sign: Var


def eliminated(a: Var) -> Elimination:
    """Eliminate; no row moves, and those that were chosen are passed over."""
    *batch, n, _ = a.shape
    axis, places = len(batch), np.arange(n, dtype=float)

    def step(carries: Sequence[Var], elements: Sequence[Var], same: Sequence[Var]) -> tuple[list[Var], list[Var]]:
        left, free, sign = carries
        column = at(left, ALL, 0)
        size = sub(mul(add(absolute(column), 1.0), free), 1.0)
        largest = where(equal(size, unit(reduce("max", size, (axis,)))), places, float(n))
        first = unit(reduce("min", largest, (axis,)))
        found = equal(first, places)
        row = reduce("sum", where(unit(found), left, 0.0), (axis,))
        chosen = apply("float", found)
        free = sub(free, chosen)
        pivot = at(row, slice(0, 1))
        divisor = add(pivot, apply("float", equal(pivot, 0.0)))  # all that a zero divides is zero
        factor = div(mul(column, free), divisor)
        rest = sub(at(left, ALL, LATER), outer(factor, at(row, LATER)))
        passed = reduce("sum", where(less(places, first), free, 0.0), (axis,))
        half = mul(passed, 0.5)
        odd = sub(passed, mul(apply("floor", half), 2.0))
        sign = mul(sign, sub(1.0, mul(odd, 2.0)))
        return [moved_up(rest, -1), free, sign], [row, factor, chosen]

    ones = [broadcast(const(1.0), (*batch, n)), broadcast(const(1.0), tuple(batch))]
    (_, _, sign), (rows, factors, chosen) = run(step, [a, *ones], length=n)
    return Elimination(rows, factors, chosen, sign)


def solve(a: Var, b: Var, transposed: bool) -> Var:
    """Return x of a @ x = b, or of a.T @ x = b."""
    rows, factors, chosen, _ = eliminated(a)
    if not transposed:
        return substituted_back(rows, _rows_eliminated(factors, chosen, b))
    axis = len(b.shape) - 2

    def step(carries: Sequence[Var], elements: Sequence[Var], same: Sequence[Var]) -> tuple[list[Var], list[Var]]:
        (found,), (factor, here, row) = carries, elements
        rest = sub(row, reduce("sum", mul(unit(factor), found), (axis,)))
        return [add(found, outer(here, rest))], []

    (found,), _ = run(step, [zeros(b.shape)], [factors, chosen, substituted(rows, b)], reverse=True)
    return found


def _rows_eliminated(factors: Var, chosen: Var, b: Var) -> Var:
    """Return right sides after elimination, with the rows in front, in the order of the steps."""
    axis = len(b.shape) - 2

    def step(carries: Sequence[Var], elements: Sequence[Var], same: Sequence[Var]) -> tuple[list[Var], list[Var]]:
        (rest,), (factor, here) = carries, elements
        row = reduce("sum", mul(unit(here), rest), (axis,))
        return [sub(rest, outer(factor, row))], [row]

    _, (rows,) = run(step, [b], [factors, chosen])
    return rows


# --- determinants ----------------------------------------------------------------------------------------------------
def det(a: Var) -> Var:
    """Return determinants, products of the pivots."""
    rows, _, _, sign = eliminated(a)
    return mul(sign, reduce("prod", at(rows, 0), (0,)))


def slogdet(a: Var) -> Var:
    """Return the sign and the logarithm of the size of determinants, in a last axis."""
    rows, _, _, sign = eliminated(a)
    pivots = at(rows, 0)
    signs = reduce("prod", apply("sign", pivots), (0,))
    logarithm = reduce("sum", apply("log", absolute(pivots)), (0,))
    return concatenate([unit(mul(sign, signs)), unit(logarithm)], len(sign.shape))


def cofactors(a: Var) -> Var:
    """Return det(a) times the inverse of a.T, also where the last pivot is zero; NaN where another one is.

    Back substitution begins with the product of the other pivots, where a solution would have det(a) / pivot.
    """
    rows, factors, chosen, sign = eliminated(a)
    n, axis = a.shape[-1], len(a.shape) - 2
    right = _rows_eliminated(factors, chosen, broadcast(const(np.eye(n)), a.shape))
    pivots = at(rows, 0)
    others = mul(sign, reduce("prod", picked(pivots, lambda places: places[:-1]), (0,)))
    whole = mul(others, picked(pivots, lambda places: places[-1]))
    is_last = (np.arange(n) == n - 1).reshape(n, *(1 for _ in a.shape[1:]))
    scale = where(is_last, unit(others), unit(whole))
    rows = where(is_last, (np.arange(n) == 0).astype(float), rows)
    found = substituted_back(rows, mul(scale, right))
    return transpose(found, [*range(axis), axis + 1, axis])
