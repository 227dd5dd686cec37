"""Loops, parts of their results, and equations made again with other arguments, in the bodies of loops, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mcgrad.ir import attributes
from mcgrad.ir.body import Body
from mcgrad.ir.build.contractions import reduce
from mcgrad.ir.build.elementwise import apply, broadcast
from mcgrad.ir.build.equations import make
from mcgrad.ir.build.leaves import argument, const
from mcgrad.ir.build.lookups import gather
from mcgrad.ir.build.structural import concatenate, reshape
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Level, Shape, Var, toposort


def loop(
    params: Sequence[Var],
    results: Sequence[Var],
    args: Sequence[Var],
    loop: tuple[int, int, int, bool],
    made: dict[Var, Var] | None = None,
    running: int | None = None,
) -> Var:
    """Run a body many times; return the vector of all results, of which `part` takes one (`Loop.places` says where).

    Parameters
    ----------
    params : sequence of Var
        Leaves: of the carries, of what each step has its own element of, of what is the same in all steps.
    results : sequence of Var
        The carries of the next step, and what is stacked: of `params` and literals alone.
    args : sequence of Var
        What the first step begins with, arrays with an axis for the steps in front, and the rest.
    loop : tuple
        Number of carries, number of arguments by step, number of steps, whether these run from the last to the first.
    made : dict, optional
        Gets what stands in the body for each Var that the results depend on.
    running : int, optional
        As in `Loop`.
    """
    carries, scanned, length, reverse = loop
    made = {} if made is None else made
    if length < 2:
        return _few_steps(params, results, args, loop, made)
    levels = [arg.level for arg in args]
    while True:
        body = _body(params, results, levels, made)
        found = [max(level, var.level) for level, var in zip(levels[:carries], body.results, strict=False)]
        if found == levels[:carries]:
            break
        levels[:carries] = found
    return make("loop", tuple(args), attributes.Loop(body, carries, scanned, length, reverse, running))


def _body(params: Sequence[Var], results: Sequence[Var], levels: Sequence[Level], made: dict[Var, Var]) -> Body:
    """The body with its arguments numbered in order, of these levels."""
    leaves = [argument(i, var.shape, level) for i, (var, level) in enumerate(zip(params, levels, strict=True))]
    found = again(results, dict(zip(params, leaves, strict=True)), made)
    return Body(tuple(leaves), found, tuple(toposort([*leaves, *found])))


def _few_steps(
    params: Sequence[Var],
    results: Sequence[Var],
    args: Sequence[Var],
    loop: tuple[int, int, int, bool],
    made: dict[Var, Var],
) -> Var:
    """The results of no step, which are what it begins with, or of one, which is the body."""
    carries, scanned, length, _ = loop
    if not length:
        return concatenate([*(reshape(arg, (arg.size,)) for arg in args[:carries]), const(np.zeros(0))], 0)
    new = dict(zip(params, args, strict=True))
    for var in params[carries : carries + scanned]:
        new[var] = reshape(new[var], var.shape)
    return concatenate([reshape(var, (var.size,)) for var in again(results, new, made)], 0)


def part(x: Var, start: int, shape: Shape) -> Var:
    """Take the elements of a vector from `start` on, as an array: of what is computed by element, of its parts."""
    (size,), stop = x.shape, start + int(np.prod(shape, dtype=np.int64))
    if start == stop:
        return const(np.zeros(shape))
    if x.op != "loop" and (start, stop) == (0, size):
        return reshape(x, shape)
    if OPS[x.op].category == "elementwise":
        return apply(x.op, *(part(arg, start, shape) for arg in x.args))
    if x.op == "broadcast" and x.args[0].size == 1:
        return broadcast(reshape(x.args[0], ()), shape)
    if x.op == "part" and len(x.shape) == 1:
        return part(x.args[0], x.attrs.start + start, shape)
    begin = 0
    pieces = x.args if x.op in ("concatenate", "pad") else ()
    if x.op == "pad":
        ((begin, _, gap),) = x.attrs.widths
        if gap:
            pieces = ()
        elif stop <= begin or start >= begin + x.args[0].size:
            return broadcast(const(0.0), shape)
    for piece in pieces:
        if begin <= start and stop <= begin + piece.size:
            return part(piece, start - begin, shape)
        begin += piece.size
    return make("part", (x,), attributes.Part(int(start), tuple(shape)))


def again(results: Sequence[Var], given: Mapping[Var, Var], made: dict[Var, Var]) -> tuple[Var, ...]:
    """Make Vars again with others in place of some; `made` gets what stands for each, in the bodies of loops, too."""
    made.clear()
    made.update(given)
    for var in toposort(results):
        if var not in made:
            inside: dict[Var, Var] = {}
            args = tuple(made[arg] for arg in var.args)
            made[var] = loop_again(var, args, inside) if var.op == "loop" else rebuild(var, args)
            made.update(inside)
    return tuple(made[var] for var in results)


def rebuild(var: Var, args: tuple[Var, ...]) -> Var:
    """Make the same equation with other arguments, folded again; the same Var where the arguments are the same."""
    if args == var.args:
        return var
    if OPS[var.op].category == "elementwise":
        return broadcast(apply(var.op, *args), var.shape)
    if var.op == "broadcast":
        return broadcast(args[0], var.shape)
    if var.op == "sum":
        return reduce("sum", args[0], var.attrs.axes)
    if var.op == "gather":
        return gather(args[0], args[1], var.attrs.batch)
    if var.op == "part":
        return part(args[0], var.attrs.start, var.attrs.shape)
    if var.op == "loop":
        return loop_again(var, args)
    return make(var.op, args, var.attrs)


def loop_again(var: Var, args: Sequence[Var], made: dict[Var, Var] | None = None) -> Var:
    """Make the same loop with other arguments, which may change more or less often; `made` as in `loop`."""
    attrs, body = var.attrs, var.attrs.body
    steps = (attrs.carries, attrs.scanned, attrs.length, attrs.reverse)
    return loop(body.params, body.results, args, steps, made, attrs.running)
