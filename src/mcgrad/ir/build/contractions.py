"""Equations that combine elements: reductions, scans, products, functions of matrices, calls of native functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mcgrad.ir import attributes
from mcgrad.ir.build.elementwise import apply, broadcast, fill_value
from mcgrad.ir.build.equations import make
from mcgrad.ir.build.leaves import const
from mcgrad.ir.build.structural import reshape
from mcgrad.ir.program import Shape, Var


def reduce(op: str, x: Var, axes: Sequence[int]) -> Var:
    """Reduce over axes with sum, prod, max or min."""
    x = apply("float", x)
    axes = tuple(sorted(int(a) % len(x.shape) for a in axes))
    shape = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    extent = int(np.prod([x.shape[a] for a in axes], initial=1))
    if extent == 1:
        return reshape(x, shape)
    if op == "sum" and x.op == "broadcast":
        value = fill_value(x)
        if value is not None:
            return const(np.full(shape, value * extent))
    return make(op, (x,), attributes.Reduce(axes))


def scan(op: str, x: Var, axis: int, reverse: bool = False) -> Var:
    """Accumulate along an axis with cumsum or cumprod."""
    x = apply("float", x)
    return x if x.shape[axis] == 1 else make(op, (x,), attributes.Scan(int(axis) % len(x.shape), bool(reverse)))


def linear_recurrence(a: Var, b: Var, axis: int, reverse: bool = False) -> Var:
    """y[k] = a[k] * y[k-1] + b[k], with y[-1] = 0 (from the other end if reverse)."""
    shape = np.broadcast_shapes(a.shape, b.shape)
    scan = attributes.Scan(int(axis) % len(shape), bool(reverse))
    return make("linear_recurrence", (broadcast(a, shape), broadcast(b, shape)), scan)


def einsum(subscripts: str, *args: Var) -> Var:
    """Contract one or two operands; each label once in an operand, lower or upper case letters but Z."""
    inputs, output = subscripts.split("->")
    return make("einsum", args, attributes.Einsum(tuple(inputs.split(",")), output))


def matrices(op: str, *args: Var) -> Var:
    """Apply a function of the matrices in the last two axes."""
    return make(op, args)


def solve(op: str, a: Var, b: Var, transposed: bool = False) -> Var:
    """Solve systems of a, or of its transposes, with right sides (..., n, k): by "solve" or "solve_triangular"."""
    return make(op, (a, b), attributes.Solve(bool(transposed)))


def native(op: str, function: Any, args: Sequence[Var], shape: Shape) -> Var:
    """Call a user's Numba function on one draw."""
    return make(op, tuple(args), attributes.Call(function, tuple(int(n) for n in shape)))
