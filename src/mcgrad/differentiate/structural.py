"""Derivatives of the ops that move, sum and contract elements.

`FORWARD[op](tangents, var)` gives the tangent of the result, where a tangent of None is zero; an op that is missing
there is linear, and its tangent is the op itself applied to the tangents. `REVERSE[op](cotangent, var)` gives one
cotangent an argument.
"""

from collections.abc import Callable, Sequence

import numpy as np

from mcgrad.differentiate import matrices
from mcgrad.ir.build import (
    apply,
    broadcast,
    concatenate,
    const,
    einsum,
    flip,
    gather,
    linear_recurrence,
    native,
    pad,
    reduce,
    reshape,
    scan,
    scatter,
    scatter_add,
    slice_,
    table,
    take,
    transpose,
)
from mcgrad.ir.program import Var

Tangents = Sequence[Var | None]


def zeros_like(x: Var) -> Var:
    """Zeros of x's shape."""
    return broadcast(const(0.0), x.shape)


def unbroadcast(t: Var, shape: tuple[int, ...]) -> Var:
    """Sum over the axes along which `shape` was broadcast to t's."""
    new = len(t.shape) - len(shape)
    axes = [i for i, n in enumerate(t.shape) if i < new or (shape[i - new] == 1 and n != 1)]
    return reshape(reduce("sum", t, axes), shape)


def expand(t: Var, axes: Sequence[int], shape: tuple[int, ...]) -> Var:
    """Undo a reduction's loss of axes: repeat t along them."""
    kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
    return broadcast(reshape(t, kept), shape)


def _only(ts: Tangents) -> Var:
    """The tangent of a first argument that has one."""
    assert ts[0] is not None
    return ts[0]


