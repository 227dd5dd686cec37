"""np.array and its relatives, of traced values and of nested lists of such."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mcgrad.ir import build
from mcgrad.ir.program import Var
from mcgrad.trace.operands import as_dtype, operand


def array(object: Any, dtype: Any = None, *, copy: Any = True, subok: bool = False, ndmin: int = 0) -> Var:
    """np.array."""
    x = as_dtype(operand(object), dtype, "np.array")
    return build.reshape(x, (1,) * (int(ndmin) - len(x.shape)) + x.shape)


def asarray(a: Any, dtype: Any = None, *, copy: Any = None) -> Var:
    """np.asarray and np.asanyarray."""
    return as_dtype(operand(a), dtype, "np.asarray")


def ascontiguousarray(a: Any, dtype: Any = None) -> Var:
    """np.ascontiguousarray: at least one axis."""
    return array(a, dtype, ndmin=1)


FUNCTIONS: dict[str, Callable[..., Var]] = {
    "array": array,
    "asarray": asarray,
    "asanyarray": asarray,
    "ascontiguousarray": ascontiguousarray,
}
