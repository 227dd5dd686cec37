"""Derivatives of loops: of a loop, a loop.

Forward, each step carries the tangents of what moves, beside the values. Backward, the loop runs once more and keeps
the carries that each step began with; then a loop over the steps in the opposite order computes each step again from
these, and carries the cotangents of the carries, and the sums of those of what is the same in all steps.

What another loop over the same steps computes as well, `ir.fuse_loops` makes one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from mcgrad.differentiate.structural import zeros_like
from mcgrad.differentiate.zeros import CHOSEN, FORWARD_ZEROS, NONE, Zeros
from mcgrad.ir.attributes import Loop
from mcgrad.ir.build import apply, argument, broadcast, concatenate, const, is_fill, loop, part
from mcgrad.ir.program import Var, toposort, with_bodies

Tangents = Callable[[Sequence[Var], Mapping[Var, Var], Mapping[Var, Zeros]], list[Var | None]]
Cotangents = Callable[[Mapping[Var, Var], Sequence[Var], Mapping[Var, Zeros], dict[Var, Zeros]], list[Var]]


def tangent(var: Var, ts: Sequence[Var | None], zeros: Zeros, tangents: Tangents) -> Var | None:
    """Tangent of a loop.

    Parameters
    ----------
    var : Var
    ts : sequence of Var or None
        Tangents of the arguments; None is zero.
    zeros : Zeros
        How zeros in them may come about.
    tangents : callable
        Forward mode, for the body.
    """
    attrs, body = var.attrs, var.attrs.body
    carries, last, count = attrs.carries, attrs.carries + attrs.scanned, len(body.params)
    dots = [argument(count + i, param.shape, param.level) for i, param in enumerate(body.params)]
    moves = [t is not None for t in ts]
    origin = max(zeros, *(FORWARD_ZEROS.get(inner.op, NONE) for inner in with_bodies(body.equations)))
    while True:
        if any(moves[i] and ts[i] is None for i in range(carries)):
            origin = max(origin, CHOSEN)  # the first step begins with zeros
        seeds = {param: dot for param, dot, moving in zip(body.params, dots, moves, strict=True) if moving}
        found = tangents(body.results, seeds, dict.fromkeys(seeds, origin))
        more = [moves[i] or found[i] is not None for i in range(carries)]
        if more == moves[:carries]:
            break
        moves[:carries] = more
    if not any(moves[:carries]) and not any(found):
        return None
    groups = [range(carries), range(carries, last), range(last, count)]
    params = [p for group in groups for p in (*(body.params[i] for i in group), *(dots[i] for i in group if moves[i]))]
    given = [_or_zeros(t, arg) for t, arg in zip(ts, var.args, strict=True)]
    args = [a for group in groups for a in (*(var.args[i] for i in group), *(given[i] for i in group if moves[i]))]
    moving = [i for i in range(carries) if moves[i]]
    stacked = [j for j in range(carries, len(body.results)) if found[j] is not None]
    results = [*body.results[:carries], *(_or_zeros(found[i], body.params[i]) for i in moving)]
    results += [t for j in stacked if (t := found[j]) is not None]
    scanned = attrs.scanned + sum(moves[carries:last])
    steps = (carries + len(moving), scanned, attrs.length, attrs.reverse)
    again = loop(params, results, args, steps, running=attrs.running)
    start = sum(p.size for p in body.params[:carries])
    pieces = []
    for i, result in enumerate(body.results):
        size = result.size * (attrs.length if i >= carries else 1)
        if moves[i] if i < carries else found[i] is not None:
            pieces.append(part(again, start, (size,)))
            start += size
        else:
            pieces.append(broadcast(const(0.0), (size,)))
    return concatenate(pieces, 0)


def cotangents(
    var: Var,
    ct: Var,
    zeros: Zeros,
    active: Collection[Var],
    pulled_back: Cotangents,
    of_args: dict[Var, Zeros],
) -> list[Var | None]:
    """Cotangents of the arguments of a loop: of those that are active; None is zero.

    Parameters
    ----------
    var : Var
    ct : Var
        Cotangent of the vector of results.
    zeros : Zeros
        How zeros in it may come about.
    active : collection of Var
    pulled_back : callable
        Reverse mode, for the body.
    of_args : dict
        Gets how zeros in what is returned may come about.
    """
    attrs, body = var.attrs, var.attrs.body
    carries, last, count = attrs.carries, attrs.carries + attrs.scanned, len(body.params)
    cts = [_nonzero(part(ct, start, shape)) for start, shape in attrs.places()]
    moves = _moving(attrs, [arg in active for arg in var.args])
    bars = [argument(count + i, result.shape, result.level) for i, result in enumerate(body.results)]
    pulled = [cts[i] is not None and (moves[i] if i < carries else True) for i in range(len(bars))]
    wrt = [param for param, moving in zip(body.params, moves, strict=True) if moving]
    origins = [max(zeros, CHOSEN if given is None else NONE) for given in cts]  # the last step may have zeros
    while True:
        seeds: dict[Var, Var] = {}
        of_seeds: dict[Var, Zeros] = {}
        for result, bar, given, origin in zip(body.results, bars, pulled, origins, strict=True):
            if given:
                seeds[result] = apply("add", seeds[result], bar) if result in seeds else bar
                of_seeds[result] = max(origin, of_seeds.get(result, NONE))
        ends: dict[Var, Zeros] = {}
        found = dict(zip(wrt, map(_nonzero, pulled_back(seeds, wrt, of_seeds, ends)), strict=True))
        grads = [found.get(param) for param in body.params]
        more = [pulled[i] or grads[i] is not None for i in range(carries)]
        wider = [max(origins[i], ends.get(body.params[i], NONE)) for i in range(carries)]  # of the step before
        if more == pulled[:carries] and wider == origins[:carries]:
            break
        pulled[:carries], origins[:carries] = more, wider
    for param, arg in zip(body.params, var.args, strict=True):
        of_args[arg] = max(ends.get(param, NONE), of_args.get(arg, NONE))
    backward = [i for i in range(carries) if pulled[i]]
    summed = [i for i in range(last, count) if grads[i] is not None]
    by_step = [i for i in range(carries, last) if grads[i] is not None]
    stacked = [j for j in range(carries, len(bars)) if pulled[j]]
    sums = {i: argument(count + len(bars) + i, body.params[i].shape, body.params[i].level) for i in summed}
    read = set(toposort(grad for grad in grads if grad is not None))
    taken = None  # in the steps that no draw takes nothing changes, and these may be left out
    if attrs.running is not None:
        read.add(body.params[attrs.running])
        taken = apply("not_equal", body.params[attrs.running], 0.0)
    kept = [i for i in range(carries) if body.params[i] in read]
    results = [_or_zeros(grads[i], body.params[i]) for i in backward]
    results += [apply("add", sums[i], _or_zeros(grads[i], sums[i])) for i in summed]
    results += [_or_zeros(grads[i], body.params[i]) for i in by_step]
    if taken is not None:
        before = [*(bars[i] for i in backward), *sums.values(), *(zeros_like(body.params[i]) for i in by_step)]
        results = [_where(taken, new, old) for new, old in zip(results, before, strict=True)]
    params = [*(bars[i] for i in backward), *sums.values()]
    params += [*(bars[j] for j in stacked), *(body.params[i] for i in kept), *body.params[carries:]]
    args = [_or_zeros(cts[i], body.params[i]) for i in backward] + [zeros_like(leaf) for leaf in sums.values()]
    args += [_or_zeros(cts[j], bars[j]) for j in stacked]
    args += [*_carried(var, kept), *var.args[carries:]]
    scanned = len(stacked) + len(kept) + attrs.scanned
    again = loop(params, results, args, (len(backward) + len(sums), scanned, attrs.length, not attrs.reverse))
    cotangent: list[Var | None] = [None] * count
    start = 0
    for i in (*backward, *summed, *by_step):
        shape = (attrs.length, *body.params[i].shape) if i in by_step else body.params[i].shape
        cotangent[i] = part(again, start, shape)
        start += cotangent[i].size  # type: ignore[union-attr]
    return cotangent


def _carried(var: Var, kept: Sequence[int]) -> list[Var]:
    """What some carries were before each step, along a first axis."""
    attrs, body = var.attrs, var.attrs.body
    if not kept:
        return []
    results = [*body.results[: attrs.carries], *(body.params[i] for i in kept)]
    steps = (attrs.carries, attrs.scanned, attrs.length, attrs.reverse)
    again = loop(body.params, results, var.args, steps, running=attrs.running)
    start, found = sum(param.size for param in body.params[: attrs.carries]), []
    for i in kept:
        found.append(part(again, start, (attrs.length, *body.params[i].shape)))
        start += found[-1].size
    return found


def _moving(attrs: Loop, wanted: Sequence[bool]) -> list[bool]:
    """Which arguments of the body depend on arguments of the loop that are wanted."""
    moves, body = list(wanted), attrs.body
    while True:
        depends = {param for param, moving in zip(body.params, moves, strict=True) if moving}
        for inner in body.equations:
            if any(arg in depends for arg in inner.args):
                depends.add(inner)
        more = [moves[i] or body.results[i] in depends for i in range(attrs.carries)]
        if more == moves[: attrs.carries]:
            return moves
        moves[: attrs.carries] = more


def _where(condition: Var, x: Var, y: Var) -> Var:
    return apply("where", broadcast(condition, x.shape), x, y)


def _nonzero(x: Var) -> Var | None:
    return None if is_fill(x, 0.0) else x


def _or_zeros(x: Var | None, like: Var) -> Var:
    return zeros_like(like) if x is None else x
