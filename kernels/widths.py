"""One source for float32 and float64: constants and functions that differ in nothing but their width.

A function under `each_width` is written as for float64. What it is in float32 is made of the same code: its literals,
and the floats among its globals, become float32, and what it calls is taken in float32, too. What differs by more than
a rounding is a global made by `by_width`.

    LN2, LN2_TAIL = 0.6931471805599453, by_width(-1.9046542e-09, 2.3190468138462996e-17)

    @each_width
    def scaled_log(m, k):
        return k * LN2 + (k * LN2_TAIL + 0.5 * m)

    scaled_log.float32, scaled_log.float64  # compiled functions, as `scalar` makes them, each when first asked for

So an integer stays what it is, and a division is written `divide`, which GPUs do by one instruction in float32.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FunctionType

import numpy as np

from mcgrad.kernels.jit import scalar


@dataclass(frozen=True, eq=False)
class Width:
    """A type of floats, and which compiled functions take the place of those of the common source."""

    name: str
    real: type
    instead: Mapping = field(default_factory=dict)

    def of(self, value):
        """Return what a global or a literal is in this width."""
        if isinstance(value, ByWidth):
            return value.at(self)
        return self.real(value) if type(value) is float else value


FLOAT32, FLOAT64 = Width("float32", np.float32), Width("float64", float)


class ByWidth:
    """A value for each width, made when first asked for."""

    def __init__(self, make: Callable):
        self._make, self._made = make, {}

    def at(self, width):
        """Return the value for a width."""
        if width not in self._made:
            self._made[width] = width.instead[self] if self in width.instead else self._make(width)
        return self._made[width]

    float32 = property(lambda self: self.at(FLOAT32))
    float64 = property(lambda self: self.at(FLOAT64))


def by_width(float32, float64):
    """Give one value to float32 and another one to float64: numbers, tuples of coefficients, types or functions."""
    return ByWidth(lambda width: width.of(float64 if width.real is float else float32))


def each_width(function):
    """Compile a scalar function for each width."""
    return ByWidth(lambda width: scalar(_bound(function, width)))


def _bound(function, width):
    """Return a function with the literals and globals of a width.

    Its name says which, as Numba takes functions of equal code and arguments for one.
    """
    code, scope = function.__code__, function.__globals__
    code = code.replace(co_name=f"{code.co_name}_{width.name}", co_consts=tuple(map(width.of, code.co_consts)))
    names = {name: width.of(scope[name]) for name in code.co_names if name in scope}
    made = FunctionType(code, {"__name__": function.__module__, **names}, function.__name__)
    made.__doc__ = function.__doc__
    return made


def namespace(module, width):
    """Return the public names of a module of such functions, with what they are in one width."""
    return {name: width.of(getattr(module, name)) for name in module.__all__}
