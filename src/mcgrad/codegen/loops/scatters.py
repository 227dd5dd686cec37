"""Outputs of which a draw has a few elements, and zero in all others: scatters, whose moments take no loop over all.

A gradient in a table, of which each draw reads a few elements, is such an output: `where(k == places, x, 0)`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import prod

import numpy as np

from mcgrad.codegen.loops.access import resolve
from mcgrad.ir.build import (
    apply,
    broadcast,
    concatenate,
    const,
    gather,
    is_fill,
    reduce,
    reshape,
    scatter,
    slice_,
    transpose,
)
from mcgrad.ir.interpret import IMPL
from mcgrad.ir.ops import REDUCTIONS
from mcgrad.ir.program import Level, Output, Program, Var

LEAST = 64  # elements of an output, and
SHARE = 8  # times as many as a draw has, from which its moments take less than a loop over all
MOST = 1 << 24  # places that float32 can number

Hits = list[tuple[Var, Var]]  # elements of a draw, and their places in the array, in C order: each of one axis


def with_scatters(program: Program) -> Program:
    """Return the Program with outputs, all of which are zero but for a few elements, as scatters."""
    return Program(tuple(map(_scattered, program.outputs)), program.dtype)


def is_scatter(var: Var) -> bool:
    """Whether an output is a scatter, of which moments are taken."""
    return var.op == "scatter"


def compared(var: Var, args: tuple[Var, ...]) -> Var:
    """Return a scatter as a comparison of all places with all elements."""
    x, places = args
    shape = (var.size, places.size)
    k = broadcast(reshape(apply("floor", places), (1, places.size)), shape)
    hits = apply("equal", k, np.arange(var.size, dtype=float).reshape(-1, 1))
    return reduce("sum", apply("where", hits, broadcast(reshape(x, (1, x.size)), shape), 0.0), (1,))


def _scattered(out: Output) -> Output:
    var = out.var
    if var.op == "scatter" and var.by_draw:
        x, places = (reshape(arg, (arg.size,)) for arg in var.args)
        places = apply("floor", places)
        inside = apply("logical_and", apply("less_equal", 0.0, places), apply("less", places, float(var.size)))
        x, places = (apply("where", inside, each, 0.0) for each in (x, places))
        return replace(out, var=scatter(x, places, var.size))
    if not var.by_draw or not LEAST <= var.size <= MOST:
        return out
    hits = _hits(var)
    if not hits or SHARE * sum(x.size for x, _ in hits) > var.size:
        return out
    elements, places = (concatenate(list(parts), 0) for parts in zip(*hits, strict=True))
    return replace(out, var=scatter(elements, places, var.size))


def _hits(var: Var) -> Hits | None:
    """Return what is not zero in an array; None where that is not known."""
    if var.op == "reshape":
        return _hits(var.args[0])
    if var.op in ("transpose", "pad"):
        hits = _hits(var.args[0])
        return hits and [(x, gather(_moved(var), places)) for x, places in hits]
    if var.op == "where":
        return _of_choice(var, ()) or _of_kept_zeros(var)
    if var.op == "sum" and var.args[0].op == "where":
        return _of_choice(var.args[0], var.attrs.axes)
    if var.op == "negative":
        hits = _hits(var.args[0])
        return hits and [(apply("negative", x), places) for x, places in hits]
    if var.op == "multiply":
        for array, factor in (var.args, var.args[::-1]):
            if not factor.by_draw and (hits := _hits(array)):
                return [(apply("multiply", x, _at(factor, places)), places) for x, places in hits]
    if var.op == "add":
        both = [_hits(arg) for arg in var.args]
        return both[0] + both[1] if both[0] and both[1] else None
    return None


def _of_choice(var: Var, summed: Iterable[int]) -> Hits | None:
    """Return the elements of ``where(k == [0, 1, 2, ...], x, 0)``, summed over some axes: one along that of the places.

    k and x are the same along that axis.
    """
    condition, x, zero = var.args
    equal = condition.args[0] if condition.op == "broadcast" else condition
    if equal.op != "equal" or not is_fill(zero, 0.0):
        return None
    compared = [broadcast(arg, var.shape) for arg in equal.args]
    for k, numbers in (compared, compared[::-1]):
        axis = _counts(numbers)
        if axis is None or axis in summed or not (_is_same(k, axis) and _is_same(x, axis) and k.by_draw):
            continue
        kept = [i for i in range(len(var.shape)) if i not in (axis, *summed)]
        if any(i < axis for i in kept):  # places would not be in C order
            continue
        order = [*summed, *kept]
        shape, rest = tuple(var.shape[i] for i in order), prod(var.shape[i] for i in kept)
        k, x = (transpose(_first(each, axis), [i - (i > axis) for i in order]) for each in (k, x))
        inside = apply("logical_and", apply("less_equal", 0.0, k), apply("less", k, float(var.shape[axis])))
        if resolve(k).base.op != "floor":
            inside = apply("logical_and", inside, apply("equal", apply("floor", k), k))
        further = np.broadcast_to(np.arange(rest, dtype=float).reshape([var.shape[i] for i in kept]), shape)
        places = apply("add", apply("multiply", apply("where", inside, k, 0.0), float(rest)), further)
        x = apply("where", inside, x, 0.0)
        return [(reshape(broadcast(x, shape), (prod(shape),)), reshape(broadcast(places, shape), (prod(shape),)))]
    return None


def _of_kept_zeros(var: Var) -> Hits | None:
    """Return those of ``where(array == 0, 0, array * factor)``, which `differentiate/zeros` makes of a product."""
    condition, zero, product = var.args
    if condition.op != "equal" or product.op != "multiply" or not is_fill(zero, 0.0):
        return None
    for array, factor in (product.args, product.args[::-1]):
        if (
            array in condition.args
            and not factor.by_draw
            and all(is_fill(a, 0.0) for a in condition.args if a is not array)
        ):
            return [(apply("where", apply("equal", x, 0.0), 0.0, apply("multiply", x, _at(factor, places))), places)
                    for x, places in _hits(array) or ()]  # fmt: skip
    return None


def _at(array: Var, places: Var) -> Var:
    return gather(reshape(array, (array.size,)), places)


def _moved(var: Var) -> Var:
    """Return where the elements of its argument are in a transpose or a pad."""
    arg = var.args[0]
    numbers = IMPL[var.op](var, np.arange(1, arg.size + 1).reshape(*arg.shape, 1))[..., 0].ravel()
    return const(np.flatnonzero(numbers)[np.argsort(numbers[numbers > 0])])


def _first(x: Var, axis: int) -> Var:
    """Return an array without an axis along which it is the same."""
    bounds = [(0, 1 if i == axis else n, 1) for i, n in enumerate(x.shape)]
    return reshape(slice_(x, bounds), (*x.shape[:axis], *x.shape[axis + 1 :]))


def _is_same(x: Var, axis: int) -> bool:
    access = resolve(x)
    return access.table is None and access.strides[axis] == 0 and access.base.op not in REDUCTIONS


def _counts(numbers: Var) -> int | None:
    """Return the axis along which an array is 0, 1, 2 ..., where it is a literal, the same along all others."""
    access = resolve(numbers)
    if access.table is not None or not access.base.is_const or access.base.level is not Level.CONSTANT:
        return None
    axes = [i for i, (n, stride) in enumerate(zip(access.shape, access.strides, strict=True)) if n > 1 and stride]
    if len(axes) != 1:
        return None
    (axis,) = axes
    extent, stride = access.shape[axis], access.strides[axis]
    found = np.asarray(access.base.attrs.array).ravel()[access.offset + stride * np.arange(extent)]
    return axis if np.array_equal(found, np.arange(extent)) else None
