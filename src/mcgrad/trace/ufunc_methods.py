"""The methods of ufuncs: reduce, accumulate and outer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mcgrad.ir import build
from mcgrad.ir.program import Var
from mcgrad.trace import reductions
from mcgrad.trace.operands import operand
from mcgrad.trace.scipy_special import logsumexp


def _first_axis(builder: Callable[..., Var]) -> Callable[..., Var]:
    """Work along axis 0, as the methods of ufuncs do, unless `axis` is given."""

    def build_along(array: Any, axis: Any = 0, dtype: Any = None, *, keepdims: bool | None = None) -> Var:
        options = {name: value for name, value in (("dtype", dtype), ("keepdims", keepdims)) if value is not None}
        return builder(array, axis, **options)

    return build_along


REDUCE: dict[str, Callable[..., Var]] = {
    "add": _first_axis(reductions.sum),
    "multiply": _first_axis(reductions.prod),
    "maximum": _first_axis(reductions.max),
    "minimum": _first_axis(reductions.min),
    "logical_and": _first_axis(reductions.all),
    "logical_or": _first_axis(reductions.any),
    "logaddexp": _first_axis(logsumexp),
}

ACCUMULATE: dict[str, Callable[..., Var]] = {
    "add": _first_axis(reductions.cumsum),
    "multiply": _first_axis(reductions.cumprod),
    "maximum": _first_axis(reductions.running_extreme("maximum")),
    "minimum": _first_axis(reductions.running_extreme("minimum")),
}


def outer(builder: Callable[..., Var]) -> Callable[..., Var]:
    """Apply a binary ufunc to every pair of elements."""

    def build_outer(first: Any, second: Any) -> Var:
        x, y = operand(first), operand(second)
        return builder(build.reshape(x, x.shape + (1,) * len(y.shape)), y)

    return build_outer
