"""Linear controls: the noise of a draw and its squares, whose means and variances are known.

Each control has mean 0 and variance 1, and no two are correlated. A gradient in a parameter whose elements are those of
its noise, as loc and scale of a Normal, has for each element the noise of that element and its square; one in a matrix
that multiplies the noise, as scale_tril, has for the element in row i and column k the noise k and the product of the
noises i and k. Outputs of few numbers, as the value, have all of the noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mcgrad.distributions.joint import part_of
from mcgrad.gradients.method import averaged
from mcgrad.gradients.problem import Problem
from mcgrad.ir.build import apply, broadcast, const, reduce, reshape
from mcgrad.ir.program import Var
from mcgrad.ir.vmap import vmap_noise

FEW = 4  # numbers of an output that has all of the noise for controls
MOST = 256  # controls of one component


class Linear(NamedTuple):
    """The controls of one output.

    Parameters
    ----------
    every : sequence of Var
        Arrays of which each component has all elements.
    own : sequence of Var
        Arrays of the parameter's shape, of which each component has its own element.
    """

    every: Sequence[Var] = ()
    own: Sequence[Var] = ()


class Noises:
    """The noise of a Problem as controls.

    Parameters
    ----------
    problem : Problem
    k : int
        Draws that are averaged together, besides those of the integrand.
    """

    def __init__(self, problem: Problem, k: int) -> None:
        self._problem, self._k = problem, k
        self._arrays = {path: self._of_group([*_powers(eps)]) for path, eps in problem.eps.items()}
        self._outer: dict[str, list[Var]] = {}
        numbers = sum(eps.size for eps in problem.eps.values())
        powers = 2 if 2 * numbers <= MOST else 1 if numbers <= MOST else 0
        self._every = [pair[power] for power in range(powers) for pair in self._arrays.values()]

    def of_value(self) -> Linear:
        """Return the controls of the value."""
        return Linear(every=self._every) if self._problem.result.size <= FEW else Linear()

    def of_gradient(self, path: str) -> Linear:
        """Return the controls of the gradient in a parameter."""
        x = self._problem.params[path]
        if self._problem.value.size * x.size <= FEW:
            return Linear(every=self._every)
        if path not in self._problem.own:
            return Linear()
        _, part, _ = part_of(self._problem.q, path)
        inside = [name for name in self._problem.eps if name == part or not part or name.startswith(f"{part}.")]
        if len(inside) != 1:
            return Linear()
        (name,), eps = inside, self._problem.eps[inside[0]]
        if x.shape == eps.shape:
            return Linear(own=self._arrays[name])
        if x.shape == eps.shape * 2 and len(eps.shape) == 1 and eps.attrs.law == "normal":
            return Linear(own=[self._arrays[name][0], *self._products(name, eps)])
        return Linear()

    def _products(self, name: str, eps: Var) -> list[Var]:
        """The products of two noises, of variance 1, as a matrix."""
        if name not in self._outer:
            (d,) = eps.shape
            rows, columns = broadcast(reshape(eps, (d, 1)), (d, d)), broadcast(eps, (d, d))
            products = apply("subtract", apply("multiply", rows, columns), np.eye(d))
            self._outer[name] = self._of_group([apply("multiply", products, 1 - (1 - math.sqrt(0.5)) * np.eye(d))])
        return self._outer[name]

    def _of_group(self, arrays: list[Var]) -> list[Var]:
        """The means over a group of draws, times the root of their number, which keeps the variance."""
        draws, k = self._problem.draws, self._k
        if draws > 1:
            arrays = [apply("multiply", reduce("sum", x, (0,)), 1 / draws) for x in vmap_noise(arrays, draws)]
        arrays = averaged(arrays, k)
        root = math.sqrt(draws * k)
        return [apply("multiply", x, root) for x in arrays]


def _powers(eps: Var) -> tuple[Var, Var]:
    """The noise, and its square, less their means and over their standard deviations."""
    if eps.attrs.law == "normal":
        square = apply("subtract", apply("multiply", eps, eps), 1.0)
        return eps, apply("multiply", square, math.sqrt(0.5))
    centered = apply("subtract", eps, const(0.5))
    square = apply("subtract", apply("multiply", centered, centered), 1 / 12)
    return apply("multiply", centered, math.sqrt(12)), apply("multiply", square, math.sqrt(180))
