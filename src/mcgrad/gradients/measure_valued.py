"""The measure-valued method: the gradient as a difference of two expectations, with coupled draws."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcgrad import tree
from mcgrad.differentiate.jacobian import jacobian
from mcgrad.differentiate.structural import unbroadcast
from mcgrad.distributions.decompositions import Decomposition
from mcgrad.distributions.draw import Draw
from mcgrad.distributions.families import families
from mcgrad.distributions.joint import part_of
from mcgrad.errors import ParameterError
from mcgrad.gradients.method import Kind, Method
from mcgrad.gradients.problem import Problem
from mcgrad.ir.build import apply, as_var, broadcast, const, noise, reshape, transpose
from mcgrad.ir.program import Var
from mcgrad.ir.rewrite import substitute
from mcgrad.ir.vmap import vmap
from mcgrad.trace.trace import trace


def measure_valued(problem: Problem, wrt: Sequence[str]) -> list[Var]:
    """Make c (f(z+) - f(z-)) for each component of the draw, replaced in turn by a coupled pair.

    Parameters
    ----------
    problem : Problem
        Of an integrand that takes one draw.
    wrt : sequence of str
        Paths of parameters of q, whose families have a decomposition for them.

    Notes
    -----
    Mohamed et al. 2020, section 6, equations 32 and 40: the derivative of the density in a parameter is c (p+ - p-),
    two densities. f need not be differentiable, nor continuous. A draw of d components takes about d evaluations of f,
    2 d where neither density is q itself. Where f itself reads phi, as an ELBO does, its own derivative is added.
    """
    params = [problem.params[path] for path in wrt]
    direct = jacobian(problem.integrand(problem.fixed, problem.params), params)
    replaced = _Replaced(problem)
    return [apply("add", mine, replaced.gradient(path)) for path, mine in zip(wrt, direct, strict=True)]


def _one_draw(problem: Problem, wrt: Sequence[str], method: str) -> None:
    """Refuse bounds of several draws."""
    if problem.draws > 1:
        given = f"{method!r} for a bound of {problem.draws} draws"
        raise ParameterError("method", given, "'dreg', 'pathwise' or 'score'")


def _own_draws(problem: Problem, wrt: Sequence[str], method: str) -> None:
    """Refuse draws of a proposal, in whose place there would be draws of q."""
    if problem.proposal:
        given = f"{method!r} with proposal={problem.proposal.p!r}"
        raise ParameterError("method", given, "'pathwise', 'score' or 'difference'")


def _decompositions(problem: Problem, wrt: Sequence[str], method: str) -> None:
    """Refuse parameters of families without a decomposition."""
    for path in wrt:
        q, _, name = part_of(problem.q, path)
        if name not in q.decompositions:
            known = [f"{each}.{own}" for each, family in families().items() for own in family.decompositions]
            given = f"a parameter of {type(q).__name__}, of which no measure-valued decomposition is known"
            raise ParameterError(path, given, f"one of {', '.join(known)}; or another method for this parameter")


class _Replaced:
    """The integrand with components of the draw replaced."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.z = problem.frozen_tree(problem.z)  # leaves by path
        self.leaves = {path: noise(-1 - i, "draw", z.shape) for i, (path, z) in enumerate(self.z.items())}
        value = problem.integrand_at(Draw(tree.unflatten(self.leaves)), problem.fixed)
        (self.value,) = problem.frozen(value)
        (self.plain,) = self.at({})

    def at(self, draws: dict[str, Var]) -> list[Var]:
        """The integrand at the draw, with some of its leaves replaced."""
        return substitute([self.value], {leaf: draws.get(path, self.z[path]) for path, leaf in self.leaves.items()})

    def gradient(self, path: str) -> Var:
        q, part, name = part_of(self.problem.q, path)
        constant, *draws = self._coupled(list(q.flat_params), q.decompositions[name], part)
        terms = [self._each(part, z) for z in draws]
        leaf, param, before = self.z[part].shape, self.problem.params[path].shape, self.value.shape
        gap = apply("multiply", constant, reshape(apply("subtract", *terms), (*before, *leaf)))
        if not before:
            return unbroadcast(gap, param)
        ones = (1,) * (len(leaf) - len(param))
        return reshape(unbroadcast(gap, (*before, *ones, *param)), (*before, *param))

    def _coupled(self, names: Sequence[str], rule: Decomposition, part: str) -> list[Var]:
        """The constant and the two draws, each of the draw's shape."""
        z = self.z[part]
        u = noise(self.problem.sources + list(self.z).index(part), "uniform", z.shape)
        prefix = f"{part}." if part else ""
        params = {name: self.problem.fixed[prefix + name] for name in names}
        found = trace(rule, (z, u), params)
        return [broadcast(apply("float", as_var(x)), z.shape) for x in found]

    def _each(self, part: str, replacement: Var) -> Var:
        """The integrand with each component replaced in turn, which are the last axis."""
        z, leaf, before = self.z[part], self.leaves[part], self.plain.shape
        if replacement is z:
            return broadcast(reshape(self.plain, (*before, 1)) if before else self.plain, (*before, z.size))
        if z.size == 1:
            return reshape(self.at({part: replacement})[0], (*before, 1))
        others = {other: self.z[path] for path, other in self.leaves.items() if path != part}
        (value,) = substitute([self.value], others)
        which = const(np.eye(z.size, dtype=bool))
        rows = [broadcast(reshape(x, (1, z.size)), (z.size, z.size)) for x in (replacement, z)]
        batch = reshape(apply("where", which, *rows), (z.size, *z.shape))
        return transpose(vmap([value], {leaf: batch}, z.size)[0], [*range(1, len(before) + 1), 0])


MEASURE_VALUED = Method(
    "measure_valued",
    measure_valued,
    kinds=Kind.FUNCTION | Kind.OBJECTIVE,
    needs=(_one_draw, _own_draws, _decompositions),
    biased_by="A measure-valued gradient needs decompositions that are those of the density of what is drawn.",
)
