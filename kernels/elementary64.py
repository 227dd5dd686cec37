"""The elementary functions in float64, under NumPy's names: what an emitted float64 kernel calls."""

import numpy as np

from mcgrad.kernels.exponential64 import cosh, exp, exp2, expm1, sinh, tanh
from mcgrad.kernels.intrinsics import absolute, bits_float64, copysign, float_bits64, floor, select
from mcgrad.kernels.jit import scalar
from mcgrad.kernels.logarithm64 import arccosh, arcsinh, arctanh, log, log1p, log2, log10
from mcgrad.kernels.power64 import cbrt, hypot, power, sqrt
from mcgrad.kernels.trigonometric64 import arccos, arcsin, arctan, arctan2, cos, sin, tan

__all__ = [
    "absolute", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "cbrt", "ceil", "cos", "cosh",
    "exp", "exp2", "expm1", "floor", "hypot", "isfinite", "isnan", "log", "log1p", "log2", "log10", "maximum",
    "minimum", "nextafter", "power", "reciprocal", "sign", "sin", "sinh", "sqrt", "tan", "tanh",
]  # fmt: skip

INF = np.inf


@scalar
def ceil(x):
    """Smallest integer not below x."""
    return -floor(-x)


@scalar
def sign(x):
    """-1, 0 or 1; NaN for NaN."""
    return select(x > 0.0, 1.0, select(x < 0.0, -1.0, x))


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
    return 1.0 / x


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
    bits = float_bits64(x)
    outwards = select((y > x) == (x > 0.0), np.int64(1), np.int64(-1))
    moved = select(x == 0.0, copysign(5e-324, y), bits_float64(np.int64(bits + outwards)))
    return select(x == y, y, select((x == x) & (y == y), moved, x + y))
