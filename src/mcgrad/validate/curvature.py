"""Compare second derivatives with central differences of the gradient: draw by draw, with common random numbers.

The gradient is the one that an estimate has, which `verify` compares with differences of the value. Where that is a
difference itself, whose points do not move with the parameters, the gradient in the other parameter of a pair takes its
place, or else the score function.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mcgrad.engine.estimator import Estimator
from mcgrad.engine.finite_differences import BUDGET, Differences, GradientCheck
from mcgrad.engine.options import Request
from mcgrad.engine.quotients import ALONG, STEP
from mcgrad.gradients.difference import DIFFERENCE
from mcgrad.gradients.methods import METHODS
from mcgrad.gradients.score import SCORE
from mcgrad.ir.build import apply, broadcast, reshape, take
from mcgrad.ir.program import Output, Program, Var
from mcgrad.results.components import VALUE, Component
from mcgrad.results.second import HVP
from mcgrad.simplify.fixed_point import simplify
from mcgrad.validate.rows import OneProblem


@dataclass(frozen=True)
class Entry:
    """Second derivatives in one or two parameters as derivatives of a gradient.

    Parameters
    ----------
    name : str
        Among the outputs of a Program.
    base : str
        The parameter of the gradient.
    moved : str
        The parameter that the gradient is differentiated in, or `ALONG` for all, in the direction of the vector that
        the Hessian is multiplied with.
    swapped : bool
        Whether the axes of `moved` come before those of `base`.
    """

    name: str
    base: str
    moved: str
    swapped: bool = False


class Curvature:
    """Checks the second derivatives of an Estimator.

    Parameters
    ----------
    request : Request
        Its arguments, with independent draws for each row, and its plan.
    made : Estimator
        With these, on the reference.
    """

    def __init__(self, request: Request, made: Estimator) -> None:
        assert made.plan.second
        self._request, self._made, self._second = request, made, made.plan.second.second
        self._shapes, self._free = made.derived.components.shapes, made.q.template.free
        methods = made.plan.methods
        self._numbers = sum(math.prod(shape) for shape in made.derived.components.differentiated.values())
        self._entries = [self._entry(name, entry) for name, entry in self._second.names.items()]
        own = set(made.q.flat_params)
        self._methods = {
            path: METHODS[SCORE.name] if one.moves and path in own else one for path, one in methods.items()
        }

    def _entry(self, name: str, paths: Sequence[str]) -> Entry:
        if self._second.kind == HVP:
            return Entry(name, paths[0], ALONG)
        a, b = paths[0], paths[-1]
        first, second = (self._made.plan.methods[path].name for path in (a, b))
        return Entry(name, b, a, True) if first == DIFFERENCE.name != second else Entry(name, a, b)

    @cached_property
    def _gradients(self) -> tuple[Estimator, Estimator]:
        """Estimators of the gradient alone: in float64, and in the dtype of the second derivatives."""
        plan = replace(self._made.plan, methods=self._methods, second=None, controls=(), covariance=False)
        alone = replace(self._request, plan=plan).change(
            hessian=None, hvp=None, hessian_method=None, control=None, covariance=False
        )
        wide = Estimator.of(alone.change(dtype="float64"))
        return wide, wide if self._made.dtype == "float64" else Estimator.of(alone.change(dtype=self._made.dtype))

    @property
    def count(self) -> int:
        """How many second derivatives there are, entries that no parameter moves aside."""
        return sum(len(self._places(entry)) for entry in self._entries)

    def check(
        self, problem: OneProblem, seed: int, most: int, n: int, step: float = STEP
    ) -> tuple[tuple[GradientCheck, ...], int]:
        """Compare `most` second derivatives of one problem with differences, chosen at random where there are more.

        Parameters
        ----------
        problem : OneProblem
        seed, most, n, step
            As for `Differences`.

        Returns
        -------
        tuple of GradientCheck, and the number of draws
        """
        rng, entries = np.random.default_rng(seed), self._entries
        if len(entries) > most:
            entries = [entries[i] for i in sorted(rng.permutation(len(entries))[:most])]
        wide, same = self._gradients
        inputs = {**problem.inputs, **wide.derived.pilots(problem.inputs, seed)}
        given = {**inputs, **self._made.derived.pilots(problem.inputs, seed)}
        found: list[GradientCheck] = []
        used = n
        for number, entry in enumerate(entries):
            some = most // len(entries) + (number < most % len(entries))
            chosen = [int(at) for at in np.sort(rng.permutation(self._places(entry))[:some])]
            if not chosen:
                continue
            gradient, both = self._program(wide, entry), self._program(same, entry, chosen)
            differences = Differences(problem.q, gradient, inputs, seed, self._made.dtype, float(step))
            first = gradient.outputs[0].var.size
            among = {self._component(entry, at): first + i for i, at in enumerate(chosen)}
            checks, used = differences.check(both, given, len(among), n, BUDGET / len(entries), among=among)
            start = self._made.derived.components.slices[entry.name].start
            found += [
                replace(check, component=problem.named(str(self._made.derived.components[start + at])))
                for check, at in zip(checks, chosen, strict=True)
            ]
        return tuple(found), used

    def _program(self, gradients: Estimator, entry: Entry, chosen: Sequence[int] = ()) -> Program:
        """Return the Program of a gradient, and of some of its derivatives, counted among those of an entry."""
        outputs = [Output(VALUE, _whole(gradients.program, entry.base))]
        if chosen:
            block = _whole(self._made.program, entry.name)
            outputs.append(Output(entry.name, take(reshape(block, (block.size,)), np.array(chosen, np.intp))))
        return simplify(Program(tuple(outputs), gradients.dtype))

    def _places(self, entry: Entry) -> npt.NDArray[np.intp]:
        """Return where the free second derivatives of an entry are among all of its numbers."""
        mask = np.ones(1, bool)
        for path in self._second.names[entry.name]:
            own = np.broadcast_to(self._free.get(path, True), self._shapes[path])
            mask = np.logical_and.outer(mask, own.ravel())
        return np.flatnonzero(np.broadcast_to(mask, (self._numbers, *mask.shape[1:])))

    def _component(self, entry: Entry, at: int) -> Component:
        """Return what moves, and which number of the gradient it is that is differentiated."""
        sizes = [math.prod(self._shapes[path]) for path in self._second.names[entry.name]]
        of, *places = (int(i) for i in np.unravel_index(at, (self._numbers, *sizes)))
        base, moved = (places[-1], places[0]) if entry.swapped else (places[0], places[-1])
        position = of * math.prod(self._shapes[entry.base]) + base
        if entry.moved == ALONG:
            return Component(ALONG, (), position=position)
        shape = self._shapes[entry.moved]
        indices = tuple(int(i) for i in np.unravel_index(moved, shape)) if shape else ()
        return Component(entry.moved, indices, position=position)


def _whole(program: Program, path: str) -> Var:
    """Return an output with its factor."""
    out = next(out for out in program.outputs if out.path == path)
    if out.scale is None:
        return out.var
    return apply(
        "multiply", out.var, broadcast(out.scale, out.var.shape) if out.scale.shape != out.var.shape else out.scale
    )
