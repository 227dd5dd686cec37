"""Second derivatives: the derivative of what a method makes of the gradient, by the same or by another method.

A gradient G(eps; phi) is itself an integrand, of expectation d/dphi E f. Its derivative is

- pathwise, dG/dphi at the same noise, where G is continuous along draws;
- by the score, E[dG/dphi at a held draw + G d log q/dphi], where G was made at a held draw, too;
- a difference of G at moved parameters with the same noise, whatever G is.

A payoff with a kink has a pathwise gradient that jumps, so that its pathwise derivative lacks the jump: there the score
of one of the two parameters and the pathwise derivative of the other, in this order, need the value to be continuous
alone (Glasserman 2003, section 7.3.3: the mixed estimators).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mcgrad import tree
from mcgrad.arrays import to_host
from mcgrad.differentiate.again import differentiable
from mcgrad.differentiate.jacobian import jacobian
from mcgrad.differentiate.modes import pushed_forward
from mcgrad.distributions.joint import part_of
from mcgrad.errors import ParameterError, TraceError
from mcgrad.gradients.baselines import MEAN, SHARED
from mcgrad.gradients.difference import DIFFERENCE, difference_of
from mcgrad.gradients.jump_check import in_jumps_alone
from mcgrad.gradients.jumps import HOLDING
from mcgrad.gradients.kinks import BENDING, kink
from mcgrad.gradients.method import Method
from mcgrad.gradients.methods import METHODS
from mcgrad.gradients.needs import smooth_draws, traced_parameters
from mcgrad.gradients.pathwise import PATHWISE
from mcgrad.gradients.problem import Problem
from mcgrad.gradients.score import SCORE
from mcgrad.gradients.score_mean import scores_of_mean_zero
from mcgrad.inputs.objectives import Objective
from mcgrad.ir.build import apply, broadcast, const, rebuild, reduce, reshape, take, transpose
from mcgrad.ir.program import Var, toposort, with_bodies
from mcgrad.ir.rewrite import rewrite
from mcgrad.ir.spaces import Values, param
from mcgrad.trace.lines import Line

NEARBY = 1e-3  # of a parameter, by which it is moved
MOST = 1 << 24  # elements of an array of second derivatives


@dataclass(frozen=True)
class Way:
    """How a block of second derivatives is estimated.

    Parameters
    ----------
    first : str
        The method of the gradient.
    then : {"pathwise", "score", "difference"}
        What that is differentiated by.
    swapped : bool
        Whether the gradient is in the second parameter of the pair, and then differentiated in the first.
    """

    first: str
    then: str
    swapped: bool = False

    def __str__(self) -> str:
        return f"{self.first} twice" if self.first == self.then else f"{self.first}, then {self.then}"

    @property
    def scores(self) -> bool:
        """Whether there is a score function, whose variance a baseline reduces."""
        return SCORE.name in (self.first, self.then)


class Derivatives:
    """Makes second derivatives of one problem.

    Parameters
    ----------
    problem : Problem
    looked_at : sequence of dict of Input to array
        Values of the inputs at which kinks are looked for: of a batch those of some rows. By default the problem's own.
    """

    def __init__(self, problem: Problem, looked_at: Sequence[Values] = ()) -> None:
        self.problem, self._looked_at = problem, [*looked_at] or [problem.values]
        self._gradients: dict[tuple[str, str, bool], Var] = {}
        self._live: dict[Var, Var] = {}

    # Whether a way is open

    def refusal(self, way: Way, a: str, b: str) -> str:
        """Say why a way does not serve a pair of parameters; nothing where it does."""
        a, b = (b, a) if way.swapped else (a, b)
        try:
            if way.then == SCORE.name:
                self._check_scores([a, b])
                self.held(a, b)
                return self._refusal_of_scores(a, b)
            if way.first == SCORE.name:
                self._check_scores([a])
            if METHODS[way.first].follows_draw and in_jumps_alone(self.problem.value, self.problem.params[a]):
                return f"the value, or a part of it, follows {a} in jumps alone, where that gradient is zero"
            gradient = self.gradient(way.first, a, baseline=False)
            if way.then == DIFFERENCE.name:
                return self._refusal_of_differences(way.first, a)
            return self._refusal_along(way.first, gradient, a, b)
        except ParameterError as error:
            return f"{error.parameter} is {error.given}"
        except TraceError as error:
            return str(error)
        except TypeError as error:
            return str(error)

    def _refusal_of_scores(self, a: str, b: str) -> str:
        """Say why a score is not differentiated at a held draw, as that in the location of a Laplace distribution."""
        problem = self.problem
        (score,) = jacobian(problem.log_q(), [problem.params[a]])
        if place := self._place(score, b, self._smooth(a), problem.lines, HOLDING):
            return f"the score in {a} jumps as {b} moves, {place}"
        return ""

    def _refusal_of_differences(self, first: str, a: str) -> str:
        """Say why a gradient is not differentiated by differences, or why that of a score is, in its place."""
        if first == DIFFERENCE.name:
            return "a difference of differences is next to nothing but noise"
        if METHODS[first].follows_draw and a in self.problem.own and (place := self._jump(a)):
            with suppress(ParameterError, TraceError):
                self._check_scores([a])
                return f"the value jumps {place}, which that gradient lacks"
        return ""

    def _refusal_along(self, first: str, gradient: Var, a: str, b: str) -> str:
        """Say why a gradient is not differentiated along draws."""
        problem = self.problem
        for need in (smooth_draws, traced_parameters):
            need(problem, [b], PATHWISE.name)
        if first == DIFFERENCE.name:
            return "a derivative of differences is as noisy as they are"
        if METHODS[first].follows_draw and self._is_implicit(a):
            return f"draws follow {a} by the derivative of a distribution function, which has one derivative"
        jacobian(gradient, [problem.params[b]])  # raises where an op has no rule
        if METHODS[first].follows_draw and (place := self._jump(a)):
            return f"the value jumps {place}, which that gradient lacks"
        if place := self._kink(first, gradient, a, b):
            return f"that gradient jumps {place}, which its derivative at single draws lacks"
        return ""

    def _check_scores(self, paths: Sequence[str]) -> None:
        problem = self.problem
        for path in paths:
            if path not in problem.own:
                raise ParameterError(path, "a parameter that only the integrand has, without a score", "one of q")
        if problem.draws > 1 or problem.proposal:
            raise ParameterError("hessian", "scores of several draws, or of weighted ones", "pathwise derivatives")
        scores_of_mean_zero(problem, list(dict.fromkeys(paths)), SCORE.name)

    def _is_implicit(self, path: str) -> bool:
        """Whether draws follow a parameter by the derivative of their distribution function."""
        found = [var for var in toposort(tree.flatten(self.problem.z).values()) if var.op == "implicit"]
        return path in self.problem.own and any(self.problem.params[path] in set(toposort([var])) for var in found)

    @cached_property
    def library(self) -> set[Var]:
        """The equations of distributions, and those of functions such as logsumexp whose comparisons do not jump."""
        problem = self.problem
        roots = [*tree.flatten(problem.z).values(), problem.value]
        if isinstance(problem.f, Objective):
            roots.append(problem.integrand(problem.fixed, problem.params))
        with suppress(ParameterError, TraceError):  # there is no density
            roots.append(problem.log_q())
        return {var for var in with_bodies(toposort(roots)) if var not in problem.lines}

    def _jump(self, path: str) -> str | None:
        """Say where the value jumps as a parameter moves, whatever the gradient reads; None where it does not."""
        value, lines = self.problem.value, self.problem.lines
        return self._place(value, path, self.library, lines, HOLDING)

    def _smooth(self, path: str) -> Collection[Var]:
        """The equations of distributions whose comparisons make no jumps in a score."""
        part = part_of(self.problem.q, path)[0]
        return () if part.has_crease else self.library

    def _kink(self, first: str, gradient: Var, of: str, path: str) -> str | None:
        """Say where the gradient in one parameter jumps as another moves; None where it does not."""
        library, lines = (
            set(self.library if METHODS[first].follows_draw else self._smooth(of)),
            dict(self.problem.lines),
        )
        for var, now in self._live.items():
            if var in library:
                library.add(now)
            elif var in lines:
                lines[now] = lines[var]
        holding = BENDING if METHODS[first].follows_draw else HOLDING
        return self._place(gradient, path, library, lines, holding)

    def _place(
        self, root: Var, path: str, library: Collection[Var], lines: Mapping[Var, Line], holding: Collection[str]
    ) -> str | None:
        """Say where a root jumps as a parameter moves, at any of the values that are looked at."""
        places = (kink(root, self.problem.params[path], library, lines, x, holding) for x in self._nearby)
        return next(filter(None, places), None)

    @cached_property
    def _nearby(self) -> list[Values]:
        """Values of the inputs, parameters moved a little: a jump may be zero at what they are, as in round numbers."""
        return [self._moved(values) for values in self._looked_at]

    def _moved(self, values: Values) -> Values:
        rng = np.random.default_rng(0)
        found = dict(values)
        for path in self.problem.params:
            x = np.asarray(to_host(found[param(path)]), np.float64)
            by = NEARBY * rng.uniform(0.5, 1.0, x.shape)
            free = self.problem.q.free.get(path, True) if path in self.problem.own else True
            found[param(path)] = np.where(free, np.where(x == 0, by, x * (1 + by)), x)
        return found

    # Gradients

    def gradient(self, name: str, path: str, baseline: bool) -> Var:
        """Return the gradient by a method as a function of the noise and the parameters, all of which move it.

        Parameters
        ----------
        name : str
            Of a method without control variate.
        path : str
        baseline : bool
            Whether a score function is less the mean of f, which a pilot computes.
        """
        key = name, path, baseline
        if key not in self._gradients:
            method: Method = METHODS[name]
            apply_to = MEAN.apply if baseline and name == SCORE.name else method.apply
            for need in method.needs:
                need(self.problem, [path], name)
            (found,) = apply_to(self.problem, [path])
            self._gradients[key] = self._moving(found)
        return self._gradients[key]

    def _moving(self, root: Var) -> Var:
        """Return what is constant in some parameters as a function of all."""
        problem = self.problem
        given = {problem.fixed[path]: problem.params[path] for path in problem.params}
        self._live |= rewrite([root], rebuild, {**given, **self._live})
        return differentiable([self._live[root]])[0]

    # Blocks

    def block(self, way: Way, a: str, b: str) -> Var:
        """Make the second derivatives in two parameters: the axes of the value, of the first, and of the second."""
        if way.swapped:
            found = self.block(Way(way.first, way.then), b, a)
            lead, second = len(self.problem.value.shape), len(self.problem.params[b].shape)
            axes = range(len(found.shape))
            return transpose(found, [*axes[:lead], *axes[lead + second :], *axes[lead : lead + second]])
        self._check_size(a, b)
        if way.then == SCORE.name:
            return self._free(self.held(a, b), a, b)
        gradient = self.gradient(way.first, a, baseline=True)
        if way.then == DIFFERENCE.name:
            return self._free(difference_of(self.problem, gradient, b), a, b)
        return self._free(jacobian(gradient, [self.problem.params[b]])[0], a, b)

    def held(self, a: str, b: str) -> Var:
        """Make E[D_b D_a f] with D X = dX/dphi + X d log q/dphi at a held draw: f may jump.

        Of the terms with f alone, whose factor has mean zero, f is less its mean.
        """
        problem = self.problem
        first, second = problem.params[a], problem.params[b]
        value, log_q = problem.integrand(problem.fixed, problem.params), problem.log_q()
        less = apply("subtract", value, problem.computed(SHARED, value.shape))
        direct, (score,) = jacobian(value, [first])[0], jacobian(log_q, [first])
        (once,) = differentiable([apply("add", direct, _outer(less, score))])
        (twice,) = jacobian(once, [second])
        (other,) = jacobian(log_q, [second])
        return apply("add", twice, _outer(once, other))

    def product(self, ways: dict[str, Way], a: str, directions: dict[str, Var]) -> Var:
        """Make the product of the rows of the Hessian in one parameter with a vector.

        Parameters
        ----------
        ways : dict of str to Way
            Of the block with each parameter of the vector.
        a : str
        directions : dict of str to Var
            The vector, by the path of the parameter.
        """
        problem = self.problem
        shape = (*problem.value.shape, *problem.params[a].shape)
        along: dict[str, list[str]] = {}
        terms: list[Var] = []
        for b, way in ways.items():
            if way.then == PATHWISE.name and not way.swapped:
                along.setdefault(way.first, []).append(b)
                continue
            block, v = self.block(way, a, b), directions[b]
            spread = apply("multiply", block, broadcast(v, block.shape)) if v.shape else apply("multiply", block, v)
            terms.append(reduce("sum", spread, range(len(shape), len(block.shape))))
        for first, paths in along.items():
            gradient = self.gradient(first, a, baseline=True)
            (tangent,) = pushed_forward([gradient], {problem.params[b]: directions[b] for b in paths})
            if tangent is not None:
                terms.append(tangent)
        total = broadcast(const(0.0), shape)
        for term in terms:
            total = apply("add", total, term)
        return self._free(total, a)

    def diagonal(self, way: Way, a: str) -> Var:
        """Make the second derivatives of each component of a parameter with itself."""
        block, lead = self.block(way, a, a), self.problem.value.shape
        own = self.problem.params[a].shape
        size, numbers = int(np.prod(own, dtype=int)), int(np.prod(lead, dtype=int))
        index = np.arange(numbers)[:, None] * size**2 + np.arange(size) * (size + 1)
        return take(block, index.reshape((*lead, *own)))

    def _free(self, found: Var, *paths: str) -> Var:
        """Return second derivatives with zeros for entries that no parameter moves, as above a triangle's diagonal."""
        start = len(self.problem.value.shape)
        for path in paths:
            shape = self.problem.params[path].shape
            free = self.problem.q.free.get(path) if path in self.problem.own else None
            if free is not None and not np.all(free):
                rest = len(found.shape) - start - len(shape)
                mask = np.broadcast_to(free, shape).reshape(*shape, *(1,) * rest)
                found = apply("where", const(np.broadcast_to(mask, found.shape).copy()), found, 0.0)
            start += len(shape)
        return found

    def _check_size(self, a: str, b: str) -> None:
        problem = self.problem
        size = problem.value.size * problem.params[a].size * problem.params[b].size
        if size > MOST:
            given = f"second derivatives in {a} and {b}, {size:,} numbers, and {MOST:,} is the most"
            raise ParameterError("hessian", given, "hvp=, products with a vector, or fewer parameters by name")


def _outer(x: Var, y: Var) -> Var:
    """Return the products of all elements of two arrays, the axes of the first in front."""
    shape = (*x.shape, *y.shape)
    return apply("multiply", broadcast(reshape(x, (*x.shape, *(1,) * len(y.shape))), shape), broadcast(y, shape))
