"""Which traced numbers are whole, as indices have to be, and which are not negative: by what they are computed of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from mcgrad.ir.program import Var, toposort

KEEPING = {  # ops whose result has the property if all arguments have it
    "add", "multiply", "minimum", "maximum", "where", "stop", "copy", "sum", "prod", "max", "min", "cumsum", "cumprod",
    "reshape", "transpose", "broadcast", "slice", "flip", "take", "gather", "pad", "concatenate", "scatter_add",
    "einsum",
}  # fmt: skip
ROUNDING = ("floor", "ceil", "float")
WHOLE = KEEPING | {"subtract", "negative", "absolute", "sign"}
NOT_NEGATIVE = KEEPING | {"floor", "ceil", "divide", "sqrt", "sign"}


class Steps:
    """What is known of the arguments of the steps of loops that are traced.

    Parameters
    ----------
    whole : set of Var
        Arguments that are whole if the carries stay so.

    Attributes
    ----------
    relied_on : set of Var
        Those for which something was taken for whole.
    """

    def __init__(self, whole: set[Var]) -> None:
        self.whole, self.relied_on = whole, set[Var]()


_steps: ContextVar[Steps | None] = ContextVar("steps", default=None)


def is_whole(index: Var) -> bool:
    """Whether all elements are whole numbers, or NaN."""
    steps = _steps.get()
    found = _whole_under(index, steps)
    if steps and found:
        steps.relied_on.update(steps.whole.intersection(_reasons(index)))
    return found


def is_whole_anyway(x: Var) -> bool:
    """Whether all elements are whole numbers, or NaN, whatever the carries of steps around become."""
    return _whole_under(x, None)


def _whole_under(x: Var, steps: Steps | None) -> bool:
    return x in _spread(toposort([x]), _is_whole, set(steps.whole) if steps else set())


def _reasons(index: Var) -> set[Var]:
    """Return what makes a number whole, and what that is made of, as far as it has to be whole, too."""
    found, stack = {index}, [index]
    while stack:
        var = stack.pop()
        if var.op not in ROUNDING and var.kind != "bool":
            more = {*(var.args[:1] if var.op == "gather" else var.args)} - found
            found |= more
            stack += more
    return found


def is_not_negative(index: Var) -> bool:
    """Whether no element is negative, as far as this can be seen."""
    return index in _spread(toposort([index]), _is_not_negative, set())


@contextmanager
def arguments_of_steps(arguments: Mapping[Var, Var]) -> Iterator[Steps]:
    """Take arguments of a step, while it is traced, for whole if what they are at first is: keys, and values."""
    around = _steps.get()
    whole = {leaf for leaf, first in arguments.items() if _whole_under(first, around)}
    steps = Steps({*(around.whole if around else ()), *whole})
    token = _steps.set(steps)
    try:
        yield steps
    finally:
        _steps.reset(token)
        if around:
            reasons = [_reasons(arguments[leaf]) for leaf in steps.relied_on if leaf in arguments]
            around.relied_on |= around.whole & steps.relied_on.union(*reasons)


def not_staying_whole(steps: Steps, after: Mapping[Var, Var]) -> list[Var]:
    """Return the carries that were relied on, and are not whole after a step; `after` has what each is then."""
    whole = set(steps.whole)
    while True:
        found = _spread(toposort(after.values()), _is_whole, set(whole))
        left = {leaf for leaf in whole if leaf not in after or after[leaf] in found}
        if left == whole:
            return [leaf for leaf in steps.relied_on if leaf not in whole]
        whole = left


def _spread(order: Iterable[Var], rule: Callable[[Var, set[Var]], bool], found: set[Var]) -> set[Var]:
    for var in order:
        if var.op == "part" and var.args[0].op == "loop":
            has = _of_loop(var.args[0], var.attrs.start, var.size, rule, found)
        elif var.op == "loop":
            has = False
        else:
            has = var.kind == "bool" or rule(var, found)
        if has:
            found.add(var)
    return found


def _of_loop(loop: Var, start: int, size: int, rule: Callable[[Var, set[Var]], bool], found: set[Var]) -> bool:
    """Whether some results of a loop have the property, whose carries keep it from step to step."""
    attrs, body = loop.attrs, loop.attrs.body
    flags = [arg in found for arg in loop.args]
    while True:
        inside = _spread(body.equations, rule, {x for x, has in zip(body.params, flags, strict=True) if has})
        more = [flags[i] and x in inside for i, x in enumerate(body.results[: attrs.carries])]
        if more == flags[: attrs.carries]:
            break
        flags[: attrs.carries] = more
    read = _overlapping(attrs.places(), body.results, start, start + size)
    return all(x in inside for x in read)


def _overlapping(
    places: Sequence[tuple[int, tuple[int, ...]]], results: Sequence[Var], low: int, high: int
) -> list[Var]:
    sizes = [int(np.prod(shape)) for _, shape in places]
    return [x for (a, _), n, x in zip(places, sizes, results, strict=True) if a < high and low < a + n]


def _is_whole(var: Var, whole: set[Var]) -> bool:
    if var.op in ROUNDING:
        return True
    if var.is_const:
        return bool(np.all((var.attrs.array == np.floor(var.attrs.array)) | np.isnan(var.attrs.array)))
    args = var.args[:1] if var.op == "gather" else var.args
    return var in whole or (var.op in WHOLE and all(arg in whole for arg in args))


def _is_not_negative(var: Var, found: set[Var]) -> bool:
    if var.op in ("float", "absolute", "exp"):
        return True
    if var.is_const:
        return bool(np.all(var.attrs.array >= 0))
    if var.op == "maximum":
        return any(arg in found for arg in var.args)
    args = var.args[:1] if var.op == "gather" else var.args
    return var in found or (var.op in NOT_NEGATIVE and all(arg in found for arg in args))
