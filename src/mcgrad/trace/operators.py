"""Python's operators as NumPy's ufuncs; a base class of Tracer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Method = Callable[..., Any]


def _unary(ufunc: np.ufunc) -> Method:
    return lambda self: ufunc(self)


def _binary(ufunc: np.ufunc) -> Method:
    return lambda self, other: ufunc(self, other)


def _reflected(ufunc: np.ufunc) -> Method:
    return lambda self, other: ufunc(other, self)


def _in_place(ufunc: np.ufunc) -> Method:
    return lambda self, other: self._overwritten(ufunc, other)


class Operators:
    """Arithmetic, comparisons and logic, also in place: `y += 1` writes to the array that y is, as in NumPy."""

    __slots__ = ()

    def _overwritten(self, ufunc: np.ufunc, other: Any) -> Any:
        """Write what a function makes of the array and another into the array, and return it."""
        raise NotImplementedError

    __iadd__, __isub__, __imul__ = map(_in_place, (np.add, np.subtract, np.multiply))
    __itruediv__, __ifloordiv__, __imod__ = map(_in_place, (np.divide, np.floor_divide, np.remainder))
    __ipow__, __iand__, __ior__, __ixor__ = map(_in_place, (np.power, np.bitwise_and, np.bitwise_or, np.bitwise_xor))
    __hash__ = object.__hash__

    __neg__, __pos__, __abs__, __invert__ = map(_unary, (np.negative, np.positive, np.absolute, np.invert))
    __add__, __radd__ = _binary(np.add), _reflected(np.add)
    __sub__, __rsub__ = _binary(np.subtract), _reflected(np.subtract)
    __mul__, __rmul__ = _binary(np.multiply), _reflected(np.multiply)
    __truediv__, __rtruediv__ = _binary(np.divide), _reflected(np.divide)
    __floordiv__, __rfloordiv__ = _binary(np.floor_divide), _reflected(np.floor_divide)
    __mod__, __rmod__ = _binary(np.remainder), _reflected(np.remainder)
    __pow__, __rpow__ = _binary(np.power), _reflected(np.power)
    __matmul__, __rmatmul__ = _binary(np.matmul), _reflected(np.matmul)
    __and__, __rand__ = _binary(np.bitwise_and), _reflected(np.bitwise_and)
    __or__, __ror__ = _binary(np.bitwise_or), _reflected(np.bitwise_or)
    __xor__, __rxor__ = _binary(np.bitwise_xor), _reflected(np.bitwise_xor)
    __lt__, __le__ = _binary(np.less), _binary(np.less_equal)
    __gt__, __ge__ = _binary(np.greater), _binary(np.greater_equal)
    __eq__, __ne__ = _binary(np.equal), _binary(np.not_equal)

    def __divmod__(self, other: Any) -> tuple[Any, Any]:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> tuple[Any, Any]:
        return other // self, other % self
