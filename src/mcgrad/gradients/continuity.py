"""Decide whether a comparison makes the integrand jump, or not, as in `where(S > K, S - K, 0)`, which is continuous."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.arrays import to_host
from mcgrad.gradients.both_sides import EQUALITIES, ORDERS, Leaves, Sides
from mcgrad.ir.build import concatenate, const, reshape
from mcgrad.ir.interpret import Interpreter
from mcgrad.ir.program import Var, toposort
from mcgrad.ir.rewrite import substitute
from mcgrad.ir.spaces import Values

Array = npt.NDArray[Any]
DRAWS = 16  # at which the two sides of a comparison are compared
STEPS = 10_000  # of a loop that run for it, with fewer of the draws each where there are many
CONVERGED = 1e-7  # relative change by another step, where draws leave a loop that has converged
STATES = 1024  # of steps and draws that are compared at once


class Continuity:
    """Looks at both sides of comparisons of a root, where the numbers compared are equal.

    Parameters
    ----------
    root : Var
    values : dict of Input to array
        Values of the inputs.

    Notes
    -----
    One of the numbers takes the place of the other in the whole root, and the comparison is once true and once false.
    Both are evaluated for some noise, but for what the root computes alike on both sides: most comparisons choose
    between two numbers that are the same there, and are done with after a few equations, however many the root has.
    Where an equality finds the largest or smallest element, as `z == np.max(z)` does, all elements are the same, and it
    holds for the first and then for the second. A root that has the number in another form, as the square of what is
    compared, is taken to jump. In a loop the root is what a step gives, at the values that each of the steps has, of
    the first 10,000. Where draws leave a loop by the comparison, it is enough that one more step changes next to
    nothing of what they have left it with: the loop has converged.
    """

    def __init__(self, root: Var, values: Values) -> None:
        self._root, self._values = root, values
        self._found: dict[Var, bool] = {}
        self._all: Sides | None = None
        self._in_steps: dict[tuple[Var, int], list[Sides]] = {}  # by a loop and what is given outside of it

    def is_continuous(self, comparison: Var) -> bool:
        """Return whether the root is the same on both sides of a comparison."""
        if comparison.op not in (*ORDERS, *EQUALITIES):
            return False
        if self._all is None:
            self._all = Sides(self._root, _leaves([self._root], self._values))
        if comparison not in self._found:
            self._found[comparison] = self._is_continuous(self._all, comparison)
        return self._found[comparison]

    def _is_continuous(self, sides: Sides, comparison: Var) -> bool:
        if comparison in sides.shared:
            return sides.agree(comparison)
        inner = [loop for loop, inside in sides.loops.items() if comparison in inside]
        return all(
            _has_converged(loop, list(sides.shared), comparison, [each.leaves for each in self._states(loop, sides)])
            or all(self._is_continuous(each, comparison) for each in self._states(loop, sides))
            for loop in inner
        )

    def _states(self, loop: Var, sides: Sides) -> list[Sides]:
        key = loop, id(sides)
        if key not in self._in_steps:
            root = _of_step(loop)
            self._in_steps[key] = [Sides(root, leaves) for leaves in _in_steps(loop, sides.leaves)]
        return self._in_steps[key]


def _leaves(roots: Sequence[Var], values: Values) -> dict[Var, Array]:
    """Values of the inputs, and some noise."""
    rng = np.random.default_rng(0)
    leaves: dict[Var, Array] = {}
    for var in Interpreter(roots).inputs:
        shape = (*var.shape, DRAWS)
        if var.op == "noise":
            leaves[var] = rng.standard_normal(shape) if var.attrs.law == "normal" else rng.uniform(size=shape)
        else:
            leaves[var] = np.asarray(to_host(values[var.attrs]), np.float64)[..., None]
    return leaves


def _in_steps(loop: Var, leaves: Leaves) -> Iterator[Leaves]:
    """Values of the arguments of a loop's body in its steps: of some of these at a time, with the draws of all."""
    attrs, body = loop.attrs, loop.attrs.body
    carries, last = attrs.carries, attrs.carries + attrs.scanned
    args = Interpreter(loop.args)(leaves)
    draws = max((x.shape[-1] for x in args), default=1)
    carried, one_step = args[:carries], Interpreter(body.results, body.params)
    order = (range(attrs.length)[::-1] if attrs.reverse else range(attrs.length))[:STEPS]
    taken = min(draws, max(1, STATES // max(len(order), 1)))  # of the draws, in each step the next ones
    seen: list[list[Array]] = []
    for number, t in enumerate(order):
        given = [*carried, *(arg[t] for arg in args[carries:last]), *args[last:]]
        some = np.arange(number * taken, (number + 1) * taken) % draws
        seen.append([np.broadcast_to(x, (*x.shape[:-1], draws))[..., some] for x in given])
        if len(seen) * taken >= STATES or number == len(order) - 1:
            yield {param: np.concatenate(each, -1) for param, *each in zip(body.params, *seen, strict=True)}
            seen = []
        carried = one_step(dict(zip(body.params, given, strict=True)))[:carries]


def _of_step(loop: Var) -> Var:
    """What a step gives, but for whether draws go on: that jumps, and what it chooses may not."""
    attrs = loop.attrs
    return _joined([x for i, x in enumerate(attrs.body.results) if i != attrs.running])


def _has_converged(loop: Var, readers: Sequence[Var], comparison: Var, seen: Sequence[Leaves]) -> bool:
    """Whether draws leave a loop by a comparison when another step changes no more than rounding to float32 would."""
    attrs, body = loop.attrs, loop.attrs.body
    flag = None if attrs.running is None else body.results[attrs.running]
    if flag is None or flag.op != "float" or comparison not in set(toposort([flag])):
        return False
    (goes_on,) = flag.args
    another = substitute(body.results, {goes_on: const(np.ones(goes_on.shape, bool))})
    read = {
        i for reader in readers if reader.op == "part" and reader.args[0] is loop
        for i, (start, shape) in enumerate(attrs.places())
        if start < reader.attrs.start + reader.size and reader.attrs.start < start + prod(shape)
    }  # fmt: skip
    while True:
        used = set(toposort(another[i] for i in read))
        more = read | {i for i in range(attrs.carries) if body.params[i] in used}
        if more == read:
            break
        read = more
    read -= {attrs.running}
    sides = _joined([body.params[i] for i in sorted(read)]), _joined([another[i] for i in sorted(read)])
    ended = 0
    for leaves in seen:
        found, one, other = Interpreter([goes_on, *sides], body.params)(leaves)
        here = ~np.broadcast_to(
            found.reshape(-1, found.shape[-1]).any(0), np.broadcast_shapes(one.shape, other.shape)[-1:]
        )
        one, other = (np.broadcast_to(x, (x.shape[0], len(here)))[:, here] for x in (one, other))
        ended += int(here.sum())
        with np.errstate(all="ignore"):
            if not np.all(np.abs(one - other) <= CONVERGED * (np.abs(one) + np.abs(other))):
                return False
    return ended > 0


def _joined(results: Sequence[Var]) -> Var:
    """All numbers of some Vars, in one vector."""
    return concatenate([reshape(x, (x.size,)) for x in results], 0)
