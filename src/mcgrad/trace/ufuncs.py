"""NumPy's ufuncs: one line each, by the ufunc's own name."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from mcgrad.ir import build
from mcgrad.ir.build import apply
from mcgrad.ir.ops import from_source
from mcgrad.ir.program import Var
from mcgrad.trace.products import matmul, matvec, vecdot, vecmat
from mcgrad.trace.refuse import refusal

Builder = Callable[..., Var]


def _op(name: str) -> Builder:
    return lambda *args: apply(name, *args)


def _or_logical(name: str, logical: str) -> Builder:
    """Arithmetic that NumPy reads as logic where all operands are booleans."""
    return lambda *args: apply(logical if all(x.kind == "bool" for x in args) else name, *args)


def _bits(name: str, logical: str) -> Builder:
    def build_bits(*args: Var) -> Var:
        if any(x.kind != "bool" for x in args):
            raise refusal(f"np.{name} of floats", "it is defined for booleans only")
        return apply(logical, *args)

    return build_bits


def _no_bool(name: str, remedy: str) -> Builder:
    def build_float(*args: Var) -> Var:
        if all(x.kind == "bool" for x in args):
            raise refusal(f"np.{name} of booleans", remedy)
        return apply(name, *args)

    return build_float


def _floor_divide(x: Var, y: Var) -> Var:
    return apply("floor", apply("divide", x, y))


def _remainder(x: Var, y: Var) -> Var:
    return apply("subtract", x, apply("multiply", y, _floor_divide(x, y)))


def _trunc(x: Var) -> Var:
    return apply("where", apply("less", x, 0.0), apply("ceil", x), apply("floor", x))


def _nan_ignoring(name: str) -> Builder:
    def choose(x: Var, y: Var) -> Var:
        both = apply("where", apply("isnan", y), x, apply(name, x, y))
        return apply("where", apply("isnan", x), y, both)

    return choose


def _heaviside(x: Var, at_zero: Var) -> Var:
    rest = apply("where", apply("equal", x, 0.0), at_zero, apply("stop", x))  # x itself only if it is NaN
    return apply("where", apply("less", x, 0.0), 0.0, apply("where", apply("less", 0.0, x), 1.0, rest))


def _copysign(x: Var, y: Var) -> Var:
    size = apply("absolute", x)
    return apply("where", apply("less", y, 0.0), apply("negative", size), size)


def _logaddexp2(x: Var, y: Var) -> Var:
    ln2 = math.log(2.0)
    return apply("divide", apply("logaddexp", apply("multiply", x, ln2), apply("multiply", y, ln2)), ln2)


def _square(x: Var) -> Var:
    return apply("multiply", x, x)


def _isinf(x: Var) -> Var:
    return apply("logical_not", apply("logical_or", apply("isfinite", x), apply("isnan", x)))


def _same(x: Var) -> Var:
    return build.apply("float", x)


# fmt: off
UFUNCS: dict[str, Builder] = {
    # the ops themselves
    **{name: _op(name) for name in from_source("numpy") if isinstance(getattr(np, name), np.ufunc)},
    # arithmetic
    "add":           _or_logical("add", "logical_or"),
    "multiply":      _or_logical("multiply", "logical_and"),
    "maximum":       _or_logical("maximum", "logical_or"),
    "minimum":       _or_logical("minimum", "logical_and"),
    "subtract":      _no_bool("subtract", "use the ^ operator"),
    "negative":      _no_bool("negative", "use the ~ operator"),
    "positive":      _same,
    "square":        _square,
    "fabs":          _op("absolute"),
    "float_power":   _op("power"),
    "floor_divide":  _floor_divide,
    "remainder":     _remainder,
    "trunc":         _trunc,
    "fmax":          _nan_ignoring("maximum"),
    "fmin":          _nan_ignoring("minimum"),
    "logaddexp2":    _logaddexp2,
    "heaviside":     _heaviside,
    "copysign":      _copysign,
    "conjugate":     _same,
    # angles
    "deg2rad":       lambda x: apply("multiply", x, math.pi / 180.0),
    "radians":       lambda x: apply("multiply", x, math.pi / 180.0),
    "rad2deg":       lambda x: apply("multiply", x, 180.0 / math.pi),
    "degrees":       lambda x: apply("multiply", x, 180.0 / math.pi),
    # comparisons and logic
    "greater":       lambda x, y: apply("less", y, x),
    "greater_equal": lambda x, y: apply("less_equal", y, x),
    "isinf":         _isinf,
    "bitwise_and":   _bits("bitwise_and", "logical_and"),
    "bitwise_or":    _bits("bitwise_or", "logical_or"),
    "bitwise_xor":   _bits("bitwise_xor", "logical_xor"),
    "invert":        _bits("invert", "logical_not"),
    # contractions
    "matmul":        matmul,
    "vecdot":        vecdot,
    "matvec":        matvec,
    "vecmat":        vecmat,
}
# fmt: on
