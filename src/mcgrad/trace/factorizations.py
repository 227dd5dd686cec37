"""Factorisations of small matrices: Cholesky's, and elimination with pivots; solutions of triangular systems.

Up to `SMALL` rows each element is an array of its own, which stays in registers. Above, rows are taken in blocks, whose
elements are such, and the rest is updated by a few equations of arrays: O(n) equations for n rows. Leading axes are
batches. Derivatives are those of the steps (Murray, "Differentiation of the Cholesky decomposition", 2016; Giles,
"Collected matrix derivative results", 2008): they need no inverse.

What has no factorisation, as a matrix that is not positive definite, gives NaN or infinities, by which its draw is
counted among those that are not finite.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from mcgrad.ir import build
from mcgrad.ir.build import apply
from mcgrad.ir.program import Shape, Var

SMALL = 5  # rows up to which elements are arrays of their own
BLOCK = 4  # rows that are taken at once where there are more

Rows = list[list[Var]]


# --- elements and packed columns -------------------------------------------------------------------------------------
def elements(x: Var) -> Rows:
    """Return the elements of matrices, each of the shape of the batch."""
    rows, columns = x.shape[-2:]
    return [[at(x, (i, j)) for j in range(columns)] for i in range(rows)]


def at(x: Var, index: tuple[int | slice, ...]) -> Var:
    """Return a part of the last axes."""
    batch = len(x.shape) - len(index)
    bounds, shape = [(0, n, 1) for n in x.shape[:batch]], list(x.shape[:batch])
    for k, n in zip(index, x.shape[batch:], strict=True):
        if isinstance(k, slice):
            start, stop, step = k.indices(n)
            bounds.append((start, max(start, stop), step))
            shape.append(len(range(start, stop, step)))
        else:
            bounds.append((k, k + 1, 1))
    return build.reshape(build.slice_(x, bounds), tuple(shape))


def joined(parts: list[Var], shape: Shape, more: Sequence[Var] = ()) -> Var:
    """Return arrays of a batch as the elements of one array, in C order, in last axes of this shape.

    `more` are arrays with one axis more, which follow where the shape is of one axis.
    """
    batch = np.broadcast_shapes(*(part.shape for part in parts))
    rows = build.concatenate([unit(build.broadcast(part, batch)) for part in parts], len(batch))
    return (
        build.concatenate([build.reshape(rows, (*batch, *shape)), *more], len(batch))
        if more
        else build.reshape(rows, (*batch, *shape))
    )


def picked(x: Var, index: np.ndarray[Any, np.dtype[np.int64]]) -> Var:
    """Return elements of the last axis, by an array of their numbers."""
    places = np.arange(x.size).reshape(x.shape)
    return build.take(x, places[..., index])


def unit(x: Var, axis: int = -1) -> Var:
    """Return the array with an axis of extent 1."""
    shape = list(x.shape)
    shape.insert(len(shape) + 1 + axis if axis < 0 else axis, 1)
    return build.reshape(x, tuple(shape))


def less_products(x: Var, *pairs: tuple[Var, Var]) -> Var:
    """Subtract products."""
    return reduce(lambda rest, pair: apply("subtract", rest, apply("multiply", *pair)), pairs, x)


# --- Cholesky --------------------------------------------------------------------------------------------------------
def cholesky(a: Var) -> Var:
    """Return the lower triangular L of L @ L.T = a; the lower triangle of a is read.

    Block by block: the triangle on the diagonal, the rows below it, and what is left of a, of which the lower triangle
    alone is kept, packed.
    """
    n = a.shape[-1]
    rest = picked(build.reshape(a, (*a.shape[:-2], n * n)), np.ravel_multi_index(np.tril_indices(n), (n, n)))
    columns, m = [], n
    while m:
        size = m if m <= SMALL else BLOCK
        rows, cols = np.tril_indices(m)
        of_column = [picked(rest, np.flatnonzero(cols == j)) for j in range(size)]
        block = _triangle([[at(of_column[j], (i - j,)) for j in range(i + 1)] for i in range(size)])
        below = [at(column, (slice(size - j, m - j),)) for j, column in enumerate(of_column)]
        panel = _panel(block, below) if m > size else []
        columns += [joined([block[i][j] for i in range(j, size)], (size - j,), panel[j : j + 1]) for j in range(size)]
        left = np.flatnonzero(cols >= size)
        if left.size:
            products = [(picked(x, rows[left] - size), picked(x, cols[left] - size)) for x in panel]
            rest = less_products(picked(rest, left), *products)
        m -= size
    zero = build.broadcast(build.const(0.0), (*a.shape[:-2], 1))
    packed = build.concatenate([*columns, zero], len(a.shape) - 2)
    place = np.full((n, n), n * (n + 1) // 2)
    place.T[np.triu_indices(n)] = np.arange(n * (n + 1) // 2)
    return picked(packed, place)


def _triangle(x: Rows) -> Rows:
    """Factor the elements of a lower triangle."""
    tril: Rows = []
    for i, row in enumerate(x):
        tril.append([])
        for j, element in enumerate(row):
            rest = less_products(element, *zip(tril[i], tril[j][:j], strict=i != j))
            tril[i].append(apply("sqrt", rest) if i == j else apply("divide", rest, tril[j][j]))
    return tril


def _panel(block: Rows, below: list[Var]) -> list[Var]:
    """The columns below a block of the factor: what times its transpose is what stood there."""
    panel: list[Var] = []
    for row, column in zip(block, below, strict=True):
        rest = less_products(column, *((x, unit(y)) for x, y in zip(panel, row, strict=False)))
        panel.append(apply("divide", rest, unit(row[-1])))
    return panel


# --- triangular systems ----------------------------------------------------------------------------------------------
def solve_lower(tril: Var, b: Var, unit_diagonal: bool = False) -> Var:
    """Return x of tril @ x = b, for b of shape (..., n, k), by forward substitution of blocks of rows."""
    n = tril.shape[-1]
    every, rows, rest, start = slice(None), [], b, 0
    while start < n:
        size = n - start if n - start <= SMALL else BLOCK
        stop = start + size
        block = elements(at(tril, (slice(start, stop), slice(start, stop))))
        x: list[Var] = []
        for i in range(size):
            row = less_products(at(rest, (i, every)), *((unit(block[i][j]), x[j]) for j in range(i)))
            x.append(row if unit_diagonal else apply("divide", row, unit(block[i][i])))
        if stop < n:
            columns = [unit(at(tril, (slice(stop, n), j))) for j in range(start, stop)]
            products = [(column, unit(row, -2)) for column, row in zip(columns, x, strict=True)]
            rest = less_products(at(rest, (slice(size, n - start), every)), *products)
        rows += x
        start = stop
    return stacked(rows)


def solve_upper(triu: Var, b: Var, unit_diagonal: bool = False) -> Var:
    """Return x of triu @ x = b, by back substitution: the same from the other end."""
    last = len(triu.shape) - 1
    flipped = build.flip(triu, (last - 1, last))
    x = solve_lower(flipped, build.flip(b, (len(b.shape) - 2,)), unit_diagonal)
    return build.flip(x, (len(x.shape) - 2,))


def stacked(rows: list[Var]) -> Var:
    """Return arrays (..., k) as the rows of (..., n, k)."""
    shape = np.broadcast_shapes(*(row.shape for row in rows))
    return build.concatenate([unit(build.broadcast(row, shape), -2) for row in rows], len(shape) - 1)


# --- elimination -----------------------------------------------------------------------------------------------------
def eliminated(a: Var, b: Var) -> tuple[Var, Var, Var]:
    """Bring a @ x = b into upper triangular form, by rows with the largest pivot of each column.

    Parameters
    ----------
    a : Var of shape (..., n, n)
    b : Var of shape (..., n, k)

    Returns
    -------
    u, c, sign : Vars of shapes (..., n, n), (..., n, k) and (...)
        With u @ x = c, u upper triangular where it is read, and the sign of the permutation of rows. Which row has the
        largest pivot has no derivative: the solution does not depend on it.
    """
    return (_small_elimination if a.shape[-1] <= SMALL else _long_elimination)(a, b)


def _small_elimination(a: Var, b: Var) -> tuple[Var, Var, Var]:
    n, k = a.shape[-1], b.shape[-1]
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    rows, right = elements(a), [at(b, (i, slice(None))) for i in range(n)]
    sign = build.const(np.ones(batch))
    for j in range(n):
        for i in range(j + 1, n):
            swap = apply("stop", apply("float", apply("less", _size(rows[j][j]), _size(rows[i][j]))))
            keep = apply("subtract", 1.0, swap)
            for c in range(j, n):
                rows[j][c], rows[i][c] = _swapped(rows[j][c], rows[i][c], swap, keep)
            right[j], right[i] = _swapped(right[j], right[i], unit(swap), unit(keep))
            sign = apply("multiply", sign, apply("subtract", keep, swap))
        divisor = _nonzero(rows[j][j])
        for i in range(j + 1, n):
            factor = apply("divide", rows[i][j], divisor)
            rows[i] = [less_products(x, (factor, y)) if c > j else x
                       for c, (x, y) in enumerate(zip(rows[i], rows[j], strict=True))]  # fmt: skip
            right[i] = less_products(right[i], (unit(factor), right[j]))
    u = joined([x for row in rows for x in row], (n, n))
    return u, stacked(right) if k else build.broadcast(b, (*batch, n, 0)), sign


def _nonzero(pivot: Var) -> Var:
    """A pivot that is zero as 1: all that it divides is zero, and the zero stays on the diagonal."""
    return apply("add", pivot, apply("stop", apply("float", apply("equal", pivot, 0.0))))


def _size(x: Var) -> Var:
    return apply("absolute", apply("stop", x))


def _swapped(x: Var, y: Var, swap: Var, keep: Var) -> tuple[Var, Var]:
    """X and y, or y and x: by products with 0 and 1, which keep every digit, and zeros of their derivatives."""
    first = apply("add", apply("multiply", keep, x), apply("multiply", swap, y))
    return first, apply("add", apply("multiply", keep, y), apply("multiply", swap, x))


def _long_elimination(a: Var, b: Var) -> tuple[Var, Var, Var]:
    n = a.shape[-1]
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    axis = len(batch)
    both = [build.broadcast(x, (*batch, *x.shape[-2:])) for x in (a, b)]
    rest, sign = build.concatenate(both, axis + 1), build.const(np.ones(batch))
    rows: list[Var] = []
    for m in range(n, 0, -1):
        chosen = _largest(at(rest, (slice(None), 0)), axis)  # 1 in the row of the pivot, else 0
        first, width = at(rest, (0, slice(None))), rest.shape[-1]
        pivots = build.reduce("sum", apply("multiply", unit(chosen), rest), (axis,))
        rows.append(build.pad(pivots, [*((0, 0, 0) for _ in batch), (n - m, 0, 0)]))
        if m == 1:
            break
        others, taken = (at(x, (slice(1, m), slice(None))) for x in (rest, unit(chosen)))
        others = apply("add", apply("multiply", apply("subtract", 1.0, taken), others),
                       apply("multiply", taken, unit(first, -2)))  # fmt: skip
        sign = apply("multiply", sign, apply("subtract", apply("multiply", at(chosen, (0,)), 2.0), 1.0))
        divisor = unit(_nonzero(at(pivots, (slice(0, 1),))), -2)
        factor = apply("divide", at(others, (slice(None), slice(0, 1))), divisor)
        later = slice(1, width)
        rest = less_products(at(others, (slice(None), later)), (factor, unit(at(pivots, (later,)), -2)))
    whole = stacked(rows)
    return at(whole, (slice(None), slice(0, n))), at(whole, (slice(None), slice(n, None))), sign


def _largest(x: Var, axis: int) -> Var:
    """1 where the first of the largest elements is, else 0."""
    size, places = _size(x), np.arange(x.shape[axis], dtype=float)
    top = unit(build.reduce("max", size, (axis,)))
    first = unit(build.reduce("min", apply("where", apply("equal", size, top), places, float(len(places))), (axis,)))
    return apply("stop", apply("float", apply("equal", first, places)))
