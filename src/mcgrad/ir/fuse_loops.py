"""Make loops over the same steps one, in which equal equations are computed once.

The derivative of a loop is another one, which computes the same values again (`differentiate.loops`): with the loop
itself, and those of other derivatives, it becomes one loop. So does a loop with another that reads its results step by
step, of which no step has to be kept then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

from mcgrad.ir.build import concatenate, loop, part, rebuild
from mcgrad.ir.program import Shape, Var, toposort
from mcgrad.ir.rewrite import Sharing, rewrite, substitute


def fuse_loops(roots: Sequence[Var]) -> list[Var]:
    """Return the roots with loops of equal length and direction fused, where none needs another's later steps.

    Parameters
    ----------
    roots : sequence of Var
        Equal equations become one, if there are loops.
    """
    roots = list(roots)
    if not any(var.op == "loop" for var in toposort(roots)):
        return roots
    share = Sharing()
    new = rewrite(roots, lambda var, args: share(rebuild(var, args)))
    roots = [new[root] for root in roots]
    while (pair := _fusible(roots)) is not None:
        new = rewrite(roots, rebuild, dict(zip(pair, _fused(*pair), strict=True)))
        roots = [new[root] for root in roots]
    return roots


def _fusible(roots: Iterable[Var]) -> tuple[Var, Var] | None:
    """Two loops that can be one: the second reads nothing of the first, or what each step gives in the same step."""
    needs: dict[Var, frozenset[Var]] = {}  # loops that a Var depends on
    for var in toposort(roots):
        above = frozenset().union(*(needs[arg] for arg in var.args))
        if var.op == "loop":
            for other in needs:
                same = other.op == "loop" and other.level == var.level
                if same and (other.attrs.length, other.attrs.reverse) == (var.attrs.length, var.attrs.reverse):
                    read = _by_step(var, other) if other in above else {}
                    if all(other not in needs[arg] or i in read for i, arg in enumerate(var.args)):
                        return other, var
            above |= {var}
        needs[var] = above
    return None


def _by_step(var: Var, other: Var) -> dict[int, Var]:
    """Which arguments by step of a loop are results of each step of another, and which ones."""
    attrs, found = other.attrs, dict[int, Var]()
    stacked = dict(zip(attrs.places()[attrs.carries :], attrs.body.results[attrs.carries :], strict=True))
    for i in range(var.attrs.carries, var.attrs.carries + var.attrs.scanned):
        arg = var.args[i]
        while arg.op == "reshape":
            arg = arg.args[0]
        if arg.op == "part" and arg.args[0] is other:
            result = stacked.get((arg.attrs.start, var.args[i].shape))
            if result is not None:
                found[i] = result
    return found


def _fused(a: Var, b: Var) -> tuple[Var, Var]:
    """The vectors of results of two loops, of one loop."""
    read = {b.attrs.body.params[i]: result for i, result in _by_step(b, a).items()}
    given = [arg for param, arg in zip(b.attrs.body.params, b.args, strict=True) if param not in read]
    own = [param for param in b.attrs.body.params if param not in read]
    m, n = a.attrs.carries, b.attrs.carries
    ends = [n, n + b.attrs.scanned - len(read)]
    args = [arg for x, y in zip(_groups(a, a.args), _cut(given, ends), strict=True) for arg in x + y]
    leaves = _groups(a, a.attrs.body.params), _cut(own, ends)
    params = [param for x, y in zip(*leaves, strict=True) for param in x + y]
    of_a, of_b = a.attrs.body.results, substitute(b.attrs.body.results, read)
    results = [*of_a[:m], *of_b[:n], *of_a[m:], *of_b[n:]]
    scanned = a.attrs.scanned + b.attrs.scanned - len(read)
    flags = [a.attrs.running, b.attrs.running]
    both = loop(
        params, results, args, (m + n, scanned, a.attrs.length, a.attrs.reverse),
        running=flags[0] if None not in flags else None,
    )  # fmt: skip
    assert both.op == "loop", "loops that depend on literals alone"
    sizes = [(prod(shape),) for _, shape in both.attrs.places()]
    pieces, last = in_order(without_repetitions(both, None if None in flags else m + flags[1]), sizes), n + len(of_a)
    vectors = [*pieces[:m], *pieces[m + n : last]], [*pieces[m : m + n], *pieces[last:]]
    return concatenate(vectors[0], 0), concatenate(vectors[1], 0)


def without_repetitions(var: Var, flag: int | None = None) -> Var:
    """The vector of results of a loop of which each argument, carry, equation and result is there once.

    A carry `flag` that differs from the one that says whether draws go on has them go on for all steps.
    """
    attrs, body = var.attrs, var.attrs.body
    carries, last = attrs.carries, attrs.carries + attrs.scanned
    same: dict[Var, Var] = {}  # of two params with one argument the first
    first: dict[object, Var] = {}
    for i, (param, arg) in enumerate(zip(body.params, var.args, strict=True)):
        if i >= carries:
            same[param] = first.setdefault((i < last, arg), param)
    classes: list[object] = list(var.args[:carries])  # equal for carries that may be equal
    while True:
        leaders: dict[object, Var] = {}
        for param, group in zip(body.params, classes, strict=False):
            same[param] = leaders.setdefault(group, param)
        share = Sharing()
        new = rewrite(body.results, lambda v, args, share=share: share(rebuild(v, args)), same)  # type: ignore[misc]
        results = [new[result] for result in body.results]
        refined = [*zip(classes, results, strict=False)]
        if len(set(refined)) == len(set(classes)):
            break
        classes = list(refined)
    kept = [i for i, param in enumerate(body.params) if same[param] is param]
    stacked = [*dict.fromkeys(results[carries:])]
    own = [i for i in kept if i < carries]
    running = None
    if attrs.running is not None and same[body.params[attrs.running]] is same[body.params[flag or attrs.running]]:
        running = own.index(body.params.index(same[body.params[attrs.running]]))
    again = loop(
        [body.params[i] for i in kept],
        [*(results[i] for i in own), *stacked],
        [var.args[i] for i in kept],
        (len(own), sum(carries <= i < last for i in kept), attrs.length, attrs.reverse),
        running=running,
    )
    shapes = [body.results[i].shape for i in own] + [(attrs.length, *x.shape) for x in stacked]
    pieces = in_order(again, [(prod(shape),) for shape in shapes])
    place = {body.params[i]: n for n, i in enumerate(own)}
    found = [pieces[place[same[param]]] for param in body.params[:carries]]
    place = {result: len(own) + n for n, result in enumerate(stacked)}
    found += [pieces[place[result]] for result in results[carries:]]
    return concatenate(found, 0)


def in_order(vector: Var, shapes: Iterable[Shape]) -> list[Var]:
    """Arrays of these shapes, one after the other in a vector."""
    found, start = [], 0
    for shape in shapes:
        found.append(part(vector, start, shape))
        start += prod(shape)
    return found


def _groups(var: Var, each: Sequence[Var]) -> list[list[Var]]:
    """Carries, what is by step, and the rest."""
    return _cut(each, [var.attrs.carries, var.attrs.carries + var.attrs.scanned])


def _cut(each: Sequence[Var], ends: Sequence[int]) -> list[list[Var]]:
    return [[*each[: ends[0]]], [*each[ends[0] : ends[1]]], [*each[ends[1] :]]]
