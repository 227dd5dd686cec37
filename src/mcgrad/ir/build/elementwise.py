"""Elementwise equations, with what holds of them for every float."""

from __future__ import annotations

import numpy as np

from mcgrad.ir import attributes
from mcgrad.ir.build.equations import make
from mcgrad.ir.build.leaves import Operand, as_var, const
from mcgrad.ir.program import Shape, Var


def apply(op: str, *operands: Operand) -> Var:
    """Apply an elementwise op with NumPy's broadcasting and promotion of booleans."""
    args = [as_var(x) for x in operands]
    if op.startswith("logical_"):
        args = [x if x.kind == "bool" else apply("not_equal", x, 0.0) for x in args]
    elif op == "where":
        condition = args[0] if args[0].kind == "bool" else apply("not_equal", args[0], 0.0)
        args = [condition, *same_kind(args[1:])]
    elif op == "float":
        if args[0].kind == "float":
            return args[0]
    else:
        args = [apply("float", x) if x.kind == "bool" else x for x in args]
    shapes = [x.shape for x in args]
    shape = shapes[0] if shapes.count(shapes[0]) == len(shapes) else np.broadcast_shapes(*shapes)
    simpler = _algebra(op, args)
    if simpler is not None:
        return broadcast(simpler, shape)
    return make(op, tuple(broadcast(x, shape) for x in args))


def broadcast(x: Var, shape: Shape) -> Var:
    """Repeat along new leading axes and axes of extent 1, as np.broadcast_to does."""
    if x.shape == (shape := tuple(shape)):
        return x
    shape = tuple(int(n) for n in shape)
    if x.op == "broadcast" and np.broadcast_shapes(x.args[0].shape, shape) == shape:
        x = x.args[0]
    return make("broadcast", (x,), attributes.Broadcast(shape))


def same_kind(args: list[Var]) -> list[Var]:
    """Make booleans floats where not all are booleans."""
    return args if len({x.kind for x in args}) == 1 else [apply("float", x) for x in args]


def is_fill(x: Var, value: float) -> bool:
    """Whether every element of x is this literal number (and of the same sign, for zero)."""
    while x.op == "broadcast":
        x = x.args[0]
    return x.is_const and x.kind == "float" and x.attrs.array.size > 0 and bool(np.all(x.attrs.array == value))


def fill_value(x: Var) -> float | None:
    """Return the one literal number that fills x, or None."""
    while x.op == "broadcast":
        x = x.args[0]
    if not x.is_const or x.kind != "float" or x.attrs.array.size == 0:
        return None
    first = float(x.attrs.array.flat[0])
    return first if x.attrs.array.size == 1 or bool(np.all(x.attrs.array == first)) else None


def _algebra(op: str, args: list[Var]) -> Var | None:
    """Identities that hold for every float, NaN and infinities included, without a rounding more."""
    if op in ("add", "multiply"):
        unit = 0.0 if op == "add" else 1.0
        for x, y in (args, args[::-1]):
            if is_fill(y, unit):
                return x
            if op == "multiply" and is_fill(y, -1.0):
                return apply("negative", x)
    if op == "where":
        condition = args[0]
        while condition.op == "broadcast":
            condition = condition.args[0]
        if condition.is_const and condition.size and len(np.unique(condition.attrs.array)) == 1:
            return args[1] if condition.attrs.array.flat[0] else args[2]
    if op == "add" and args[0].op == args[1].op == "where":
        found = _halves(*args) or _halves(*args[::-1])
        if found is not None:
            return found
    if op == "add" and args[1].op == "negative":
        return apply("subtract", args[0], args[1].args[0])
    if op == "subtract" and is_fill(args[1], 0.0):
        return args[0]
    if op == "subtract" and is_fill(args[0], 0.0):
        return apply("negative", args[1])
    if op == "divide" and is_fill(args[1], 1.0):
        return args[0]
    if op == "negative" and args[0].op == "negative":
        return args[0].args[0]
    if op == "power":
        return _power(*args)
    if op == "logaddexp":
        for x, y in (args, args[::-1]):
            if is_fill(y, 0.0):
                return apply("softplus", x)
    return _in_one(op, args)


def _halves(x: Var, y: Var) -> Var | None:
    """One choice in place of the sum of two, of which always one is zero: where(c, 0, a) + where(c, b, 0)."""
    (c, zero, a), (d, b, other) = x.args, y.args
    same = c is d or (c.op, c.args, c.attrs) == (d.op, d.args, d.attrs)
    return apply("where", c, b, a) if same and is_fill(zero, 0.0) and is_fill(other, 0.0) else None


def _in_one(op: str, args: list[Var]) -> Var | None:
    """One function in place of a logarithm whose argument overflows long before it does, or rounds to 1."""
    if op == "log" and args[0].op == "cosh":
        return apply("log_cosh", args[0].args[0])
    if op == "log1p" and args[0].op == "exp":
        return apply("softplus", args[0].args[0])
    if op == "log" and args[0].op == "add":
        for x, y in (args[0].args, args[0].args[::-1]):
            if is_fill(x, 1.0) and y.op == "exp":
                return apply("softplus", y.args[0])
    return None


def _power(x: Var, y: Var) -> Var | None:
    """Products for whole powers up to 16: none is farther from 1 than the power itself, or its reciprocal, is.

    So they overflow where the power does, but for reciprocals below the least normal number, which become 0. The
    error is at most half a unit for each factor, as much as the rounding of x makes already.
    """
    exponent = fill_value(y)
    if exponent is None or exponent % 1 != 0 or abs(exponent) > 16:  # or one that is not finite
        return apply("sqrt", x) if exponent == 0.5 else None
    if exponent == 0:
        return const(np.ones(x.shape))
    result, square, rest = None, x, abs(int(exponent))
    while rest:
        if rest & 1:
            result = square if result is None else apply("multiply", result, square)
        rest >>= 1
        if rest:
            square = apply("multiply", square, square)
    assert result is not None
    return result if exponent > 0 else apply("reciprocal", result)
