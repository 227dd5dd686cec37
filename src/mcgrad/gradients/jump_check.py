"""Check pathwise gradients for jumps, whose contribution they lack: refuse those that are all zero, warn of others."""

from __future__ import annotations

import linecache
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from mcgrad import tree
from mcgrad.errors import JumpWarning, ParameterError
from mcgrad.gradients.continuity import Continuity
from mcgrad.gradients.jumps import flat_between, reaches
from mcgrad.gradients.problem import Problem
from mcgrad.ir.program import Var, toposort, with_bodies

_warns: ContextVar[bool] = ContextVar("warns", default=True)
_warned: dict[Any, Any] = {}  # the registry by which Python shows a warning once for each line


@contextmanager
def without_jump_warnings() -> Iterator[None]:
    """Suppress JumpWarnings, where gradients are compared with finite differences anyway."""
    token = _warns.set(False)
    try:
        yield
    finally:
        _warns.reset(token)


def check_jumps(problem: Problem, wrt: Sequence[str]) -> None:
    """Look for jumps that pathwise gradients leave out.

    Parameters
    ----------
    problem : Problem
    wrt : sequence of str
        Paths of the parameters whose gradient is pathwise.

    Raises
    ------
    ParameterError
        A parameter of the integrand that its value, or a part of it, follows in jumps alone.

    Warns
    -----
    JumpWarning
        Where a parameter also moves a jump, or the value follows a parameter of q in jumps alone: once, with the
        line of the user's code.
    """
    for root in _parts(problem.single):
        _refuse_zeros(problem, root, [path for path in wrt if path not in problem.own])
        if _warns.get():
            _warn(problem, root, wrt)


def in_jumps_alone(value: Var, param: Var) -> bool:
    """Whether a value, or a part of it, follows a parameter in jumps alone, so that its pathwise gradient is zero."""
    return any(_in_jumps_alone(root, param) for root in _parts(value))


def _in_jumps_alone(root: Var, param: Var) -> bool:
    return reaches(param, [root], smoothly=False) and not reaches(param, [root])


def _parts(value: Var) -> list[Var]:
    """Return the parts that a value is put together from, such as the arrays of a dict: each has its own gradient."""
    if value.op != "concatenate":
        return [value]
    return [part for arg in value.args for part in _parts(arg)]


def _refuse_zeros(problem: Problem, root: Var, paths: Sequence[str]) -> None:
    params = {path: problem.params[path] for path in paths}
    zero = [path for path, x in params.items() if _in_jumps_alone(root, x)]
    if zero:
        where = _where(problem, flat_between(params[zero[0]], [root], drawn=False))
        others = f", like {', '.join(zero[1:])}" if len(zero) > 1 else ""
        given = f"a parameter that the integrand follows in jumps alone{where}{others}"
        without = f"or a wrt= without {'them' if others else 'it'}; docs/estimators.md has other ways"
        accepted = f"method={{{_differences(zero)}}}, {without}"
        raise ParameterError(zero[0], f"{given}: its derivative is zero for every draw", accepted)


def _differences(paths: Sequence[str]) -> str:
    """The methods to name for parameters that move jumps."""
    return ", ".join(f'"{path}": "difference"' for path in paths)


def _warn(problem: Problem, root: Var, wrt: Sequence[str]) -> None:
    zero: list[str] = []
    moving: list[str] = []
    lines: list[tuple[str, int]] = []
    continuity = Continuity(root, problem.values)
    for path in wrt:
        found = [var for var in _comparisons(problem, root, path) if not continuity.is_continuous(var)]
        if found:
            lines += [problem.lines[var] for var in found]
            (moving if reaches(problem.params[path], [root]) else zero).append(path)
    if not lines:
        return
    file, number = lines[0]
    text = linecache.getline(file, number).strip()
    paths = [*zero, *moving]
    said = [f"is zero for every draw in {', '.join(zero)}"] if zero else []
    said += [f"leaves a jump out in {', '.join(moving)}"] if moving else []
    message = (
        f"the pathwise gradient {' and '.join(said)}, on which a comparison, floor or sign depends: "
        f'File "{file}", line {number}: {text}. It is biased, unless the integrand is continuous there: mg.verify '
        f"compares it with differences. method={{{_differences(paths)}}} is right at jumps; docs/estimators.md has the "
        "others"
    )
    warnings.warn_explicit(message, JumpWarning, file, number, registry=_warned)


def _comparisons(problem: Problem, root: Var, path: str) -> list[Var]:
    """Return what may jump where a parameter moves it, in the user's own code.

    For a parameter of q: those in the transform, and those in the integrand if its value follows in no other way.
    """
    param = problem.params[path]
    if path in problem.own and reaches(param, [root]):
        flat = flat_between(param, list(tree.flatten(problem.z).values()))
    else:
        flat = flat_between(param, [root])
    read = set(with_bodies(toposort([root])))  # the entropy or the divergence that it is may read no draw
    return [var for var in flat if var in read and var in problem.lines]


def _where(problem: Problem, flat: Sequence[Var]) -> str:
    """Say where the first jump is."""
    lines = [problem.lines[var] for var in flat if var in problem.lines]
    if not lines:
        return ""
    file, number = lines[0]
    return f' (File "{file}", line {number}: {linecache.getline(file, number).strip()})'
