"""Identities by which an equation becomes a cheaper one: exact ones, and those that round otherwise.

Each takes a Var and returns another of the same meaning, or None where it does not apply. `fixed_point` says which
roundings are allowed.
"""

from collections.abc import Callable

from mcgrad.ir.build import apply, broadcast, pad, reduce, reshape, scan
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Var
from mcgrad.simplify.magnitude import has_reciprocal, is_moderate, offsets
from mcgrad.simplify.matrices import MATRICES

Identity = Callable[[Var], Var | None]


def of_broadcasts(var: Var) -> Var | None:
    """f(broadcast a, broadcast b) = broadcast f(a, b)."""
    if OPS[var.op].category != "elementwise" or not var.shape:
        return None
    if any(arg.op != "broadcast" for arg in var.args) or len({arg.args[0].shape for arg in var.args}) != 1:
        return None
    return broadcast(apply(var.op, *(arg.args[0] for arg in var.args)), var.shape)


def _is_scalar(x: Var) -> bool:
    return x.op == "broadcast" and x.args[0].size == 1


def _scalar(x: Var) -> Var:
    return reshape(x.args[0], ())


def _linear(again: Callable[[Var, Var], Var], var: Var) -> Var | None:
    """Take scalars, and what is added to normal noise, out of a linear sum or scan."""
    (x,) = var.args
    if not x.by_draw:
        return None
    if x.op == "negative":
        return apply("negative", again(var, x.args[0]))
    if x.op == "multiply":
        for factor, rest in (x.args, x.args[::-1]):
            if _is_scalar(factor):  # what is summed now was there before, to be multiplied
                return apply("multiply", _scalar(factor), again(var, rest))
    parts = offsets(x) if x.op in ("add", "subtract") else None
    if parts is None:
        return None
    noise, added = parts
    total = again(var, noise)
    return apply("add", again(var, added), _linear(again, total) or total)


def _sum(var: Var) -> Var | None:
    return _linear(lambda var, x: reduce("sum", x, var.attrs.axes), var)


def _cumsum(var: Var) -> Var | None:
    return _linear(lambda var, x: scan("cumsum", x, var.attrs.axis, var.attrs.reverse), var)


def _multiply(var: Var) -> Var | None:
    """(y * u) * w = y * (u * w) if no draw changes w, else (y * w) * u: factors u and signs move outwards and meet.

    One of the three is of moderate size, so that the new product has about the size of an old one.
    """
    for x, w in (var.args, var.args[::-1]):
        if x.by_draw and x.op == "negative":
            if w.by_draw:
                return apply("negative", apply("multiply", x.args[0], w))
            return apply("multiply", x.args[0], apply("negative", w))
        if x.by_draw and x.op == "multiply":
            for y, u in (x.args, x.args[::-1]):
                if u.by_draw or not (is_moderate(u) or is_moderate(w) or (w.by_draw and is_moderate(y))):
                    continue
                inner, outer = (u, y) if not w.by_draw else (y, u)
                return apply("multiply", outer, apply("multiply", inner, w))
    return None


def _divide(var: Var) -> Var | None:
    """X / s = x * (1 / s), which is one division on the host; 1 / s is finite for every normal s."""
    x, s = var.args
    return apply("multiply", x, apply("reciprocal", s)) if x.by_draw and has_reciprocal(s) else None


def _add(var: Var) -> Var | None:
    """X + (-y) = x - y; x + x = 2 x; pads of one kind add before they are padded."""
    x, y = var.args
    if x is y:
        return apply("multiply", x, 2.0)
    for x, y in (var.args, var.args[::-1]):
        if y.op == "negative":
            return apply("subtract", x, y.args[0])
    if x.op == y.op == "pad" and x.attrs == y.attrs and x.shape == y.shape:
        return pad(apply("add", x.args[0], y.args[0]), x.attrs.widths)
    return None


def _subtract(var: Var) -> Var | None:
    """-x - y = -(x + y); x - (-y) = x + y."""
    x, y = var.args
    if y.op == "negative":
        return apply("add", x, y.args[0])
    return apply("negative", apply("add", x.args[0], y)) if x.op == "negative" else None


def _negative(var: Var) -> Var | None:
    """-(x * u) = x * -u for u that no draw changes; -pad(x) = pad(-x)."""
    (x,) = var.args
    if x.op == "multiply":
        for y, u in (x.args, x.args[::-1]):
            if y.by_draw and not u.by_draw:
                return apply("multiply", y, apply("negative", u))
    if x.op == "pad":
        return pad(apply("negative", x.args[0]), x.attrs.widths)
    return None


EXACT: dict[str, Identity] = {
    "add": _add,
    "subtract": _subtract,
    "negative": _negative,
    "stop": lambda var: var.args[0],  # what they say is about derivatives, and those have been taken
    "implicit": lambda var: var.args[0],
    "vibrato_step": lambda var: var.args[0],
    "vibrato_mean": lambda var: var.args[0],
    **MATRICES,
}
ROUNDED: dict[str, Identity] = {
    "sum": _sum,
    "cumsum": _cumsum,
    "multiply": _multiply,
    "divide": _divide,
}
