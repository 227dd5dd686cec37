"""np.array and its relatives, of traced values and of nested lists of such."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mcgrad.ir import build
from mcgrad.ir.program import Var
from mcgrad.trace.operands import as_dtype, holds_var, operand


def array(object: Any, dtype: Any = None, *, copy: Any = True, subok: bool = False, ndmin: int = 0) -> Var:
    """np.array."""
    x = as_dtype(_stacked(object), dtype, "np.array")
    return build.reshape(x, (1,) * (int(ndmin) - len(x.shape)) + x.shape)


def asarray(a: Any, dtype: Any = None, *, copy: Any = None) -> Var:
    """np.asarray and np.asanyarray."""
    return as_dtype(_stacked(a), dtype, "np.asarray")


def ascontiguousarray(a: Any, dtype: Any = None) -> Var:
    """np.ascontiguousarray: at least one axis."""
    return array(a, dtype, ndmin=1)


def _stacked(value: Any) -> Var:
    """Make one array of nested lists, whose parts have the same shape."""
    if not isinstance(value, list | tuple) or not holds_var(value):
        return operand(value)
    parts = [_stacked(part) for part in value]
    shapes = {part.shape for part in parts}
    if len(shapes) > 1:
        found = ", ".join(str(part.shape) for part in parts)
        raise ValueError(f"setting an array element with a sequence: the parts have the shapes {found}, which differ")
    return build.concatenate([build.reshape(part, (1, *part.shape)) for part in parts], 0)


FUNCTIONS: dict[str, Callable[..., Var]] = {
    "array": array,
    "asarray": asarray,
    "asanyarray": asarray,
    "ascontiguousarray": ascontiguousarray,
}
