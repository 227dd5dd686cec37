"""Read which second derivatives a user asks for: by a kind, by names of parameters, by pairs, or times a vector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations_with_replacement, product
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mcgrad import tree
from mcgrad.errors import ParameterError, shown
from mcgrad.inputs.arguments import of_result
from mcgrad.noise import Shape
from mcgrad.results.second import DIAG, FULL, HVP, NOTHING, Second

Hessian: TypeAlias = str | Iterable[str | tuple[str, str]] | None
ACCEPTED = '"diag", "full", names of parameters such as ["loc"], or pairs of names such as [("spot", "vol")]'


def hessian(given: Any) -> str | tuple[Any, ...] | None:
    """Check the option of an Estimator by itself: a kind, or names and pairs of names."""
    if given is None or isinstance(given, str):
        return given
    try:
        found = tuple(tuple(each) if isinstance(each, list) else each for each in given)
    except Exception:  # a TypeError, or any exception of an object's own method
        found = ()
    if not found or not all(isinstance(each, str) or _is_pair(each) for each in found):
        raise ParameterError("hessian", shown(given), ACCEPTED)
    return found


def direction(given: Any) -> dict[str, npt.NDArray[Any]]:
    """Return the vector of products with the Hessian as float arrays, by the paths of parameters; none for None."""
    accepted = 'a dict of numbers or arrays by parameter, such as {"loc": v}'
    if given is not None and not isinstance(given, Mapping):
        raise ParameterError("hvp", shown(given), accepted)
    return {} if given is None else of_result("hvp", given, accepted)


def second(
    hessian: str | tuple[Any, ...] | None,
    direction: Mapping[str, npt.NDArray[Any]],
    wrt: Sequence[str],
    shapes: Mapping[str, Shape],
    lead: Mapping[str, Shape] = MappingProxyType({}),
) -> Second:
    """Return which second derivatives there are.

    Parameters
    ----------
    hessian : str or tuple, optional
        As `hessian` returns it.
    direction : dict of str to array
        As `direction` returns it.
    wrt : sequence of str
        Paths of the parameters to differentiate in.
    shapes : dict of str to tuple of int
        Of these, in one row of a batch.
    lead : dict of str to tuple of int
        The batch shape, of those that have batch axes.

    Raises
    ------
    ParameterError
        Names `hessian` or `hvp`.
    """
    if hessian is not None and direction:
        raise ParameterError("hvp", "a vector, and hessian= as well", "one of the two")
    if direction:
        for path, x in direction.items():
            if path not in wrt:
                raise ParameterError(f"hvp.{path}", "no parameter to differentiate in", ", ".join(wrt))
            if np.shape(x) != (whole := (*lead.get(path, ()), *shapes[path])):
                raise ParameterError(f"hvp.{path}", f"shape {np.shape(x)}", f"{whole}, the parameter's")
        return Second(HVP, tuple((path,) for path in wrt))
    if hessian is None:
        return NOTHING
    if not wrt:
        raise ParameterError("hessian", shown(hessian), "None, as there is no parameter to differentiate in")
    if hessian == DIAG:
        return Second(DIAG, tuple((path,) for path in wrt))
    if hessian == FULL:
        return Second(FULL, tuple(combinations_with_replacement(wrt, 2)))
    return Second(FULL, tuple(dict.fromkeys(_ordered(wrt, *pair) for pair in _pairs(hessian, wrt))))


def _pairs(hessian: str | tuple[Any, ...], wrt: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Yield pairs of paths: of all names together, and those given as pairs."""
    given = [hessian] if isinstance(hessian, str) else [*hessian]
    names = [each for each in given if isinstance(each, str)]
    if names:
        yield from combinations_with_replacement(_selected(wrt, names), 2)
    for each in given:
        if not isinstance(each, str):
            yield from product(*(_selected(wrt, [name]) for name in each))


def _selected(wrt: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    try:
        return tree.select(wrt, names, "hessian")
    except ParameterError as error:
        raise ParameterError("hessian", error.given, f"{ACCEPTED}; {error.accepted}") from None


def _ordered(wrt: Sequence[str], a: str, b: str) -> tuple[str, str]:
    return (a, b) if wrt.index(a) <= wrt.index(b) else (b, a)


def _is_pair(given: Any) -> bool:
    return isinstance(given, tuple) and len(given) == 2 and all(isinstance(name, str) for name in given)
