"""Compare the two values that a root has where the numbers that a comparison compares are equal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from heapq import heappop, heappush
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.ir.build import rebuild
from mcgrad.ir.interpret import Interpreter, meaning
from mcgrad.ir.program import Var, toposort, with_bodies
from mcgrad.ir.rewrite import Sharing, rewrite

Array = npt.NDArray[Any]
Leaves = Mapping[Var, Array]
ORDERS, EQUALITIES = ("less", "less_equal"), ("equal", "not_equal")


class Sides:
    """The values of a root, for some values of its leaves.

    Parameters
    ----------
    root : Var
    leaves : dict of Var to array
        Values of the inputs, and some of the noise.

    Attributes
    ----------
    shared : dict of Var to Var
        The equations of the root, with equal ones as one.
    """

    def __init__(self, root: Var, leaves: Leaves) -> None:
        share = Sharing()
        self.leaves = leaves
        self.shared = rewrite([root], lambda var, args: share(rebuild(var, args)))
        self._root = self.shared[root]
        self._order = {var: i for i, var in enumerate(toposort([self._root]))}
        self._readers: dict[Var, list[Var]] = {var: [] for var in self._order}
        for var in self._order:
            for arg in dict.fromkeys(var.args):
                self._readers[arg].append(var)
        self._computes: dict[Var, Callable[..., Array]] = {}

    @cached_property
    def loops(self) -> dict[Var, set[Var]]:
        """The loops, and what is in their bodies."""
        found = [var for var in self.shared if var.op == "loop"]
        return {var: set(with_bodies(var.attrs.body.equations)) for var in found}

    @cached_property
    def _values(self) -> dict[Var, Array]:
        """Of all equations."""
        evaluate = Interpreter([self._root])
        found = {**evaluate.constants(self.leaves.values()), **self.leaves}
        with np.errstate(all="ignore"):
            evaluate.step(found)
        return found

    @cached_property
    def _follows(self) -> dict[Var, int]:
        """For each equation the bits of the numbers compared that it depends on."""
        compared = {x for var in self._order if var.op in (*ORDERS, *EQUALITIES) for x in _compared(*var.args)}
        found: dict[Var, int] = {}
        self._bits = {var: 1 << i for i, var in enumerate(var for var in self._order if var in compared)}
        for var in self._order:
            found[var] = self._bits.get(var, 0)
            for arg in var.args:
                found[var] |= found[arg]
        return found

    def agree(self, comparison: Var) -> bool:
        """Return whether the root is the same whether a comparison, outside of loops, is true or false."""
        comparison = self.shared[comparison]
        follows, sides = self._follows, _compared(*comparison.args)
        for held, replaced in (sides, sides[::-1]):
            extreme = held.op in ("max", "min") and held.size == 1 and held.args[0] is replaced
            if comparison.op in ORDERS:
                skipped = replaced.is_const or not _fits(held, replaced) or bool(follows[held] & self._bits[replaced])
            else:
                skipped = not extreme or replaced.shape != comparison.shape
            if not skipped and self._agree(comparison, held, replaced):
                return True
        return False

    def _agree(self, comparison: Var, held: Var, replaced: Var) -> bool:
        """Whether the root is the same with one number in place of the other.

        What follows the comparison is computed for both answers, in order, until nothing that differs is read.
        """
        value = self._values[held]
        lead = (1,) * (len(replaced.shape) - len(held.shape))
        place = np.broadcast_to(value.reshape(*lead, *value.shape), (*replaced.shape, value.shape[-1]))
        moved = {replaced: place}
        both = {comparison: _answers(comparison)}
        waiting: list[int] = []
        variables, queued = self._in_order, set[Var]()

        def read(var: Var) -> None:
            for reader in self._readers[var]:
                if reader not in queued:
                    queued.add(reader)
                    heappush(waiting, self._order[reader])

        read(comparison)
        with np.errstate(all="ignore"):
            while waiting:
                var = variables[heappop(waiting)]
                if var is replaced:
                    continue
                args = [both.get(arg) or (self._moved(arg, replaced, moved),) * 2 for arg in var.args]
                one, other = (self._compute(var, [pair[i] for pair in args]) for i in (0, 1))
                if np.all(one == other) and np.all(np.isfinite(one)):
                    moved[var] = one
                else:
                    both[var] = one, other
                    read(var)
            if self._root not in both:
                return True
            one, other = both[self._root]
            if self._root.kind == "bool":
                return bool(np.all(one == other))
            return bool(np.all(np.abs(one - other) <= 1e-9 * (np.abs(one) + np.abs(other))))

    @cached_property
    def _in_order(self) -> list[Var]:
        return list(self._order)

    def _moved(self, var: Var, replaced: Var, moved: dict[Var, Array]) -> Array:
        """Return the value of what does not follow a comparison, with another number in place of one."""
        bit, stack = self._bits[replaced], [var]
        while stack:
            last = stack[-1]
            if last in moved or not self._follows[last] & bit:
                stack.pop()
                continue
            missing = [arg for arg in last.args if self._follows[arg] & bit and arg not in moved]
            if missing:
                stack += missing
                continue
            args = [moved[arg] if arg in moved else self._values[arg] for arg in last.args]
            moved[last] = self._compute(last, args)
            stack.pop()
        return moved[var] if var in moved else self._values[var]

    def _compute(self, var: Var, args: list[Array]) -> Array:
        if var not in self._computes:
            self._computes[var] = meaning(var, "float64")
        return self._computes[var](var, *args)


def _answers(comparison: Var) -> tuple[Array, Array]:
    """What a comparison says on both sides of where it changes."""
    first = np.full((*comparison.shape, 1), True)
    if comparison.op not in ORDERS and comparison.size > 1:
        first = (np.arange(comparison.size) == 0).reshape(*comparison.shape, 1)
        second = (np.arange(comparison.size) == 1).reshape(*comparison.shape, 1)
        return (first, second) if comparison.op == "equal" else (~first, ~second)
    return first, ~first


def _compared(one: Var, other: Var) -> list[Var]:
    """What is compared: two arrays before they are broadcast, where one of them can take the place of the other."""
    inner = [var.args[0] if var.op == "broadcast" else var for var in (one, other)]
    return inner if _fits(*inner) or _fits(*inner[::-1]) else [one, other]


def _fits(var: Var, place: Var) -> bool:
    """Whether an array can be broadcast to the shape of another."""
    longest = len(var.shape) <= len(place.shape)
    return longest and all(n in (1, m) for n, m in zip(var.shape[::-1], place.shape[::-1], strict=False))
