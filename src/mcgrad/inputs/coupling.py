"""The levels of a multilevel estimate: a function and its distribution at each, and the differences of two levels.

The difference is f at a level minus f at the level before, both of the same draw: `coarsen` makes a draw of the level
before out of one of the level.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mcgrad import tree
from mcgrad.arrays import to_host
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.normal import Normal
from mcgrad.errors import ParameterError, shown
from mcgrad.inputs.arguments import called
from mcgrad.inputs.integrand import Integrand
from mcgrad.noise import Shape
from mcgrad.pickles import HoldsFunctions
from mcgrad.trace.foreign import refuse_untraceable

LEVEL = "level"
FINE, COARSE = "fine", "coarse"
FUNCTION = "a function f(z, *, level, **params, **data) of one draw"
COARSEN = "a function that makes of a draw of a level one of the level before, or a tuple of several"


class Coupling(HoldsFunctions):
    """f and q at each level, and f's differences.

    Parameters
    ----------
    f, q, coarsen
        As for `mlmc`.

    Raises
    ------
    ParameterError, TraceError
        They are not what `mlmc` takes.
    """

    def __init__(self, f: Any, q: Any, coarsen: Any = None) -> None:
        if isinstance(f, Integrand) or not callable(f):
            given = "an Integrand, which has no level" if isinstance(f, Integrand) else shown(f)
            raise ParameterError("f", given, FUNCTION)
        refuse_untraceable(f)
        if not isinstance(q, Distribution) and not callable(q):
            accepted = "a distribution for each level, lambda level: mg.Normal(np.zeros(2**level), 1.0), or one for all"
            raise ParameterError("q", shown(q), accepted)
        if coarsen is not None and not callable(coarsen):
            raise ParameterError("coarsen", shown(coarsen), f"None, or {COARSEN}")
        self._f, self._q, self._coarsen = f, q, coarsen
        self._known: dict[int, Distribution] = {}
        if not _signature(f)[1] and isinstance(q, Distribution):
            raise ParameterError("f", f"{called(f)}, without the argument level, and one q for all levels", FUNCTION)

    def q(self, level: int) -> Distribution:
        """Return the distribution at a level, for which the user's function is called once."""
        if level not in self._known:
            self._known[level] = self._q_at(level)
        return self._known[level]

    def _q_at(self, level: int) -> Distribution:
        found = self._q if isinstance(self._q, Distribution) else self._q(level)
        if not isinstance(found, Distribution):
            raise ParameterError("q", f"a function that returns {shown(found)} at level {level}", "a distribution")
        if found.batch:
            raise ParameterError("q", f"a distribution with batch axes at level {level}", "one without")
        return found

    def difference(self, level: int) -> Callable[..., Any]:
        """Return f at a level minus f at the level before; f itself at level 0."""
        return self._named(lambda z, given: self._pair(z, level, given)[0])

    def both(self, level: int) -> Callable[..., Any]:
        """Return f at a level and f at the level before it, 1 or higher, as a dict."""

        def both(z: Any, given: Mapping[str, Any]) -> dict[str, Any]:
            _, fine, coarse = self._pair(z, level, given)
            return {FINE: fine, COARSE: coarse}

        return self._named(both)

    def _named(self, function: Callable[[Any, Mapping[str, Any]], Any]) -> Callable[..., Any]:
        """Return a function with the name of f, and its signature but for the level."""

        def of_draw(z: Any, **given: Any) -> Any:
            return function(z, given)

        of_draw.__name__ = of_draw.__qualname__ = called(self._f)
        of_draw.__wrapped__ = self._f  # type: ignore[attr-defined]  # whose line errors name
        signature, _ = _signature(self._f)
        if signature is not None:
            of_draw.__signature__ = signature  # type: ignore[attr-defined]
        return of_draw

    def _pair(self, z: Any, level: int, given: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        """Return the difference, f at a level, and f at the level before it: the last is None at level 0."""
        fine = self._at(z, level, given)
        if level == 0:
            return fine, fine, None
        coarse = mean([self._at(x, level - 1, given) for x in self._coarser(z, level)])
        of_fine, of_coarse = (_shapes(x) for x in (fine, coarse))
        if of_fine != of_coarse:
            found = f"a value of {_described(of_fine)} at level {level} and {_described(of_coarse)} at the one before"
            raise ParameterError("f", found, "a function whose value has the same shape at all levels")
        return minus(fine, coarse), fine, coarse

    def _at(self, z: Any, level: int, given: Mapping[str, Any]) -> Any:
        return self._f(z, level=level, **given) if _signature(self._f)[1] else self._f(z, **given)

    def _coarser(self, z: Any, level: int) -> tuple[Any, ...]:
        """Return the draws of the level before that a draw is made into."""
        fine, coarse = self.q(level), self.q(level - 1)
        if self._coarsen is None:
            return (_coarsened(z, fine, coarse, level, ()),)
        found = self._coarsen(z)
        draws = found if isinstance(found, tuple) else (found,)
        accepted, expected = f"{COARSEN}: {_described(_events(coarse))}", _events(coarse)
        for draw in draws:
            if _shapes(draw) != expected:
                given = f"a function that returns {_described(_shapes(draw))} at level {level}"
                raise ParameterError("coarsen", given, accepted)
        if not draws:
            raise ParameterError("coarsen", f"a function that returns no draw at level {level}", accepted)
        return draws


def _signature(f: Callable[..., Any]) -> tuple[inspect.Signature | None, bool]:
    """Return the signature of f without the level, and whether f takes the level."""
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):
        return None, True
    kept = [p for name, p in signature.parameters.items() if name != LEVEL]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in kept)
    return signature.replace(parameters=kept), takes_any or LEVEL in signature.parameters


