"""Compare two traces of one function: they differ where it reads something that changes from call to call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

from mcgrad.errors import shown
from mcgrad.ir.program import Var, numbered


def has_state(function: Callable[..., Any]) -> bool:
    """Whether a function may hold state: all but mcgrad's own plain functions, without an instance or a closure."""
    plain = isinstance(function, FunctionType) and function.__closure__ is None
    return not (plain and str(function.__module__).startswith("mcgrad."))


def difference(first: Any, second: Any) -> str | None:
    """Return what differs between two results of a trace, in words, or None.

    Parameters
    ----------
    first, second : Var, or dict, tuple or list of them, nested
        Traced from the same arguments: the same equations, attributes and literals are no difference.
    """
    roots, others = _leaves(first), _leaves(second)
    if list(roots) != list(others):
        return f"its result has the entries {', '.join(roots)} and then {', '.join(others)}"
    numbers: dict[Var, int] = {}
    again: dict[Var, int] = {}
    for (one, args), (other, others_args) in zip(numbered(roots.values()), numbered(others.values()), strict=False):
        if one is not other:
            same = (one.op, one.shape, one.kind) == (other.op, other.shape, other.kind)
            if not (same and one.attrs == other.attrs):
                return f"it computes {_described(one)} the first time and {_described(other)} the second"
            if args != others_args:
                return f"it computes {_described(one)} of other operands the second time"
        numbers[one] = again[other] = len(numbers)
    if [numbers.get(x) for x in roots.values()] != [again.get(x) for x in others.values()]:
        return "it does more steps one time than the other"
    return None


def _leaves(result: Any, path: str = "") -> dict[str, Var]:
    if isinstance(result, Var):
        return {path: result}
    parts = result.items() if isinstance(result, Mapping) else enumerate(result)
    return {key: var for name, part in parts for key, var in _leaves(part, f"{path}.{name}").items()}


def _described(var: Var) -> str:
    if var.is_const:
        array = var.attrs.array
        return f"with the constant {array.item()}" if array.ndim == 0 else f"with a constant, {shown(array)},"
    return f"{var.op} of shape {var.shape}"
