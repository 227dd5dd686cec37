"""Eigenvalues and eigenvectors of symmetric matrices: Householder's reduction, then QR steps with Wilkinson's shifts.

The reduction to a tridiagonal matrix is a loop over its columns. A QR step is a loop over the rows; a fixed number of
them follow each other. With these shifts they converge (Wilkinson, "Global convergence of tridiagonal QR algorithm
with origin shifts", 1968), in practice in 2 steps for an eigenvalue; there are 3, and some more. A matrix for which
they were not enough would give NaN, as one that is not finite does. Elements beside the diagonal that are below a unit
in the last place of the largest element count as zero, so errors are a few such units (Parlett, "The Symmetric
Eigenvalue Problem", 1998, chapters 7 and 8). Jacobi's rotations, of all pairs at a time in turn, need more work, and
many more of them where eigenvalues are close together, as those of smooth kernels are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcgrad.ir.attributes import LETTERS
from mcgrad.ir.build import apply, broadcast, concatenate, const, einsum, reduce, reshape
from mcgrad.ir.program import Var
from mcgrad.simplify.steps import (
    absolute,
    add,
    at,
    div,
    equal,
    hypot,
    less,
    moved_up,
    mul,
    neg,
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

ALL, FIRST, LATER, BEFORE = slice(None), slice(0, 1), slice(1, None), slice(0, -1)
STEPS, MORE = 3, 6  # QR steps: so many for each row, and more


def eigvalsh(a: Var) -> Var:
    """Return eigenvalues in increasing order; the lower triangle of a is read."""
    values, _ = _decomposed(a)
    chosen = where(_at_rank(values), unit(values), 0.0)
    return add(reduce("sum", chosen, (len(values.shape) - 1,)), unit(_nothing(values)))


def eigenvectors(a: Var) -> Var:
    """Return eigenvectors as columns, in the order of the eigenvalues, with the signs of `ir.matrices`."""
    values, rows = _decomposed(a)
    axis, n = len(values.shape) - 1, values.shape[-1]
    batch = LETTERS[3 : 3 + axis]
    here = apply("float", _at_rank(values))
    vectors = einsum(f"a{batch}b,{batch}ac->{batch}bc", rows, here)
    size = absolute(vectors)
    large = less(mul(unit(reduce("max", size, (axis,)), -2), 0.5), size)
    places = np.arange(n, dtype=float)[:, None]
    first = reduce("min", where(large, places, float(n)), (axis,))
    chosen = where(equal(unit(first, -2), places), vectors, 0.0)
    signs = add(apply("sign", reduce("sum", chosen, (axis,))), unit(_nothing(values)))
    return mul(vectors, unit(signs, -2))


def _at_rank(values: Var) -> Var:
    """Where the rank of a value, in the last axis but one, is the place along the last axis."""
    axis, n = len(values.shape) - 1, values.shape[-1]
    own, others = unit(values), unit(values, -2)
    shape = (*values.shape, n)
    own, others = broadcast(own, shape), broadcast(others, shape)
    before = apply("logical_and", equal(others, own), np.tri(n, k=-1, dtype=bool))
    rank = reduce("sum", apply("logical_or", less(others, own), before), (axis + 1,))
    return equal(unit(rank), np.arange(n, dtype=float))


def _nothing(values: Var) -> Var:
    """Zero; NaN if a value is not finite."""
    return mul(reduce("sum", values, (len(values.shape) - 1,)), 0.0)


def _decomposed(a: Var) -> tuple[Var, Var]:
    """Eigenvalues in no order, and eigenvectors as rows along a first axis."""
    n = a.shape[-1]
    i, j = np.indices((n, n))
    whole = picked(a, lambda places: places[..., np.maximum(i, j), np.minimum(i, j)])
    diagonal, beside, rows = _tridiagonal(whole)
    return _diagonal(diagonal, beside, rows)


def _tridiagonal(a: Var) -> tuple[Var, Var, Var]:
    """Return the diagonal, what is beside it, with a zero at the end, and the transformation's columns in front."""
    *batch, n, _ = a.shape
    axis = len(batch)

    def step(carries: Sequence[Var], elements: Sequence[Var], same: Sequence[Var]) -> tuple[list[Var], list[Var]]:
        left, basis = carries
        column = at(left, LATER, 0)
        scale = unit(reduce("max", absolute(column), (axis,)))
        divisor = where(equal(scale, 0.0), 1.0, scale)
        x = div(column, divisor)
        size = unit(sqrt(reduce("sum", mul(x, x), (axis,))))
        first = at(x, FIRST)
        signed = where(less(first, 0.0), neg(size), size)
        reflector = concatenate([add(first, signed), at(x, LATER)], axis)
        square = mul(size, add(size, absolute(first)))
        beta = div(apply("float", apply("not_equal", square, 0.0)),
                     add(square, apply("float", equal(square, 0.0))))  # fmt: skip
        rest = at(left, LATER, LATER)
        image = reduce("sum", mul(rest, unit(reflector, -2)), (axis + 1,))
        image = mul(image, beta)
        along = unit(reduce("sum", mul(image, reflector), (axis,)))
        image = sub(image, mul(mul(along, mul(beta, 0.5)), reflector))
        rest = sub(sub(rest, outer(reflector, image)), outer(image, reflector))
        others = at(basis, ALL, LATER)
        turned = reduce("sum", mul(others, unit(reflector, -2)), (axis + 1,))
        others = sub(others, outer(mul(turned, beta), reflector))
        beside = reshape(neg(mul(signed, scale)), tuple(batch))
        return [moved_up(rest, -2, -1), moved_up(others, -1)], [at(left, 0, 0), beside, at(basis, ALL, 0)]

    identity = broadcast(const(np.eye(n)), a.shape)
    _, (diagonal, beside, rows) = run(step, [a, identity], length=n)
    return steps_to(diagonal, -1), steps_to(beside, -1), rows