def _coarsened(z: Any, fine: Distribution, coarse: Distribution, level: int, path: tuple[str, ...]) -> Any:
    """Return the draw of the level before that has the same Brownian path, or is the same draw.

    Of increments of a path the coarser ones are sums of neighbours, in the unit of their own scale.
    """
    if fine.parts and fine.parts.keys() == coarse.parts.keys():
        parts = fine.parts.items()
        return {name: _coarsened(z[name], q, coarse.parts[name], level, (*path, name)) for name, q in parts}
    if _are_equal(fine, coarse):
        return z
    factor = _refinement(fine, coarse)
    if factor is None:
        name = f" of {'.'.join(path)}" if path else ""
        given = f"None{name}, where q is {fine!r} at level {level} and {coarse!r} at the one before"
        accepted = f"{COARSEN}; None is for q that stays the same, and for increments mg.Normal(np.zeros(n), scale)"
        raise ParameterError("coarsen", given, accepted)
    steps, *others = fine.event_shape
    total = np.sum(np.reshape(z, (steps // factor, factor, *others)), axis=1)
    return total * (_scale(coarse) / (_scale(fine) * math.sqrt(factor)))


def _are_equal(fine: Distribution, coarse: Distribution) -> bool:
    """Return whether two distributions are the same, with the same parameters."""
    if fine.signature != coarse.signature:
        return False
    others = coarse.flat_params
    return all(np.array_equal(to_host(x), to_host(others[path])) for path, x in fine.flat_params.items())


def _refinement(fine: Distribution, coarse: Distribution) -> int | None:
    """Return how many increments of a path make one of the coarser path; None where they are none, or no whole number.

    Increments are independent normals of mean 0, along the first axis, of which all have one scale.
    """
    of_fine, of_coarse = fine.event_shape, coarse.event_shape
    for q in (fine, coarse):
        if type(q) is not Normal or not q.event_shape or to_host(q.params["loc"]).any():
            return None
    if of_fine[1:] != of_coarse[1:] or of_fine[0] % of_coarse[0] or _scale(fine).shape != _scale(coarse).shape:
        return None
    return int(of_fine[0] // of_coarse[0]) if _scale(fine).ndim < len(of_fine) else None


def _scale(q: Distribution) -> Any:
    """Return the scale of normals: one number, where all are equal."""
    scale = np.asarray(to_host(q.params["scale"]), np.float64)
    return scale.ravel()[0] if scale.size and (scale == scale.ravel()[0]).all() else scale


def mean(trees: list[Any]) -> Any:
    """Return the mean of what f returns at some draws: of numbers, arrays, or nested dicts of them."""
    first, *others = trees
    if not others:
        return first
    if isinstance(first, Mapping):
        return {name: mean([x[name] for x in trees]) for name in first}
    total = 1.0 * first
    for other in others:
        total = total + other
    return total / len(trees)


def minus(a: Any, b: Any) -> Any:
    """Return the difference of what f returns at two draws."""
    if isinstance(a, Mapping):
        return {name: minus(a[name], b[name]) for name in a}
    return 1.0 * a - 1.0 * b  # of numbers, where f returns whether something holds


def _shapes(found: Any) -> dict[str, Shape]:
    """Return the shapes of arrays by dotted path."""
    return {path: tuple(np.shape(x)) for path, x in tree.flatten(found).items()}


def _events(q: Distribution) -> dict[str, Shape]:
    """Return the shapes of a draw's arrays by dotted path."""
    return {path: tuple(shape) for path, shape in tree.flatten(q.event_shape).items()}


def _described(shapes: Mapping[str, Shape]) -> str:
    if [*shapes] == [""]:
        return f"shape {shapes['']}"
    return f"a dict of shapes {', '.join(f'{path}: {shape}' for path, shape in shapes.items())}"
