"""NumPy's functions of sorted values: of a few by a sorting network, of more by their ranks.

Which elements a step of the network compares does not depend on them, so all draws go through the same steps, which are
minima and maxima. The network is Batcher's odd-even merge sort (Batcher, "Sorting networks and their applications",
1968): n log2(n)^2 / 4 comparisons, each an equation. More elements than `SMALL` are read in the order of `np.argsort`,
which compares all pairs in as many equations for any number of elements.

The derivative goes to each element from the place that it has come to. Of equal elements the one that comes first, in
the network or in the array, has the first place. If one element is NaN, all results are, where NumPy puts it last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mcgrad.ir import build
from mcgrad.ir.build import apply
from mcgrad.ir.program import Var
from mcgrad.trace.operands import axes_of, axis_of, operand
from mcgrad.trace.positions import argsort
from mcgrad.trace.refuse import refusal
from mcgrad.trace.shaping import moveaxis, ravel, section

SMALL = 16  # elements up to which each is an array of its own, which stays in registers

Pair = tuple[int, int]


def layers(n: int) -> list[list[Pair]]:
    """Return the steps of the network for n elements: pairs of places, of which the first gets the smaller element."""
    steps, merged = [], 1
    while merged < n:
        apart = merged
        while apart:
            starts = range(apart % merged, n - apart, 2 * apart)
            places = [j + i for j in starts for i in range(min(apart, n - j - apart))]
            steps.append([(i, i + apart) for i in places if i // (2 * merged) == (i + apart) // (2 * merged)])
            apart //= 2
        merged *= 2
    return steps


def sort(a: Any, axis: Any = -1, kind: Any = None, *, stable: Any = None) -> Var:
    """np.sort; `kind` and `stable` change nothing, as equal elements are the same numbers."""
    x = operand(a)
    if axis is None:
        x, axis = ravel(x), 0
    axis = axis_of(axis, len(x.shape))
    if x.shape[axis] < 2:
        return x
    result = moveaxis(_joined(_sorted(moveaxis(apply("float", x), axis, 0))), 0, axis)
    return apply("not_equal", result, 0.0) if x.kind == "bool" else result


def partition(a: Any, kth: Any, axis: Any = -1, kind: Any = None) -> Var:
    """np.partition: all sorted, which is one of the orders that it may give."""
    x = operand(a)
    extent = x.size if axis is None else x.shape[axis_of(axis, len(x.shape))]
    if np.any((np.asarray(kth) >= extent) | (np.asarray(kth) < -extent)):
        raise ValueError(f"kth(={kth}) out of bounds ({extent})")
    return sort(x, axis)


def median(a: Any, axis: Any = None, *, keepdims: bool = False) -> Var:
    """np.median."""
    return quantile(a, 0.5, axis, method="midpoint", keepdims=keepdims)


def percentile(a: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: bool = False) -> Var:
    """np.percentile, at numbers known while tracing."""
    return quantile(a, np.asarray(q) / 100, axis, method=method, keepdims=keepdims)


def quantile(a: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: bool = False) -> Var:
    """np.quantile, at numbers known while tracing."""
    x = apply("float", operand(a))
    numbers = np.asarray(q, float)
    if not np.all((numbers >= 0) & (numbers <= 1)):
        raise ValueError("Quantiles must be in the range [0, 1]")
    if method not in METHODS:
        raise refusal(f"np.quantile with method={method!r}", f"methods are {', '.join(METHODS)}")
    axes = axes_of(axis, len(x.shape))
    rest = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    n = math.prod(x.shape[i] for i in axes)
    if not n:
        raise ValueError("a quantile of no elements is not defined")
    moved = build.transpose(x, [*axes, *(i for i in range(len(x.shape)) if i not in axes)])
    elements = _sorted(build.reshape(moved, (n, *rest)))
    kept = tuple(1 if i in axes else extent for i, extent in enumerate(x.shape)) if keepdims else rest
    parts = [build.reshape(_between(elements, method, float(p) * (n - 1)), kept) for p in numbers.ravel()]
    if not numbers.shape:
        return parts[0]
    return build.reshape(_joined(parts), (*numbers.shape, *kept))


def _nearest(place: float) -> float:
    """Half to even, as NumPy rounds."""
    return float(np.round(place))


METHODS: dict[str, Callable[[float], float]] = {  # the place that is read, of that where a quantile lies
    "linear": lambda place: place,
    "lower": math.floor,
    "higher": math.ceil,
    "nearest": _nearest,
    "midpoint": lambda place: place if place == math.floor(place) else math.floor(place) + 0.5,
}


def _between(elements: Sequence[Var] | Var, method: str, place: float) -> Var:
    """The number at a place among sorted elements, on the line between its neighbours; NaN if any of them is."""
    place = METHODS[method](place)
    low = math.floor(place)
    part = place - low
    if not part:
        return _element(elements, low)
    below, above = _element(elements, low), _element(elements, low + 1)
    if method == "midpoint":
        return apply("multiply", apply("add", below, above), 0.5)
    step = apply("subtract", above, below)
    if part < 0.5:  # from the nearer end, as NumPy does
        return apply("add", below, apply("multiply", step, part))
    return apply("subtract", above, apply("multiply", step, 1 - part))


def _element(elements: Sequence[Var] | Var, k: int) -> Var:
    if isinstance(elements, Var):
        return build.reshape(section(elements, 0, k, k + 1), elements.shape[1:])
    return elements[k]


def _joined(elements: Sequence[Var] | Var) -> Var:
    if isinstance(elements, Var):
        return elements
    return build.concatenate([build.reshape(x, (1, *x.shape)) for x in elements], 0)


def _sorted(x: Var) -> list[Var] | Var:
    """Sort along the first axis: a few elements as one Var each, more of them as one Var."""
    n = x.shape[0]
    if n > SMALL:
        last = moveaxis(x, 0, -1)
        return moveaxis(build.gather(last, argsort(last), len(last.shape) - 1), -1, 0)
    elements = [build.reshape(section(x, 0, k, k + 1), x.shape[1:]) for k in range(n)]
    for i, j in (pair for pairs in layers(n) for pair in pairs):
        elements[i], elements[j] = _compared(elements[i], elements[j])
    return elements


def _compared(first: Var, second: Var) -> tuple[Var, Var]:
    """The smaller and the larger. Of equal ones each keeps its own derivative, by the order of the arguments."""
    return apply("minimum", first, second), apply("maximum", second, first)