def _diagonal(diagonal: Var, beside: Var, rows: Var) -> tuple[Var, Var]:
    """Bring a tridiagonal matrix into diagonal form, by QR steps that rotate the rows, too."""
    *batch, n = diagonal.shape
    axis, places = len(batch), np.arange(n, dtype=float)
    norm = add(*(reduce("max", absolute(x), (axis,)) for x in (diagonal, beside)))
    unit_of_norm = sub(apply("nextafter", norm, np.inf), norm)

    def split(beside: Var, least: Var) -> Var:
        return where(apply("less_equal", absolute(beside), unit(least)), 0.0, beside)

    def step(carries: Sequence[Var], elements: Sequence[Var], same: Sequence[Var]) -> tuple[list[Var], list[Var]]:
        (d, e, rows), (least,) = carries, same
        e = split(e, least)
        end = reduce("max", where(equal(e, 0.0), 0.0, places), (axis,))
        here, after = (equal(unit(x), places) for x in (end, add(end, 1.0)))
        upper, between, lower = (reduce("sum", where(at_end, x, 0.0), (axis,))
                                 for at_end, x in ((here, d), (here, e), (after, d)))  # fmt: skip
        shift = _wilkinson(upper, between, lower)
        d_next, e_before, turned = _qr_step(d, e, rows, shift)
        return [d_next, e_before, turned], []

    (d, e, rows), _ = run(step, [diagonal, beside, rows], same=[unit_of_norm], length=STEPS * n + MORE)
    left = reduce("max", absolute(split(e, unit_of_norm)), (axis,))
    return where(unit(equal(left, 0.0)), d, np.nan), rows


def _wilkinson(upper: Var, between: Var, lower: Var) -> Var:
    """The eigenvalue of a matrix of two rows that is nearer to its last element."""
    half = mul(sub(upper, lower), 0.5)
    root = hypot(half, between)
    divisor = add(half, where(less(half, 0.0), neg(root), root))
    is_zero = equal(divisor, 0.0)
    ratio = div(between, where(is_zero, 1.0, divisor))
    return sub(lower, mul(ratio, between))


def _qr_step(d: Var, e: Var, rows: Var, shift: Var) -> tuple[Var, Var, Var]:
    """T - shift = Q R, then R Q + shift: by rotations of two neighbouring rows, from the first to the last."""
    batch = d.shape[:-1]

    def step(carries: Sequence[Var], elements: Sequence[Var], same: Sequence[Var]) -> tuple[list[Var], list[Var]]:
        (pivot, cosine, sine, row), (own, beside, following, next_row), (shift,) = carries, elements, same
        length = hypot(pivot, beside)
        none = equal(length, 0.0)
        divisor = where(none, 1.0, length)
        c = where(none, 1.0, div(pivot, divisor))
        s = div(beside, divisor)
        above, moved = mul(cosine, beside), sub(following, shift)
        upper = add(mul(c, above), mul(s, moved))
        value = add(mul(mul(cosine, c), length), mul(s, upper))
        alone = apply("logical_and", equal(beside, 0.0), equal(sine, 0.0))
        value = where(alone, own, add(value, shift))
        pivot = sub(mul(c, moved), mul(s, above))
        cs, sn = unit(c), unit(s)
        turned = add(mul(cs, row), mul(sn, next_row))
        row = sub(mul(cs, next_row), mul(sn, row))
        return [pivot, c, s, row], [value, mul(sine, length), turned]

    ones = broadcast(const(1.0), batch)
    first = picked(rows, lambda places: places[0])
    others = picked(rows, lambda places: np.roll(places, -1, 0))
    d_steps, e_steps = steps_first(d, -1), steps_first(e, -1)
    following = picked(d_steps, lambda places: np.roll(places, -1, 0))
    start = [sub(picked(d_steps, lambda places: places[0]), shift), ones, zeros(batch), first]
    _, (values, before, turned) = run(step, start, [d_steps, e_steps, following, others], [shift])
    later = concatenate([picked(before, lambda places: places[1:]), zeros((1, *batch))], 0)
    return steps_to(values, -1), steps_to(later, -1), turned
