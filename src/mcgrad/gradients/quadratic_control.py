"""Quadratic controls: the pathwise gradient of f's second-order Taylor model about the mean of normal draws.

With z = mu + x, x linear in normal noise, the model f(mu) + g.x + x'Hx / 2 has a known expectation, and so have its
derivatives in the parameters along draws, mu and H held. H is not made: products with it are derivatives of the
gradient's product with a vector. Miller, Foti, D'Amour and Adams 2017; Geffner and Domke 2020 for any covariance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcgrad import tree
from mcgrad.differentiate.modes import gradient
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.draw import Draw
from mcgrad.distributions.multivariate_normal import MultivariateNormal
from mcgrad.distributions.normal import Normal
from mcgrad.errors import ParameterError
from mcgrad.gradients.method import Method
from mcgrad.gradients.pathwise import PATHWISE
from mcgrad.gradients.problem import Problem
from mcgrad.inputs.control import QUADRATIC
from mcgrad.ir.build import apply, broadcast, const, input_, reduce
from mcgrad.ir.program import Var
from mcgrad.ir.rewrite import substitute
from mcgrad.ir.spaces import Space
from mcgrad.ir.vmap import vmap

FAMILIES = (Normal, MultivariateNormal)
MOST = 1 << 24  # numbers of products with the Hessian in all directions of the noise


class Quadratic:
    """The second-order model of one problem.

    Parameters
    ----------
    problem : Problem

    Raises
    ------
    ParameterError
        Draws are not normal, f is not one number or takes several draws, or it has no second derivative.
    """

    def __init__(self, problem: Problem) -> None:
        _refuse(problem)
        self._problem = problem
        z = tree.flatten(problem.z)
        at = {path: input_(path, x.shape, Space.CENTER) for path, x in z.items()}
        along = {path: input_(path, x.shape, Space.TANGENT) for path, x in z.items()}
        places, directions = [*at.values()], [*along.values()]
        point = tree.unflatten(at)
        (value,) = problem.frozen(problem.integrand_at(Draw(point, lambda: point), problem.fixed))
        try:
            slopes = gradient(value, places)
            curved = gradient(_dot(slopes, directions), places)
        except TypeError as error:
            given = f"{QUADRATIC!r} for an integrand without second derivatives ({error})"
            raise ParameterError("control", given, '"linear", or a mcgrad.Control') from error

        roots = [*z.values()]
        eps = [*problem.eps.values()]
        middle = substitute(roots, {x: const(np.zeros(x.shape)) for x in eps})  # of the draws, moved by parameters
        center = problem.frozen(*middle)
        steps = [apply("subtract", x, m) for x, m in zip(roots, center, strict=True)]
        there = dict(zip(places, center, strict=True))
        self._slopes = substitute(slopes, there)
        self._curved = substitute(curved, there | dict(zip(directions, problem.frozen(*steps), strict=True)))
        self._steps, self._middle = steps, middle

        extent = sum(x.size for x in eps)
        mapped = vmap(roots, _basis(eps, extent), extent)
        self._each = [apply("subtract", x, broadcast(m, x.shape)) for x, m in zip(mapped, middle, strict=True)]
        frozen = problem.frozen(*self._each)
        self._curved_each = substitute(vmap(curved, dict(zip(directions, frozen, strict=True)), extent), there)

    def of_value(self) -> list[Var]:
        """Return the model less its mean, and less f at the mean of the draws."""
        if self._problem.result.size > 1:
            return []
        half = apply("multiply", apply("subtract", _dot(self._curved, self._steps), self._spread()), 0.5)
        return [apply("add", _dot(self._slopes, self._steps), half)]

    def _spread(self) -> Var:
        """The mean of x'Hx."""
        return _dot(self._curved_each, self._each)

    def of_gradients(self, method: Method, paths: Sequence[str]) -> dict[str, list[Var]]:
        """Return the derivatives of the model along draws, less their means.

        Raises
        ------
        ParameterError
            The method is not "pathwise".
        """
        problem = self._problem
        own = [path for path in paths if path in problem.own]
        if own and method is not PATHWISE:
            given = f"{QUADRATIC!r} for the gradient in {own[0]} by {method.name!r}"
            raise ParameterError("control", given, f'{PATHWISE.name!r} gradients, or "linear"')
        params = [problem.params[path] for path in own]
        drawn = gradient(apply("add", _dot(self._slopes, self._steps), _dot(self._curved, self._steps)), params)
        expected = apply("add", _dot(self._slopes, self._middle), _dot(self._curved_each, self._each))
        means = gradient(expected, params)
        return {p: [apply("subtract", x, m)] for p, x, m in zip(own, drawn, means, strict=True)}


def _refuse(problem: Problem) -> None:
    other = next((part for part in _parts(problem.q) if type(part) not in FAMILIES), None)
    if problem.proposal is not None or other is not None:
        given = f"{QUADRATIC!r} with {f'draws of {type(other).__name__}' if other else 'a proposal'}"
        raise ParameterError("control", given, f'draws of {" or ".join(x.__name__ for x in FAMILIES)}, or "linear"')
    if problem.draws > 1 or problem.value.size > 1:
        what = f"of {problem.draws} draws" if problem.draws > 1 else f"that returns {problem.value.size:,} numbers"
        raise ParameterError("control", f"{QUADRATIC!r} for an integrand {what}", 'one number of one draw, or "linear"')
    numbers = sum(x.size for x in problem.eps.values())
    if numbers**2 > MOST:
        given = f"{QUADRATIC!r} for draws of {numbers:,} numbers"
        raise ParameterError("control", given, f'at most {int(MOST**0.5):,}, or "linear"')


def _parts(q: Distribution) -> list[Distribution]:
    return [each for part in q.parts.values() for each in _parts(part)] if q.parts else [q]


def _basis(eps: Sequence[Var], extent: int) -> dict[Var, Var]:
    """Return for each noise its part of all unit vectors."""
    found, start = {}, 0
    for x in eps:
        unit = np.zeros((extent, x.size))
        unit[start : start + x.size] = np.eye(x.size)
        found[x], start = const(unit.reshape(extent, *x.shape)), start + x.size
    return found


def _dot(first: Sequence[Var], second: Sequence[Var]) -> Var:
    """The sum of the products of the elements of arrays."""
    total = const(0.0)
    for x, y in zip(first, second, strict=True):
        total = apply("add", total, reduce("sum", apply("multiply", x, y), range(len(x.shape))))
    return total
