"""Vectorise Vars: the same computation for several values of some of its leaves, along a new leading axis.

This is what estimators with several draws in one are made of (a leave-one-out baseline, an importance-weighted bound, a
draw with each component replaced in turn). One rule for each op, or category of ops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

import numpy as np

from mcgrad.ir import build
from mcgrad.ir.attributes import LETTERS
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Var, toposort
from mcgrad.ir.rewrite import rewrite

Args = tuple[Var, ...]


def vmap(roots: Sequence[Var], mapped: Mapping[Var, Var], extent: int, made: dict[Var, Var] | None = None) -> list[Var]:
    """Compute each root for all values of the mapped Vars.

    Parameters
    ----------
    roots : sequence of Var
    mapped : dict from Var to Var
        What stands for a Var of shape s: a Var of shape (extent, *s).
    extent : int
        Length of the new axis.
    made : dict, optional
        Gets what stands for each Var that the roots depend on.

    Returns
    -------
    list of Var of shape (extent, *root.shape). What does not depend on a mapped Var is repeated.

    Raises
    ------
    TypeError
        An op without a rule.
    """
    new = rewrite(roots, lambda var, args: var if args == var.args else _mapped(var, args, extent), mapped)
    if made is not None:
        made.update(new)
    return [_repeated(root, extent) if new[root] is root else new[root] for root in roots]


def vmap_noise(roots: Sequence[Var], extent: int) -> list[Var]:
    """Compute each root for `extent` independent draws: component (k, j) of a source is component j of the k-th."""
    leaves = [var for var in toposort(roots) if var.op == "noise"]
    mapped = {var: build.noise_of(var.attrs, (extent, *var.shape)) for var in leaves}
    return vmap(roots, mapped, extent)


def _mapped(var: Var, args: Args, extent: int) -> Var:
    """One equation of which some arguments have the new axis: those that are not its own."""
    if var.op == "einsum":
        return _einsum(var, args)
    if OPS[var.op].category == "native":
        return _native(var, args, extent)
    if var.op in ("solve", "solve_triangular") and args[0] is var.args[0]:
        return _solve(var, args, extent)
    if var.op == "loop":
        return _loop(var, args, extent)
    if var.op == "gather":
        return _gather(var, args, extent)
    args = tuple(_repeated(arg, extent) if arg is own else arg for arg, own in zip(args, var.args, strict=True))
    if OPS[var.op].category == "elementwise":
        return build.broadcast(build.apply(var.op, *args), (extent, *var.shape))
    if var.op not in RULES:
        raise TypeError(f"{var.op} has no rule for several draws at once")
    return RULES[var.op](var, args, extent)


def _repeated(x: Var, extent: int) -> Var:
    return build.broadcast(x, (extent, *x.shape))


def _broadcast(var: Var, args: Args, extent: int) -> Var:
    (x,) = args
    ones = (1,) * (len(var.shape) + 1 - len(x.shape))
    return build.broadcast(build.reshape(x, (extent, *ones, *x.shape[1:])), (extent, *var.shape))


def _flat_index(var: Var, size: int, extent: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """The index of `take` or `scatter_add` in each of `extent` arrays of this size, side by side."""
    index = var.attrs.index.array
    starts = np.arange(extent, dtype=np.int64) * size
    return np.asarray(starts.reshape(extent, *(1,) * index.ndim) + index)


def _gather(var: Var, args: Args, extent: int) -> Var:
    """Of one array without axes in front, elements at more indices; else of one array for each index."""
    (x, index), batch = args, var.attrs.batch
    if x is var.args[0] and not batch:
        return build.gather(x, index)
    x, index = (_repeated(arg, extent) if arg is own else arg for arg, own in zip(args, var.args, strict=True))
    return build.gather(x, index, batch + 1)


def _scatter(var: Var, args: Args, extent: int) -> Var:
    x, places = args
    ones = (extent, *(1 for _ in places.shape[1:]))
    inside = build.apply("logical_and", build.apply("less_equal", 0.0, places), build.apply("less", places, var.size))
    further = build.apply("add", build.apply("floor", places), np.arange(extent).reshape(ones) * float(var.size))
    found = build.scatter(x, build.apply("where", inside, further, np.nan), extent * var.size)
    return build.reshape(found, (extent, var.size))


def _reduce(var: Var, args: Args, extent: int) -> Var:
    return build.reduce(var.op, args[0], [axis + 1 for axis in var.attrs.axes])


def _scan(var: Var, args: Args, extent: int) -> Var:
    return build.scan(var.op, args[0], var.attrs.axis + 1, var.attrs.reverse)


def _recurrence(var: Var, args: Args, extent: int) -> Var:
    return build.linear_recurrence(args[0], args[1], var.attrs.axis + 1, var.attrs.reverse)


def _einsum(var: Var, args: Args) -> Var:
    """One more label, in the operands that have the new axis: what no draw changes stays one matrix."""
    new = next(letter for letter in LETTERS if letter not in str(var.attrs))
    given = zip(var.attrs.inputs, args, var.args, strict=True)
    terms = [letters if arg is own else new + letters for letters, arg, own in given]
    return build.einsum(f"{','.join(terms)}->{new}{var.attrs.output}", *args)


def _solve(var: Var, args: Args, extent: int) -> Var:
    """Systems of the same matrices: the right sides become columns of one."""
    a, b = args
    *batch, n, k = b.shape[1:]
    last = len(batch) + 1
    columns = build.transpose(b, [*range(1, last + 1), 0, last + 1])
    found = build.solve(var.op, a, build.reshape(columns, (*batch, n, extent * k)), var.attrs.transposed)
    return build.transpose(build.reshape(found, (*batch, n, extent, k)), [last, *range(last), last + 1])


def _loop(var: Var, args: Args, extent: int) -> Var:
    """A loop whose arguments and carries have the axis where they differ; the results, each with it in front."""
    attrs, body = var.attrs, var.attrs.body
    carries, last = attrs.carries, attrs.carries + attrs.scanned
    differs = [arg is not own for arg, own in zip(args, var.args, strict=True)]
    while True:
        params = [
            build.argument(len(body.params) + i, (extent, *param.shape), arg.level) if differs[i] else param
            for i, (param, arg) in enumerate(zip(body.params, args, strict=True))
        ]
        mapped = {old: new for old, new in zip(body.params, params, strict=True) if old is not new}
        new = rewrite(body.results, lambda v, given: v if given == v.args else _mapped(v, given, extent), mapped)
        found = [differs[i] or new[result] is not result for i, result in enumerate(body.results[:carries])]
        if found == differs[:carries]:
            break
        differs[:carries] = found
    results = []
    for i, result in enumerate(body.results):
        differs_here = differs[i] if i < carries else new[result] is not result
        results.append(_repeated(result, extent) if differs_here and new[result] is result else new[result])
    given = []
    for i, (arg, own) in enumerate(zip(args, var.args, strict=True)):
        if i in range(carries, last) and arg is not own:  # the steps come first
            arg = build.transpose(arg, [1, 0, *range(2, len(arg.shape))])
        given.append(_repeated(arg, extent) if differs[i] and arg is own else arg)
    again = build.loop(
        params, results, given, (carries, attrs.scanned, attrs.length, attrs.reverse), running=attrs.running
    )
    pieces, start = [], 0
    for i, (result, (_, shape)) in enumerate(zip(results, attrs.places(), strict=True)):
        steps = () if i < carries else (attrs.length,)
        value = build.part(again, start, (*steps, *result.shape))
        start += value.size
        if result.shape == body.results[i].shape:
            value = _repeated(value, extent)
        elif steps:
            value = build.transpose(value, [1, 0, *range(2, len(value.shape))])
        pieces.append(build.reshape(value, (extent, prod(shape))))
    return build.concatenate(pieces, 1)


def _part(var: Var, args: Args, extent: int) -> Var:
    """Elements of each of several vectors: of those that are put together, those of a piece as they are."""
    (x,), start = args, 0
    if x.op == "concatenate" and x.attrs.axis == 1:
        for piece in x.args:
            if (start, piece.shape[1]) == (var.attrs.start, var.size):
                return build.reshape(piece, (extent, *var.shape))
            start += piece.shape[1]
    bounds = [(0, extent, 1), (var.attrs.start, var.attrs.start + var.size, 1)]
    return build.reshape(build.slice_(x, bounds), (extent, *var.shape))


def _native(var: Var, args: Args, extent: int) -> Var:
    """A user's function takes one draw: call it once for each."""
    calls = []
    for k in range(extent):
        rows = [arg if arg is own else _element(arg, k) for arg, own in zip(args, var.args, strict=True)]
        calls.append(build.reshape(build.native(var.op, var.attrs.function, rows, var.shape), (1, *var.shape)))
    return build.concatenate(calls, 0)


