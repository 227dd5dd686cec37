"""Values and derivatives of what a function of a framework is traced to."""

import numpy as np

from mcgrad.differentiate.modes import gradient
from mcgrad.ir import build
from mcgrad.ir.interpret import interpret
from mcgrad.trace.trace import trace


def computed(f, x):
    """The value of a traced function at x."""
    given = build.input_("x", x.shape)
    (value,) = interpret([trace(f, (given,), {})], {given: x[..., None]}, "float64")
    return value[..., 0]


def slope(f, x):
    """The gradient of a traced function of one value at x."""
    given = build.input_("x", x.shape)
    (value,) = interpret(gradient(trace(f, (given,), {}), [given]), {given: x[..., None]}, "float64")
    return value[..., 0]


def difference(f, x, along, step=1e-5):
    """The central difference of a traced function of one value."""
    given = build.input_("x", x.shape)
    points = np.stack([x + step * along, x - step * along], -1)
    (value,) = interpret([trace(f, (given,), {})], {given: points}, "float64")
    return (value[..., 0] - value[..., 1]) / (2 * step)