# --- reductions ------------------------------------------------------------------------------------------------------
def _others(var: Var) -> Var:
    """For each element the product of the others: exclusive products from both ends, right even where one is zero."""
    (x,), axes = var.args, var.attrs.axes
    order = [i for i in range(len(x.shape)) if i not in axes] + list(axes)
    kept = tuple(x.shape[i] for i in order[: len(order) - len(axes)])
    flat = reshape(transpose(x, order), (*kept, -1 if 0 in x.shape else x.size // max(int(np.prod(kept)), 1)))
    axis = len(kept)
    both = apply("multiply", *(_shifted(scan("cumprod", flat, axis, rev), axis, rev, 1.0) for rev in (False, True)))
    return transpose(reshape(both, tuple(x.shape[i] for i in order)), np.argsort(order).tolist())


def _attained(var: Var) -> tuple[Var, Var]:
    """Where the elements attain the extremum, and how many do: they have equal shares in it."""
    (x,), axes = var.args, var.attrs.axes
    hit = apply("equal", x, expand(var, axes, x.shape))
    return hit, reduce("sum", apply("float", hit), axes)


def _extremum_forward(ts: Tangents, var: Var) -> Var:
    hit, count = _attained(var)
    return apply("divide", reduce("sum", apply("where", hit, _only(ts), 0.0), var.attrs.axes), count)


def _extremum_reverse(ct: Var, var: Var) -> list[Var]:
    hit, count = _attained(var)
    return [apply("where", hit, expand(apply("divide", ct, count), var.attrs.axes, hit.shape), 0.0)]


def _prod_forward(ts: Tangents, var: Var) -> Var:
    return reduce("sum", apply("multiply", _only(ts), _others(var)), var.attrs.axes)


# --- scans -----------------------------------------------------------------------------------------------------------
def _shifted(y: Var, axis: int, reverse: bool, first: float) -> Var:
    """The value before each step: y moved by one along the axis, `first` at the start."""
    n = y.shape[axis]
    bounds = [(0, extent, 1) for extent in y.shape]
    bounds[axis] = (1, n, 1) if reverse else (0, n - 1, 1)
    start = broadcast(const(first), tuple(1 if i == axis else extent for i, extent in enumerate(y.shape)))
    rest = slice_(y, bounds)
    return concatenate([rest, start] if reverse else [start, rest], axis)


def _cumprod_forward(ts: Tangents, var: Var) -> Var:
    axis, reverse = var.attrs.axis, var.attrs.reverse
    source = apply("multiply", _only(ts), _shifted(var, axis, reverse, 1.0))
    return linear_recurrence(var.args[0], source, axis, reverse)


def _cumprod_reverse(ct: Var, var: Var) -> list[Var]:
    axis, reverse = var.attrs.axis, var.attrs.reverse
    factors = _shifted(var.args[0], axis, not reverse, 0.0)  # the recurrence runs backwards: step k uses x[k+1]
    return [apply("multiply", linear_recurrence(factors, ct, axis, not reverse), _shifted(var, axis, reverse, 1.0))]


def _recurrence_forward(ts: Tangents, var: Var) -> Var:
    (a, _), axis, reverse = var.args, var.attrs.axis, var.attrs.reverse
    source = zeros_like(var) if ts[1] is None else ts[1]
    if ts[0] is not None:
        source = apply("add", source, apply("multiply", ts[0], _shifted(var, axis, reverse, 0.0)))
    return linear_recurrence(a, source, axis, reverse)


def _recurrence_reverse(ct: Var, var: Var) -> list[Var]:
    (a, _), axis, reverse = var.args, var.attrs.axis, var.attrs.reverse
    u = linear_recurrence(_shifted(a, axis, not reverse, 0.0), ct, axis, not reverse)
    return [apply("multiply", u, _shifted(var, axis, reverse, 0.0)), u]


# --- structure -------------------------------------------------------------------------------------------------------
def _slice_reverse(ct: Var, var: Var) -> list[Var]:
    widths = []
    for (start, _, step), n, full in zip(var.attrs.bounds, var.shape, var.args[0].shape, strict=True):
        last = start + (n - 1) * step
        widths.append((start, full - 1 - last, step - 1))
    return [pad(ct, widths)]


def _pad_reverse(ct: Var, var: Var) -> list[Var]:
    bounds = [
        (low, low + (n - 1) * (gap + 1) + 1, gap + 1)
        for (low, _, gap), n in zip(var.attrs.widths, var.args[0].shape, strict=True)
    ]
    return [slice_(ct, bounds)]


def _take_reverse(ct: Var, var: Var) -> list[Var]:
    (x,), index = var.args, var.attrs.index.array
    places = index.ravel()
    if places.size == x.size and np.array_equal(np.sort(places), np.arange(x.size)):  # each element once
        return [take(reshape(ct, (x.size,)), np.argsort(places).reshape(x.shape))]
    return [scatter_add(ct, index, x.shape)]


def _gather_reverse(ct: Var, var: Var) -> list[Var | None]:
    """To each element the cotangents of those that were read there, which all indices are compared for."""
    (x, index), batch = var.args, var.attrs.batch
    ahead, extent, rest = var.attrs.split(x.shape)
    chosen = index.shape[batch:]
    ones = tuple(1 for _ in rest)
    hits = apply(
        "equal",
        reshape(apply("floor", index), (*ahead, 1, *chosen, *ones)),
        np.arange(extent, dtype=float).reshape(extent, *(1 for _ in (*chosen, *rest))),
    )
    terms = apply("where", hits, reshape(ct, (*ahead, 1, *chosen, *rest)), 0.0)
    return [reduce("sum", terms, range(batch + 1, batch + 1 + len(chosen))), None]


def _scatter_reverse(ct: Var, var: Var) -> list[Var | None]:
    places = var.args[1]
    inside = apply("logical_and", apply("less_equal", 0.0, places), apply("less", places, float(var.size)))
    return [apply("where", inside, gather(ct, apply("where", inside, places, 0.0)), 0.0), None]


def _part_reverse(ct: Var, var: Var) -> list[Var]:
    start, (size,) = var.attrs.start, var.args[0].shape
    return [pad(reshape(ct, (var.size,)), [(start, size - start - var.size, 0)])]


def _concatenate_forward(ts: Tangents, var: Var) -> Var:
    return concatenate([zeros_like(x) if t is None else t for t, x in zip(ts, var.args, strict=True)], var.attrs.axis)


def _concatenate_reverse(ct: Var, var: Var) -> list[Var]:
    axis, start, cts = var.attrs.axis, 0, []
    for x in var.args:
        bounds = [(0, n, 1) for n in ct.shape]
        bounds[axis] = (start, start + x.shape[axis], 1)
        cts.append(slice_(ct, bounds))
        start += x.shape[axis]
    return cts


# --- contractions ----------------------------------------------------------------------------------------------------
def _einsum_forward(ts: Tangents, var: Var) -> Var:
    terms = [
        einsum(str(var.attrs), *(t if i == k else x for i, x in enumerate(var.args)))
        for k, t in enumerate(ts)
        if t is not None
    ]
    return terms[0] if len(terms) == 1 else apply("add", *terms)


def _einsum_reverse(ct: Var, var: Var) -> list[Var]:
    labels, output, cts = var.attrs.inputs, var.attrs.output, []
    for k, x in enumerate(var.args):
        others = [(labels[i], arg) for i, arg in enumerate(var.args) if i != k]
        known = set(output).union(*(label for label, _ in others))
        found = "".join(label for label in labels[k] if label in known)
        term = einsum(
            f"{','.join([output, *(label for label, _ in others)])}->{found}", ct, *(arg for _, arg in others)
        )
        lost = [i for i, label in enumerate(labels[k]) if label not in known]
        cts.append(expand(term, lost, x.shape) if lost else term)
    return cts


# --- tables ----------------------------------------------------------------------------------------------------------
def _slope(var: Var) -> Var:
    looked_up = var.attrs.table
    if looked_up.derivative is None:
        raise TypeError(f"table {looked_up} has no derivative rule")
    return table(var.args[0], looked_up.derivative)


def _trailing(var: Var) -> range:
    return range(len(var.args[0].shape), len(var.shape))


# --- the user's own Numba functions ----------------------------------------------------------------------------------
def _gradient(var: Var) -> Var:
    return native("native_gradient", var.attrs.function, var.args, var.args[0].shape)


def _native_forward(ts: Tangents, var: Var) -> Var:
    if any(t is not None for t in ts[1:]):
        raise TypeError("a native integrand has no derivative rule in its own parameters")
    return reduce("sum", apply("multiply", _only(ts), _gradient(var)), range(len(var.args[0].shape)))


FORWARD: dict[str, Callable[[Tangents, Var], Var | None]] = {
    "prod": _prod_forward,
    "max": _extremum_forward,
    "min": _extremum_forward,
    "cumprod": _cumprod_forward,
    "linear_recurrence": _recurrence_forward,
    "concatenate": _concatenate_forward,
    "gather": lambda ts, var: None if ts[0] is None else gather(ts[0], var.args[1], var.attrs.batch),
    "scatter": lambda ts, var: None if ts[0] is None else scatter(ts[0], var.args[1], var.size),
    "einsum": _einsum_forward,
    "table": lambda ts, var: apply("multiply", expand(_only(ts), _trailing(var), var.shape), _slope(var)),
    "native_value": _native_forward,
    **matrices.FORWARD,
}

REVERSE: dict[str, Callable[[Var, Var], Sequence[Var | None]]] = {
    "reshape": lambda ct, var: [reshape(ct, var.args[0].shape)],
    "transpose": lambda ct, var: [transpose(ct, np.argsort(var.attrs.axes).tolist())],
    "broadcast": lambda ct, var: [unbroadcast(ct, var.args[0].shape)],
    "slice": _slice_reverse,
    "flip": lambda ct, var: [flip(ct, var.attrs.axes)],
    "pad": _pad_reverse,
    "take": _take_reverse,
    "part": _part_reverse,
    "scatter_add": lambda ct, var: [take(ct, var.attrs.index.array)],
    "concatenate": _concatenate_reverse,
    "gather": _gather_reverse,
    "scatter": _scatter_reverse,
    "sum": lambda ct, var: [expand(ct, var.attrs.axes, var.args[0].shape)],
    "prod": lambda ct, var: [apply("multiply", expand(ct, var.attrs.axes, var.args[0].shape), _others(var))],
    "max": _extremum_reverse,
    "min": _extremum_reverse,
    "cumsum": lambda ct, var: [scan("cumsum", ct, var.attrs.axis, not var.attrs.reverse)],
    "cumprod": _cumprod_reverse,
    "linear_recurrence": _recurrence_reverse,
    "einsum": _einsum_reverse,
    "table": lambda ct, var: [reduce("sum", apply("multiply", ct, _slope(var)), _trailing(var))],
    "native_value": lambda ct, var: [apply("multiply", ct, _gradient(var))],
    **matrices.REVERSE,
}
