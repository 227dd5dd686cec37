"""Results of loops: those of a loop without some, and some in the place of others, as one vector."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import prod

from mcgrad.ir.build import broadcast, concatenate, const, loop, reshape
from mcgrad.ir.fuse_loops import in_order
from mcgrad.ir.program import Var, toposort


def with_results(var: Var, read: Collection[int]) -> Var | None:
    """Return the vector of results of a loop, with zeros for those that nothing reads; None if all are needed."""
    attrs, body, carries = var.attrs, var.attrs.body, var.attrs.carries
    live = needed(var, {*read, *(() if attrs.running is None else (attrs.running,))})
    used = set(toposort(body.results[i] for i in sorted(live)))
    kept = [i for i, param in enumerate(body.params) if i in live or (i >= carries and param in used)]
    if len(live) == len(body.results) and len(kept) == len(body.params):
        return None
    results = sorted(live)
    own = sum(i < carries for i in results)
    scanned = sum(carries <= i < carries + attrs.scanned for i in kept)
    kept = [i for i in kept if i >= carries or i in live]
    again = loop(
        [body.params[i] for i in kept],
        [body.results[i] for i in results],
        [var.args[i] for i in kept],
        (own, scanned, attrs.length, attrs.reverse),
        running=None if attrs.running is None else results.index(attrs.running),
    )
    shapes = [shape for _, shape in attrs.places()]
    return vector_of(var, dict(zip(results, in_order(again, [shapes[i] for i in results]), strict=True)))


def needed(var: Var, read: Collection[int]) -> set[int]:
    """Return the results of a loop that some of them depend on, these included."""
    body, live = var.attrs.body, set(read)
    while True:
        used = set(toposort(body.results[i] for i in sorted(live)))
        more = live | {i for i in range(var.attrs.carries) if body.params[i] in used}
        if more == live:
            return live
        live = more


def vector_of(var: Var, found: Mapping[int, Var]) -> Var:
    """Return results put together as those of a loop are; zeros for those that are missing."""
    sizes = [prod(shape) for _, shape in var.attrs.places()]
    zero = const(0.0)
    return concatenate(
        [reshape(found[i], (size,)) if i in found else broadcast(zero, (size,)) for i, size in enumerate(sizes)], 0
    )
