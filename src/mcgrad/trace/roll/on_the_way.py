"""Sums and extremes of what the steps of a loop give, as one more carry: so nothing is stacked for them.

`np.mean(np.array(prices))` of a list that a loop has filled reads a stack of all steps. Where a reduction over the
steps reads what is computed by element of such stacks, a loop computes it in each step. Loops over the same steps
become one later (`ir/fuse_loops`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import reduce

import numpy as np

from mcgrad.ir import build
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Var, toposort
from mcgrad.ir.rewrite import rewrite
from mcgrad.trace.lines import same_lines
from mcgrad.trace.roll.body import inner, leaf_of, of_kind

RUNNING = {"sum": ("add", 0.0), "prod": ("multiply", 1.0), "max": ("maximum", -np.inf), "min": ("minimum", np.inf)}


def reduced_on_the_way(roots: Sequence[Var]) -> list[Var]:
    """Return the roots with reductions over steps in the loops that make what is reduced."""
    order = list(toposort(roots))
    readers = Counter(arg for var in order for arg in var.args) + Counter(roots)

    def rule(var: Var, args: tuple[Var, ...]) -> Var:
        again = build.rebuild(var, args)
        if again.op == "slice":
            return _last_carry(again) or again
        if again.op not in RUNNING or 0 not in again.attrs.axes:
            return again
        computed = OPS[var.args[0].op].category == "elementwise"
        if computed and readers[var.args[0]] > 1:
            return again
        return _reduced(again.op, args[0], again.attrs.axes) or again

    new = rewrite(roots, rule)
    same_lines({var: now for var, now in new.items() if var is not now})
    return [new[root] for root in roots]


def _last_carry(x: Var) -> Var | None:
    """What a slice takes of a stack, where that is a carry after the last step; else None."""
    found = _result(x.args[0])
    if found is None:
        return None
    loop, j = found
    attrs, body = loop.attrs, loop.attrs.body
    last = 0 if attrs.reverse else attrs.length - 1
    whole = tuple((0, n, 1) for n in x.args[0].shape[1:])
    carries = [i for i in range(attrs.carries) if body.results[i] is body.results[j]]
    if x.attrs.bounds[0][:2] != (last, last + 1) or x.attrs.bounds[1:] != whole or not carries:
        return None
    start, shape = attrs.places()[carries[0]]
    return build.reshape(build.part(loop, start, shape), x.shape)


def _reduced(op: str, x: Var, axes: Sequence[int]) -> Var | None:
    """The reduction of x over the steps of a loop, and other axes; None if it is not made of results of a loop."""
    while x.op == "reshape" and x.args[0].shape[:1] == x.shape[:1] and len(x.args[0].shape) == len(x.shape):
        x = x.args[0]
    if x.op == "concatenate" and x.attrs.axis == 0:
        parts = [_reduced(op, part, axes) for part in x.args]
        if not any(parts):
            return None
        each = [done or build.reduce(op, part, axes) for done, part in zip(parts, x.args, strict=True)]
        return reduce(lambda a, b: build.apply(RUNNING[op][0], a, b), each)
    loops = {found[0] for leaf in _leaves(x) if (found := _result(leaf)) is not None}
    if len(loops) != 1:
        return None
    step = _Step(loops.pop())
    return None if step.needs_results(x) else step.reduced(op, x, axes)


def _leaves(x: Var) -> list[Var]:
    """What an expression by element reads."""
    found, work = list[Var](), [x]
    while work:
        var = work.pop()
        if OPS[var.op].category == "elementwise":
            work += var.args
        else:
            found.append(var)
    return found


def _result(x: Var) -> tuple[Var, int] | None:
    """The loop, and the number of its result, that a Var is: what is stacked, of all steps."""
    while x.op == "reshape" and x.args[0].shape[:1] == x.shape[:1]:
        x = x.args[0]
    if x.op != "part" or x.args[0].op != "loop" or x.args[0].attrs.running is not None:
        return None
    attrs = x.args[0].attrs
    for i, (start, shape) in enumerate(attrs.places()):
        if i >= attrs.carries and (start, shape) == (x.attrs.start, x.shape):
            return x.args[0], i
    return None


class _Step:
    """What a step of a loop computes besides."""

    def __init__(self, loop: Var) -> None:
        self.loop, self.attrs = loop, loop.attrs
        self.by_step: dict[Var, Var] = {}  # argument -> leaf
        self.same: dict[Var, Var] = {}

    def needs_results(self, x: Var) -> bool:
        """Whether an expression reads what is made of the loop's results otherwise."""
        others = [leaf for leaf in _leaves(x) if _result(leaf) is None]
        return any(var is self.loop for var in toposort(others))

    def reduced(self, op: str, x: Var, axes: Sequence[int]) -> Var:
        """Return the reduction of x, by a loop."""
        attrs, body, args = self.attrs, self.attrs.body, self.loop.args
        made: dict[Var, Var] = {}
        own = _expression(x)
        for var in toposort([x]):
            if var not in own:
                continue
            if OPS[var.op].category == "elementwise":
                made[var] = build.apply(var.op, *(made[arg] for arg in var.args))
            else:
                made[var] = self._read(var)
        same_lines(made)
        value = build.apply("float", made[x])
        rest = [axis - 1 for axis in axes if axis]
        value = build.reduce(op, value, rest) if rest else value
        running, begin = RUNNING[op]
        total = leaf_of(value.shape)
        carries, last = attrs.carries, attrs.carries + attrs.scanned
        params = [*body.params[:carries], total, *body.params[carries:last], *map(inner, self.by_step.values())]
        params += [*body.params[last:], *map(inner, self.same.values())]
        given = [*args[:carries], build.broadcast(build.const(begin), value.shape), *args[carries:last]]
        given += [*(build.apply("float", arg) for arg in self.by_step), *args[last:]]
        given += [build.apply("float", arg) for arg in self.same]
        results = [*body.results[:carries], build.apply(running, total, value)]
        loop = (carries + 1, attrs.scanned + len(self.by_step), attrs.length, attrs.reverse)
        new: dict[Var, Var] = {}
        again = build.loop(params, results, given, loop, new)
        same_lines(new)
        return build.part(again, attrs.carried, value.shape)

    def _read(self, var: Var) -> Var:
        """What a step reads of an array: an element of its own results, of another array, or what is repeated."""
        shape = var.shape[1:]
        found = _result(var)
        if found is not None:
            return build.reshape(self.attrs.body.results[found[1]], shape)
        if var.op == "broadcast" and (len(var.args[0].shape) < len(var.shape) or var.args[0].shape[0] == 1):
            (source,) = var.args
            own = source.shape[1:] if len(source.shape) == len(var.shape) else source.shape
            if source.is_const:
                return build.broadcast(build.reshape(source, own), shape)
            if source not in self.same:
                self.same[source] = of_kind(leaf_of(source.shape), source)
            return build.broadcast(build.reshape(self.same[source], own), shape)
        if var not in self.by_step:
            self.by_step[var] = of_kind(leaf_of(shape), var)
        return self.by_step[var]


def _expression(x: Var) -> set[Var]:
    """An expression by element: its equations and leaves."""
    found, work = set[Var](), [x]
    while work:
        var = work.pop()
        if var not in found:
            found.add(var)
            if OPS[var.op].category == "elementwise":
                work += var.args
    return found
