"""PyTorch's operators that take functions: torch.cond, and loops of torch._higher_order_ops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_map

from mcgrad.torch.aten.traced import Operators, traced, value_of
from mcgrad.trace import loops
from mcgrad.trace.refuse import refusal
from mcgrad.trace.tracer import Tracer

STEPS = (
    "how many steps it takes must be known while tracing: count them, with torch.where to keep what a draw has when it "
    "is done; with NumPy mg.while_loop says it"
)


def _cond(mode: Operators, which: Any, yes: Callable[..., Any], no: Callable[..., Any], operands: Sequence[Any]) -> Any:
    """Take the branch of a constant, and select from both by a traced value."""
    with mode:
        value = value_of(which)
        if not isinstance(value, Tracer):
            return (yes if bool(value) else no)(*operands)
        return tree_map(lambda a, b: torch.where(which, a, b), yes(*operands), no(*operands))


def _while_loop(
    mode: Operators,
    goes_on: Callable[..., Any],
    body: Callable[..., Any],
    carried: Sequence[Any],
    others: Sequence[Any],
) -> Any:
    """Run the steps of a loop whose condition no traced value changes."""
    with mode:
        while True:
            condition = value_of(goes_on(*carried, *others))
            if isinstance(condition, Tracer):
                raise refusal("while_loop with a traced condition", STEPS)
            if not bool(condition):
                return tuple(carried)
            carried = body(*carried, *others)


def _scan(mode: Operators, step: Callable[..., Any], init: Sequence[Any], xs: Sequence[Any], others: Any) -> Any:
    """Run a loop that stays one: `mg.scan`."""

    def one(carry: tuple[Any, ...], x: tuple[Any, ...]) -> tuple[Any, Any]:
        with mode:
            made = step(*map(_tensor, carry), *map(_tensor, x), *others)
        values = [value_of(each) for each in made]
        return tuple(values[: len(carry)]), tuple(values[len(carry) :])

    starts, rows = (tuple(_values(given)) for given in (init, xs))
    carry, ys = loops.scan(one, starts, rows)
    return [*map(_tensor, carry), *map(_tensor, ys)]


def _values(tensors: Sequence[Any]) -> list[Any]:
    return [np.asarray(x) if not isinstance(x, Tracer) else x for x in map(value_of, tensors)]


def _tensor(value: Any) -> Any:
    if isinstance(value, Tracer) or np.asarray(value).dtype.kind == "f":
        return traced(value if isinstance(value, Tracer) else np.asarray(value))
    return torch.tensor(np.asarray(value))


def register() -> None:
    """Tell PyTorch how these operators are evaluated while f is traced."""
    for name, rule in (("cond", _cond), ("while_loop", _while_loop), ("scan", _scan)):
        getattr(torch.ops.higher_order, name).py_impl(Operators)(rule)
