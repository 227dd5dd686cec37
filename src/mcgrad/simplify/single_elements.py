"""In the body of a loop, compute one by one what is read one by one: no array of few numbers stands between.

A step that splits a small array, such as the correlated normals of two assets, is then one loop over the lanes. Else
there are one before, one for the elements and one after, with rows to store in between.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mcgrad.ir.build import apply, broadcast, loop, rebuild, reshape, slice_
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Var, toposort
from mcgrad.ir.rewrite import rewrite

MOST = 16  # elements of an array; more are a loop over them, which is compiled once for all


def by_element(var: Var) -> Var | None:
    """Return a loop whose body computes elements one by one; None if it does so."""
    attrs, body = var.attrs, var.attrs.body
    results = _one_by_one(body.results)
    if results == [*body.results]:
        return None
    steps = (attrs.carries, attrs.scanned, attrs.length, attrs.reverse)
    return loop(body.params, results, var.args, steps, running=attrs.running)


def _one_by_one(roots: Sequence[Var]) -> list[Var]:
    """Return the roots with slices of what is computed by element taken of its operands."""
    while True:
        split = _split(roots)
        new = rewrite(roots, lambda var, args, split=split: _rewritten(var, args, split))  # type: ignore[misc]
        found = [new[root] for root in roots]
        if found == [*roots]:
            return found
        roots = found


def _split(roots: Sequence[Var]) -> set[Var]:
    """What is computed by element, and of which slices alone are read, no element twice."""
    read: dict[Var, list[Var | None]] = {root: [None] for root in roots}
    for var in toposort(roots):
        for arg in var.args:
            read.setdefault(arg, []).append(var)
    return {
        var
        for var, readers in read.items()
        if var.shape and var.size <= MOST and OPS[var.op].category == "elementwise"
        and all(reader is not None and reader.op == "slice" for reader in readers)
        and sum(reader.size for reader in readers if reader is not None) <= var.size
    }  # fmt: skip


def _rewritten(var: Var, args: tuple[Var, ...], split: Collection[Var]) -> Var:
    again = rebuild(var, args)
    if again.op == "loop":
        return by_element(again) or again
    if var.op != "slice" or var.args[0] not in split or OPS[args[0].op].category != "elementwise":
        return again
    bounds = var.attrs.bounds
    return apply(args[0].op, *(_sliced(arg, bounds, var.shape) for arg in args[0].args))


def _sliced(x: Var, bounds: Sequence[tuple[int, int, int]], shape: tuple[int, ...]) -> Var:
    if x.op == "broadcast" and x.args[0].size == 1:
        return broadcast(reshape(x.args[0], ()), shape)
    return slice_(x, bounds)