def _element(x: Var, k: int) -> Var:
    """Element k along the first axis."""
    return build.reshape(build.slice_(x, [(k, k + 1, 1), *((0, n, 1) for n in x.shape[1:])]), x.shape[1:])


RULES: dict[str, Callable[[Var, Args, int], Var]] = {
    "reshape": lambda var, args, extent: build.reshape(args[0], (extent, *var.shape)),
    "transpose": lambda var, args, extent: build.transpose(args[0], [0, *(axis + 1 for axis in var.attrs.axes)]),
    "broadcast": _broadcast,
    "slice": lambda var, args, extent: build.slice_(args[0], [(0, extent, 1), *var.attrs.bounds]),
    "flip": lambda var, args, extent: build.flip(args[0], [axis + 1 for axis in var.attrs.axes]),
    "pad": lambda var, args, extent: build.pad(args[0], [(0, 0, 0), *var.attrs.widths]),
    "take": lambda var, args, extent: build.take(args[0], _flat_index(var, var.args[0].size, extent)),
    "scatter_add": lambda var, args, extent: build.scatter_add(
        args[0], _flat_index(var, var.size, extent), (extent, *var.shape)
    ),
    "gather": _gather,
    "scatter": _scatter,
    "concatenate": lambda var, args, extent: build.concatenate(args, var.attrs.axis + 1),
    **dict.fromkeys(
        ["cholesky", "det", "cofactors", "slogdet", "eigvalsh", "eigenvectors"],
        lambda var, args, extent: build.matrices(var.op, *args),
    ),
    **dict.fromkeys(
        ["solve", "solve_triangular"],
        lambda var, args, extent: build.solve(var.op, args[0], args[1], var.attrs.transposed),
    ),
    "part": _part,
    "table": lambda var, args, extent: build.table(args[0], var.attrs.table),
    "sum": _reduce,
    "prod": _reduce,
    "max": _reduce,
    "min": _reduce,
    "cumsum": _scan,
    "cumprod": _scan,
    "linear_recurrence": _recurrence,
}
