"""Central differences with common random numbers, as a method: for integrands and draws that jump."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcgrad.errors import ParameterError
from mcgrad.gradients.method import Method
from mcgrad.gradients.problem import Problem
from mcgrad.ir.build import apply, broadcast, concatenate, const, reduce, reshape, slice_, take, transpose
from mcgrad.ir.program import Shape, Var, toposort
from mcgrad.ir.spaces import Input, Space
from mcgrad.ir.vmap import vmap

SIDES = (1, -1, 2, -2)  # the points, in steps
MOST = 1 << 24  # elements of any array that has an axis for the points


@dataclass(frozen=True)
class Moves:
    """The components of one parameter that are moved, one at a time.

    Parameters
    ----------
    path : str
    shape : tuple of int
        Of the parameter.
    index : array of int, shape (components,)
        Its components that may move, counted in C order.
    """

    path: str
    shape: Shape
    index: np.ndarray[tuple[int], np.dtype[np.intp]]

    @classmethod
    def of(cls, problem: Problem, path: str, index: Sequence[int] | None = None) -> Moves:
        """Return some components, or all that may move: not those above the diagonal of a triangle."""
        shape = problem.params[path].shape
        free = problem.q.free.get(path)
        if index is None:
            index = np.flatnonzero(np.ones(shape, bool) if free is None else free).tolist()
        return cls(path, shape, np.array(index, np.intp))

    def moved(self, param: Var, points: Var) -> Var:
        """Return the parameter with each component at each of its points, one at a time.

        Parameters
        ----------
        param : Var
        points : Var, shape (sides, components)

        Returns
        -------
        Var of shape (sides * components, *shape)
        """
        sides, count = points.shape
        extent = sides * count
        self.check(extent * param.size)
        ones = (1,) * len(self.shape)
        mask = np.zeros((count, int(np.prod(self.shape, dtype=int))), bool)
        mask[np.arange(count), self.index] = True
        mask = np.tile(mask, (sides, 1)).reshape(extent, *self.shape)
        there = broadcast(reshape(points, (extent, *ones)), (extent, *self.shape))
        return apply("where", const(mask), there, broadcast(param, (extent, *self.shape)))

    def check(self, size: int) -> None:
        """Refuse an array with an axis for the points that takes more memory than there may be.

        Raises
        ------
        ParameterError
        """
        if size > MOST:
            given = f"'difference' for {self.path}, {len(self.index):,} components that are moved one at a time"
            given += f": that takes arrays of {size:,} elements a draw, and {MOST:,} is the most"
            remedy = "another method for it, or several parameters in its place, of which wrt names a few at a time"
            raise ParameterError("method", given, remedy)

    def placed(self, parts: Var) -> Var:
        """Return numbers of the components, the last axis, in the parameter's shape, with zeros for the others."""
        size, count = int(np.prod(self.shape, dtype=int)), len(self.index)
        before = parts.shape[:-1]
        if count == size:
            return reshape(parts, (*before, *self.shape))
        where = np.full(size, count)
        where[self.index] = np.arange(count)
        starts = np.arange(int(np.prod(before, dtype=int))).reshape(*before, *(1,) * len(self.shape)) * (count + 1)
        zeros = const(np.zeros((*before, 1)))
        return take(concatenate([parts, zeros], len(before)), starts + where.reshape(self.shape))


def difference(problem: Problem, wrt: Sequence[str]) -> list[Var]:
    """Make S = (4 S(h) - S(2h)) / 3, with S(h) = (F(phi + h) - F(phi - h)) / 2h and F = f(g(phi, eps)) at one eps.

    Parameters
    ----------
    problem : Problem
    wrt : sequence of str
        Paths of parameters, of q or of the integrand.

    Notes
    -----
    Glasserman 2003, section 7.1, with Richardson's extrapolation: the bias is -h^4/30 times the fifth derivative of the
    expectation. Where F jumps the variance grows as 1/h, so that a large step with a small bias is worth its two
    evaluations more. The points where F is evaluated, and the widths between them, are inputs, from `engine.steps`.
    """
    return [difference_of(problem, problem.value, path) for path in wrt]


def difference_of(problem: Problem, root: Var, path: str) -> Var:
    """Make the extrapolated difference of a root in a parameter, whose axes follow those of the root."""
    moves = Moves.of(problem, path)
    near, far = quotients(problem, moves, root)
    richardson = apply("divide", apply("subtract", apply("multiply", near, 4.0), far), 3.0)
    return moves.placed(richardson)


def quotients(problem: Problem, moves: Moves, root: Var) -> tuple[Var, Var]:
    """Make the difference quotients of a root in the components that move: with one step, and with two.

    The components are the last axis, after those of the root.
    """
    count, shape = len(moves.index), root.shape
    (value,) = at_points(problem, [root], moves, len(SIDES))
    value = transpose(value, [*range(1, len(shape) + 1), 0])
    whole = [(0, n, 1) for n in shape]
    rows = [
        reshape(slice_(value, [*whole, (i * count, (i + 1) * count, 1)]), (*shape, count)) for i in range(len(SIDES))
    ]
    widths = problem.computed(Input(Space.WIDTHS, moves.path), (2, count))
    near, far = (apply("divide", apply("subtract", rows[2 * i], rows[2 * i + 1]), _row(widths, i)) for i in range(2))
    return near, far


def at_points(problem: Problem, roots: Sequence[Var], moves: Moves, sides: int) -> list[Var]:
    """Compute each root with each component of a parameter at each of its points: one axis more, in front."""
    path = moves.path
    points = problem.computed(Input(Space.POINTS, path), (sides, len(moves.index)))
    moved = moves.moved(problem.params[path], points)
    found = vmap(roots, {problem.params[path]: moved, problem.fixed[path]: moved}, moved.shape[0])
    before = set(toposort(roots))
    moves.check(max((var.size for var in toposort(found) if var not in before), default=0))
    return found


def _row(x: Var, i: int) -> Var:
    return reshape(slice_(x, [(i, i + 1, 1), (0, x.shape[1], 1)]), (x.shape[1],))


def largest(parts: Sequence[Var], extent: int) -> Var:
    """Return the largest element of several arrays along their first axis."""
    tops = [reduce("max", reshape(part, (extent, part.size // extent)), (1,)) for part in parts]
    top = tops[0]
    for other in tops[1:]:
        top = apply("maximum", top, other)
    return top


DIFFERENCE = Method(
    "difference",
    difference,
    biased_by="A difference is biased where the expectation bends much within a step, whose size a pilot chooses.",
    of_integrand=True,
    moves=True,
)
