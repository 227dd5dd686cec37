"""Rewrite derivatives so that they can be differentiated again.

Where a derivative t may be exactly zero, as of a branch not taken, its product with an infinite factor is selected to
be zero: ``where(t == 0, 0, t * factor)`` (`zeros.keep_zeros`). That is right as a value. Its derivative is not, where t
passes through zero with a slope, as t = s does at s = 0: it is the slope times the factor, if that is finite.
"""

from __future__ import annotations

from collections.abc import Sequence

from mcgrad.differentiate.modes import jvp_rule
from mcgrad.ir.build import apply, broadcast, const, is_fill, loop, rebuild
from mcgrad.ir.program import Var
from mcgrad.ir.rewrite import rewrite

DEEP = 5  # equations from t to a term in the rules of derivatives


def differentiable(roots: Sequence[Var]) -> list[Var]:
    """Return derivatives with the same values, whose own derivatives are right where a factor is exactly zero."""
    new = rewrite(roots, _again)
    return [new[root] for root in roots]


def _again(var: Var, args: tuple[Var, ...]) -> Var:
    if var.op == "loop":
        attrs = var.attrs
        steps = (attrs.carries, attrs.scanned, attrs.length, attrs.reverse)
        return loop(attrs.body.params, differentiable(attrs.body.results), args, steps, running=attrs.running)
    found = rebuild(var, args)
    if found.op != "where" or not is_fill(found.args[1], 0.0):
        return found
    condition, _, term = found.args
    if condition.op != "equal" or not is_fill(condition.args[1], 0.0):
        return found
    t = condition.args[0]
    slope = _slope(term, t, DEEP)
    if slope is None:
        return found
    factor = apply("stop", apply("where", apply("isfinite", slope), slope, 0.0))
    return apply("where", condition, apply("multiply", t, factor), term)


def _slope(term: Var, t: Var, deep: int) -> Var | None:
    """Return the factor of t in a term that is proportional to it, element by element; None where t is not near."""
    if term is t:
        return broadcast(const(1.0), t.shape)
    if not deep or term.shape != t.shape:
        return None
    slopes = [_slope(arg, t, deep - 1) for arg in term.args]
    return jvp_rule(term, slopes) if any(slope is not None for slope in slopes) else None
