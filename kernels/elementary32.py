"""The elementary functions in float32, under NumPy's names: what an emitted float32 kernel calls."""

import numpy as np

from mcgrad.kernels.exponential32 import cosh, exp, exp2, expm1, sinh, tanh
from mcgrad.kernels.intrinsics import absolute, bits_float32, copysign, divide, float_bits32, floor, select
from mcgrad.kernels.jit import scalar
from mcgrad.kernels.logarithm32 import arccosh, arcsinh, arctanh, log, log1p, log2, log10
from mcgrad.kernels.power32 import cbrt, hypot, power, sqrt
from mcgrad.kernels.trigonometric32 import arccos, arcsin, arctan, arctan2, cos, sin, tan

__all__ = [
    "absolute", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "cbrt", "ceil", "cos", "cosh",
    "exp", "exp2", "expm1", "floor", "hypot", "isfinite", "isnan", "log", "log1p", "log2", "log10", "maximum",
    "minimum", "nextafter", "power", "reciprocal", "sign", "sin", "sinh", "sqrt", "tan", "tanh",
]  # fmt: skip

__all__ = [
    "absolute", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "cbrt", "ceil", "cos", "cosh",
    "exp", "exp2", "expm1", "floor", "hypot", "isfinite", "isnan", "log", "log1p", "log2", "log10", "maximum",
    "minimum", "nextafter", "power", "reciprocal", "sign", "sin", "sinh", "sqrt", "tan", "tanh",
]  # fmt: skip

F = np.float32
INF = F(np.inf)


@scalar
def ceil(x):
    """Smallest integer not below x."""
    return -floor(-x)


@scalar
def sign(x):
    """-1, 0 or 1; NaN for NaN."""
    return select(x > F(0.0), F(1.0), select(x < F(0.0), F(-1.0), x))


@scalar
def minimum(x, y):
    """Take the smaller one; NaN if either is NaN."""
    return select((x < y) | (x != x), x, y)


@scalar
def maximum(x, y):
    """Take the larger one; NaN if either is NaN."""
    return select((x > y) | (x != x), x, y)


@scalar
def reciprocal(x):
    """1/x."""
    return divide(F(1.0), x)


@scalar
def isfinite(x):
    """Whether x is neither infinite nor NaN."""
    return absolute(x) < INF


@scalar
def isnan(x):
    """Whether x is NaN."""
    return x != x


@scalar
def nextafter(x, y):
    """Take the next number from x towards y."""
    bits = float_bits32(x)
    outwards = select((y > x) == (x > F(0.0)), np.int32(1), np.int32(-1))
    moved = select(x == F(0.0), copysign(F(1.4012985e-45), y), bits_float32(np.int32(bits + outwards)))
    return select(x == y, y, select((x == x) & (y == y), moved, x + y))
