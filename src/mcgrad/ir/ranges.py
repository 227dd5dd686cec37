"""Between which numbers the values of equations lie, whatever the noise: by interval arithmetic, element by element.

A range is a row (low, high, free) along a last axis, as the draws are of values; `free` says that zero is not in it,
also where it is an end, as of exp(z). Bounds are those of exact arithmetic; what has no rule may be anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mcgrad.ir.interpret import IMPL
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Var

Ranges = npt.NDArray[np.float64]  # of a Var: (*shape, 3)
Number = npt.NDArray[Any] | float
BELOW_ONE = float(np.nextafter(1.0, 0.0))
ABOVE_ONE = float(np.nextafter(1.0, 2.0))
PASSES = 3  # through a loop, before what still grows is without bound


def ranges(
    order: Iterable[Var], given: Mapping[Var, Ranges], inner: dict[Var, Ranges] | None = None
) -> dict[Var, Ranges]:
    """Return the ranges of Vars, in order.

    Parameters
    ----------
    order : iterable of Var
        Each after its arguments.
    given : dict of Var to array
        Ranges of leaves, and of what else is known.
    inner : dict, optional
        Gets those of equations in the bodies of loops, over all steps.
    """
    inner = {} if inner is None else inner
    found = dict(given)
    with np.errstate(all="ignore"):
        for var in order:
            if var not in found:
                found[var] = _of(var, [found[arg] for arg in var.args], inner)
    return found


def of_values(x: npt.ArrayLike) -> Ranges:
    """Return the ranges of numbers: from each to itself."""
    x = np.asarray(x, np.float64)
    return between(x, x, x != 0)


def of_signs(x: npt.ArrayLike) -> Ranges:
    """Return the ranges of all numbers that have the signs of some; of zeros all numbers."""
    x = np.asarray(x, np.float64)
    return between(np.where(x > 0, 0.0, -np.inf), np.where(x < 0, 0.0, np.inf), x != 0)


def between(low: Number, high: Number, free: Number = False) -> Ranges:
    """Return ranges; those whose ends have the same sign are free."""
    low, high, free = np.broadcast_arrays(low, high, free)
    low, high = np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)
    return np.stack([low, high, (free != 0) | (low > 0) | (high < 0)], -1)


def positive(x: Ranges) -> npt.NDArray[np.bool_]:
    """Return where numbers are above zero."""
    return np.asarray((x[..., 0] >= 0) & (x[..., 2] != 0))


def nonzero(x: Ranges) -> npt.NDArray[np.bool_]:
    """Return where numbers are not zero."""
    return np.asarray(x[..., 2] != 0)


def inside(x: Ranges, low: float, high: float) -> npt.NDArray[np.bool_]:
    """Return where numbers are between two others, and neither of them."""
    return np.asarray((x[..., 0] > low) & (x[..., 1] < high))


def _of(var: Var, args: Sequence[Ranges], inner: dict[Var, Ranges]) -> Ranges:
    category = OPS[var.op].category
    if var.op == "const":
        return of_values(var.attrs.array)
    if var.op == "noise":
        return np.broadcast_to(
            between(0.0, BELOW_ONE, True) if var.attrs.law == "uniform" else ANYTHING, (*var.shape, 3)
        )
    if var.op == "loop":
        return _loop(var, args, inner)
    if var.op in ("multiply", "einsum") and len(var.args) == 2 and var.args[0] is var.args[1]:
        labels = var.attrs.inputs if var.op == "einsum" else ("", "")
        if labels[0] == labels[1]:
            free = args[0][..., 2] if var.op == "multiply" else False
            return (
                np.broadcast_to(between(0.0, np.inf, free), (*var.shape, 3)) if var.op == "einsum" else _square(args[0])
            )
    if var.op in RULES:
        found = RULES[var.op](*args)
    elif category == "view" or var.op in ("pad", "concatenate"):
        found = IMPL[var.op](var, *args)
    elif var.op in REDUCED:
        found = REDUCED[var.op](args[0], var.attrs.axes)
    elif var.op == "cumsum":
        found = _cumsum(var, args[0])
    elif var.op == "gather":
        found = _hull(args[0], range(args[0].ndim - 1))
    elif var.op in ("einsum", "cumprod", "linear_recurrence", "scatter_add") and all(
        np.all(x[..., 0] >= 0) for x in args
    ):
        found = between(0.0, np.inf, var.op in ("einsum", "cumprod") and all(np.all(nonzero(x)) for x in args))
    else:
        found = ANYTHING
    return np.broadcast_to(found, (*var.shape, 3))


def _hull(x: Ranges, axes: Iterable[int]) -> Ranges:
    """Return the least ranges that have all those along axes in them."""
    along = tuple(axes)
    if not along:
        return x
    return between(x[..., 0].min(along), x[..., 1].max(along), x[..., 2].min(along))


def _join(x: Ranges, y: Ranges) -> Ranges:
    return between(
        np.minimum(x[..., 0], y[..., 0]), np.maximum(x[..., 1], y[..., 1]), (x[..., 2] != 0) & (y[..., 2] != 0)
    )


def _where(condition: Ranges, x: Ranges, y: Ranges) -> Ranges:
    known = condition[..., :1] == condition[..., 1:2]
    return np.where(known & (condition[..., :1] != 0), x, np.where(known, y, _join(x, y)))


def _loop(var: Var, args: Sequence[Ranges], inner: dict[Var, Ranges]) -> Ranges:
    """Run the body until the ranges of the carries do not grow."""
    attrs, body, n = var.attrs, var.attrs.body, var.attrs.carries
    if not attrs.length:
        return np.broadcast_to(ANYTHING, (var.size, 3))
    same = [_hull(x, [0]) if n <= i < n + attrs.scanned else x for i, x in enumerate(args)][n:]
    carried, grown = list(args[:n]), 0
    while True:
        within: dict[Var, Ranges] = {}
        found = ranges(body.equations, dict(zip(body.params, [*carried, *same], strict=True)), within)
        now = [_join(x, found[result]) for x, result in zip(carried, body.results, strict=False)]
        if all(np.array_equal(x, y) for x, y in zip(carried, now, strict=True)):
            break
        grown += 1
        carried = [_widened(x, y) for x, y in zip(carried, now, strict=True)] if grown >= PASSES else now
    for equation, x in {**found, **within}.items():
        inner[equation] = _join(inner[equation], x) if equation in inner else x
    of_results = [found[result] for result in body.results]  # of the carries those after a step, of any
    whole = [np.broadcast_to(x, (*shape, 3)) for x, (_, shape) in zip(of_results, attrs.places(), strict=True)]
    return np.concatenate([x.reshape(-1, 3) for x in whole])


def _widened(before: Ranges, x: Ranges) -> Ranges:
    """Return ranges whose ends that moved are zero, or without bound."""
    low = np.where(x[..., 0] < before[..., 0], np.where(x[..., 0] >= 0, 0.0, -np.inf), x[..., 0])
    high = np.where(x[..., 1] > before[..., 1], np.where(x[..., 1] <= 0, 0.0, np.inf), x[..., 1])
    return between(low, high, x[..., 2])


# --- rules -----------------------------------------------------------------------------------------------------------
def _add(x: Ranges, y: Ranges) -> Ranges:
    either = (x[..., 2] != 0) | (y[..., 2] != 0)
    alike = ((x[..., 0] >= 0) & (y[..., 0] >= 0)) | ((x[..., 1] <= 0) & (y[..., 1] <= 0))
    low, high = x[..., 0] + y[..., 0], x[..., 1] + y[..., 1]
    open_end = (positive(x) & (x[..., 0] == 0)) | (positive(y) & (y[..., 0] == 0))
    above = open_end & (low > 0) & (low < np.inf)  # as 1 + exp(z) is above one
    return between(np.where(above, np.nextafter(low, np.inf), low), high, either & alike)


def _negative(x: Ranges) -> Ranges:
    return between(-x[..., 1], -x[..., 0], x[..., 2])


def _multiply(x: Ranges, y: Ranges) -> Ranges:
    products = np.stack([np.nan_to_num(x[..., i] * y[..., j], nan=0.0, posinf=np.inf, neginf=-np.inf)
                         for i in (0, 1) for j in (0, 1)])  # fmt: skip
    return between(products.min(0), products.max(0), (x[..., 2] != 0) & (y[..., 2] != 0))


def _reciprocal(x: Ranges) -> Ranges:
    one_sign = (x[..., 0] >= 0) | (x[..., 1] <= 0)
    low = np.where(x[..., 1] == 0, -np.inf, 1 / x[..., 1])
    high = np.where(x[..., 0] == 0, np.inf, 1 / x[..., 0])
    return between(np.where(one_sign, low, -np.inf), np.where(one_sign, high, np.inf), True)


def _square(x: Ranges) -> Ranges:
    size = _absolute(x)
    return between(size[..., 0] ** 2, size[..., 1] ** 2, x[..., 2])


def _absolute(x: Ranges) -> Ranges:
    low = np.maximum(np.maximum(x[..., 0], -x[..., 1]), 0.0)
    return between(low, np.maximum(np.abs(x[..., 0]), np.abs(x[..., 1])), x[..., 2])


def _power(x: Ranges, y: Ranges) -> Ranges:
    whole = (y[..., 0] == y[..., 1]) & (y[..., 0] % 2 == 0)
    low = np.where(positive(x) | (x[..., 0] >= 0) | whole, 0.0, -np.inf)
    return between(low, np.inf, x[..., 2])


def _extreme(function: Callable[..., Any]) -> Callable[..., Ranges]:
    return lambda x, y: between(
        function(x[..., 0], y[..., 0]), function(x[..., 1], y[..., 1]), (x[..., 2] != 0) & (y[..., 2] != 0)
    )


def _rising(function: Callable[..., Any], odd: bool = False) -> Callable[..., Ranges]:
    """A function that rises; an odd one is zero at zero alone."""
    return lambda x: between(function(x[..., 0]), function(x[..., 1]), (x[..., 2] != 0) & odd)


def _exponential(function: Callable[..., Any]) -> Callable[..., Ranges]:
    """One at zero alone."""

    def found(x: Ranges) -> Ranges:
        low, high, free = x[..., 0], x[..., 1], x[..., 2] != 0
        low, high = (
            np.where(free & (end == 0), one, function(end)) for end, one in ((low, ABOVE_ONE), (high, BELOW_ONE))
        )
        return between(low, high, True)

    return found


def _always(low: float, high: float, free: bool = False) -> Callable[..., Ranges]:
    return lambda *args: np.broadcast_to(between(low, high, free), np.broadcast_shapes(*(x.shape for x in args)))


def _first(*args: Ranges) -> Ranges:
    return args[0]


def _sum(x: Ranges, axes: Sequence[int]) -> Ranges:
    along = tuple(axes)
    alike = np.all(x[..., 0] >= 0, along) | np.all(x[..., 1] <= 0, along)
    return between(x[..., 0].sum(along), x[..., 1].sum(along), alike & np.any(x[..., 2] != 0, along))


def _product(x: Ranges, axes: Sequence[int]) -> Ranges:
    along = tuple(axes)
    low = np.where(np.all(x[..., 0] >= 0, along), 0.0, -np.inf)
    return between(low, np.inf, np.all(x[..., 2] != 0, along))


def _cumsum(var: Var, x: Ranges) -> Ranges:
    low, high = (IMPL["cumsum"](var, x[..., i : i + 1])[..., 0] for i in (0, 1))
    alike = np.all(x[..., 0] >= 0) or np.all(x[..., 1] <= 0)
    return between(low, high, alike & (IMPL["cumsum"](var, x[..., 2:])[..., 0] > 0))


def _cholesky(x: Ranges) -> Ranges:
    """Of a factor, which is lower triangular with a diagonal above zero, or NaN."""
    i, j = np.indices(x.shape[-3:-1])
    return np.broadcast_to(between(np.where(i > j, -np.inf, 0.0), np.where(i < j, 0.0, np.inf), i == j), x.shape)


def _extremum(function: Callable[..., Any]) -> Callable[[Ranges, Sequence[int]], Ranges]:
    return lambda x, axes: between(
        function(x[..., 0], tuple(axes)), function(x[..., 1], tuple(axes)), np.all(x[..., 2] != 0, tuple(axes))
    )


ANYTHING = between(-np.inf, np.inf)
REDUCED = {"sum": _sum, "prod": _product, "max": _extremum(np.max), "min": _extremum(np.min)}
RULES: dict[str, Callable[..., Ranges]] = {
    "add": _add,
    "subtract": lambda x, y: _add(x, _negative(y)),
    "negative": _negative,
    "multiply": _multiply,
    "divide": lambda x, y: _multiply(x, _reciprocal(y)),
    "reciprocal": _reciprocal,
    "absolute": _absolute,
    "power": _power,
    "maximum": _extreme(np.maximum),
    "minimum": _extreme(np.minimum),
    "where": _where,
    "sqrt": lambda x: between(np.sqrt(np.maximum(x[..., 0], 0.0)), np.sqrt(x[..., 1]), x[..., 2]),
    "hypot": lambda x, y: between(0.0, np.inf, (x[..., 2] != 0) | (y[..., 2] != 0)),
    "exp": _exponential(np.exp),
    "exp2": _exponential(np.exp2),
    "log": _rising(np.log),
    "log2": _rising(np.log2),
    "log10": _rising(np.log10),
    "cosh": _always(1.0, np.inf),
    "sin": _always(-1.0, 1.0),
    "cos": _always(-1.0, 1.0),
    "tanh": lambda x: between(
        np.maximum(np.tanh(x[..., 0]), -BELOW_ONE), np.minimum(np.tanh(x[..., 1]), BELOW_ONE), x[..., 2]
    ),
    **{name: _rising(getattr(np, name), odd=True) for name in ("expm1", "log1p", "sinh", "arcsinh", "arctan", "cbrt")},
    "arcsin": _rising(np.arcsin, odd=True),
    "arccos": _always(0.0, np.pi),
    "arccosh": _always(0.0, np.inf),
    "expit": _always(0.0, BELOW_ONE, True),
    "ndtr": _always(0.0, BELOW_ONE, True),
    "erf": _always(-BELOW_ONE, BELOW_ONE),
    "erfc": _always(0.0, 2.0, True),
    "erfcx": _always(0.0, np.inf, True),
    "log_ndtr": _always(-np.inf, 0.0, True),
    "softplus": _always(0.0, np.inf, True),
    "log_cosh": _always(0.0, np.inf),
    "logaddexp": lambda x, y: between(np.maximum(x[..., 0], y[..., 0]), np.inf),
    "cholesky": _cholesky,
    "float": _always(0.0, 1.0),
    "sign": _always(-1.0, 1.0),
    "floor": _rising(np.floor),
    "ceil": _rising(np.ceil),
    **dict.fromkeys(("copy", "stop", "implicit", "vibrato_step", "vibrato_mean"), _first),
}
