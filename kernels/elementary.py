"""The elementary functions, under NumPy's names; `elementary32` and `elementary64` hold them for each width."""

import numpy as np

from mcgrad.kernels.exponential import cosh, exp, exp2, expm1, sinh, tanh
from mcgrad.kernels.formats import bits_float, float_bits, sint
from mcgrad.kernels.intrinsics import absolute, copysign, divide, floor, select
from mcgrad.kernels.logarithm import arccosh, arcsinh, arctanh, log, log1p, log2, log10
from mcgrad.kernels.power import cbrt, hypot, power, sqrt
from mcgrad.kernels.trigonometric import arccos, arcsin, arctan, arctan2, cos, sin, tan
from mcgrad.kernels.widths import by_width, each_width

__all__ = [
    "absolute", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "cbrt", "ceil", "cos", "cosh",
    "exp", "exp2", "expm1", "floor", "hypot", "isfinite", "isnan", "log", "log1p", "log2", "log10", "maximum",
    "minimum", "nextafter", "power", "reciprocal", "sign", "sin", "sinh", "sqrt", "tan", "tanh",
]  # fmt: skip

INF = np.inf
LEAST = by_width(1.4012985e-45, 5e-324)  # positive number


@each_width
def ceil(x):
    """Smallest integer not below x."""
    return -floor(-x)


@each_width
def sign(x):
    """-1, 0 or 1; NaN for NaN."""
    return select(x > 0.0, 1.0, select(x < 0.0, -1.0, x))


@each_width
def minimum(x, y):
    """Take the smaller one; NaN if either is NaN."""
    return select((x < y) | (x != x), x, y)


@each_width
def maximum(x, y):
    """Take the larger one; NaN if either is NaN."""
    return select((x > y) | (x != x), x, y)


@each_width
def reciprocal(x):
    """1/x."""
    return divide(1.0, x)


@each_width
def isfinite(x):
    """Whether x is neither infinite nor NaN."""
    return absolute(x) < INF


@each_width
def isnan(x):
    """Whether x is NaN."""
    return x != x


@each_width
def nextafter(x, y):
    """Take the next number from x towards y."""
    bits = float_bits(x)
    outwards = select((y > x) == (x > 0.0), sint(1), sint(-1))
    moved = select(x == 0.0, copysign(LEAST, y), bits_float(sint(bits + outwards)))
    return select(x == y, y, select((x == x) & (y == y), moved, x + y))
