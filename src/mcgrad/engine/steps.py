"""Choose the steps of `method="difference"` for each parameter: by a pilot, before a run, from the inputs alone.

The points at which the integrand is evaluated are inputs of the Program.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad import tree
from mcgrad.engine.pilot import TILE, offset_streams
from mcgrad.engine.step_search import Programs, Search
from mcgrad.gradients.difference import Moves, at_points, largest, quotients
from mcgrad.gradients.jumps import flat_arguments
from mcgrad.gradients.problem import Problem, joined
from mcgrad.ir.build import apply, broadcast
from mcgrad.ir.program import Output, Program, Var, toposort
from mcgrad.ir.spaces import Input, Space, Values
from mcgrad.moments import Float64Array
from mcgrad.noise import streams
from mcgrad.simplify.fixed_point import simplify

Array = npt.NDArray[Any]

MOST_MOVE = 8.0  # spreads: larger moves of a probe, as of draws with heavy tails, count as this
TILE_SIZE = 1 << 16  # elements of the largest intermediate values of the rows of a batch that are searched at once


class Steps:
    """Chooses the points at which central differences evaluate the integrand.

    Parameters
    ----------
    problem : Problem
    wrt : sequence of str
        Paths of the parameters that are moved.
    dtype : {"float32", "float64"}
        Of the Program that the points are for.
    only : dict of str to sequence of int, optional
        The components that are moved, counted in C order, by path: all, if nothing is given.
    roots : sequence of Var, optional
        What there are differences of: the value, if nothing is given.

    Notes
    -----
    The variance of a difference across a jump is inversely proportional to the step, and the bias grows as its fourth
    power. A step is at first `STEP` times what moves a *probe* by its spread: the draws, for parameters of q; for those
    of the integrand what its comparisons, floors and signs read, and its value. It is then halved until the bias, as
    the differences with one and with two steps show it, is below `SHARE`, and while the points are outside the
    constraint of the parameter or the integrand is not finite there. They depend on the inputs alone, not on seeds,
    draws or backends, so that estimates merge.
    """

    def __init__(
        self,
        problem: Problem,
        wrt: Sequence[str],
        dtype: str,
        only: Mapping[str, Sequence[int]] | None = None,
        roots: Sequence[Var] = (),
    ) -> None:
        self.q, self.dtype, self._problem = problem.q, np.dtype(dtype), problem
        self._root = joined(roots) if roots else problem.value
        self.moves = [Moves.of(problem, path, only[path] if only else None) for path in wrt]
        probes = {path: _probes(problem, path, self._root) for path in wrt}
        self._smooth = [path for path, found in probes.items() if found == [self._root]]
        distinct = dict.fromkeys(var for found in probes.values() for var in found)
        names = {var: str(i) for i, var in enumerate(distinct)}
        self._spread = _program([Output(name, var) for var, name in names.items()])
        self._moved = _program(
            [Output(m.path, _response(problem, m, probes[m.path], names)) for m in self.moves if probes[m.path]]
        )
        self._last: tuple[bytes, dict[Input, Array]] = b"", {}

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields with all Programs, and without the traced problem that they are made of."""
        kept = {
            name: x for name, x in vars(self).items() if name not in ("_problem", "_root", "_last", "_search", "tile")
        }
        return {**kept, "_quotients": self._quotients, "_last": (b"", {})}

    @cached_property
    def _quotients(self) -> Program | None:
        outputs = [Output("", self._root)]
        for m in self.moves:
            near, far = quotients(self._problem, m, self._root)
            best = apply("divide", apply("subtract", apply("multiply", near, 4.0), far), 3.0)
            gap = apply("subtract", near, far)
            outputs += [Output(f"{name} in {m.path}", x) for name, x in (("near", near), ("gap", gap), ("best", best))]
        return _program(outputs)

    @cached_property
    def _search(self) -> Search:
        """In a single problem, or in one row."""
        return self._searching(self._quotients, None)

    @cached_property
    def tile(self) -> Search | None:
        """In several rows of a batch at once; None, where an op has no rule for several."""
        programs = [program for program in (self._spread, self._moved, self._quotients) if program]
        largest = max(var.size for program in programs for var in program.equations())
        try:
            return self._searching(self._quotients, int(np.clip(TILE_SIZE // largest, 1, TILE)))
        except TypeError:
            return None

    def _searching(self, differences: Program | None, rows: int | None) -> Search:
        programs = Programs(self._spread, self._moved, differences)
        return Search(self.q, self.moves, self._smooth, self.dtype, programs, rows)

    def __call__(self, inputs: Values) -> dict[Input, Array]:
        """Return the points of all moved parameters, and their distances."""
        digest = hashlib.blake2b(digest_size=16)
        for path, array in inputs.items():
            digest.update(f"{path}{array.dtype}{array.shape}".encode() + array.tobytes())
        if self._last[0] != digest.digest():
            self._last = digest.digest(), self._search(inputs)
        return self._last[1]

    def steps(self, inputs: Values) -> dict[str, Float64Array]:
        """Return the steps themselves, in the shapes of the parameters, before the bias has been looked at."""
        steps = self._searching(None, None).first(inputs)  # quotients are not needed
        found = {}
        for m in self.moves:
            found[m.path] = np.ones(m.shape)
            found[m.path].flat[m.index] = steps[m.path]
        return found


def _probes(problem: Problem, path: str, root: Var) -> list[Var]:
    """Return the probes of a parameter: random Vars that depend on it, such as what a root compares."""
    param = problem.params[path]
    found = list(tree.flatten(problem.z).values()) if path in problem.own else flat_arguments(root, param) or [root]
    return [var for var in found if var.by_draw and any(source is param for source in toposort([var]))]


def _response(problem: Problem, moves: Moves, probes: Sequence[Var], names: Mapping[Var, str]) -> Var:
    """Return the largest move of the probes by a move of each component, in units of their spreads."""
    extent = len(moves.index)
    there = at_points(problem, probes, moves, 1)
    parts = []
    for probe, moved in zip(probes, there, strict=True):
        spread = broadcast(problem.computed(Input(Space.SPREAD, names[probe]), probe.shape), moved.shape)
        distance = apply("absolute", apply("subtract", moved, broadcast(probe, moved.shape)))
        parts.append(apply("minimum", apply("divide", distance, spread), MOST_MOVE))
    return largest(parts, extent)


def _program(outputs: Sequence[Output]) -> Program | None:
    return offset_streams(simplify(Program(tuple(outputs), "float64")), streams.STEPS) if outputs else None
