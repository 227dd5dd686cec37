"""Find where a value may jump: ops without a derivative (comparisons, floors, signs) between it and a parameter."""

from __future__ import annotations

from collections.abc import Sequence

from mcgrad.differentiate.elementwise import has_derivatives
from mcgrad.ir.build import apply
from mcgrad.ir.program import Var, toposort

CONTINUOUS = ("stop", "implicit", "nextafter")  # no derivative in an argument, for other reasons than a jump
HOLDING = ("stop", "implicit")  # hold their first argument fixed
RARE = ("equal", "not_equal", "isfinite", "isnan")  # of continuous numbers: the same for almost every draw
CHOOSING = ("max", "min", "maximum", "minimum")  # what equals its arguments where they are the extreme


def reaches(source: Var, roots: Sequence[Var], smoothly: bool = True) -> bool:
    """Whether a root depends on the source; with `smoothly`, along a way that has a derivative."""
    reached = {source}
    for var in toposort(roots):
        follows = has_derivatives(var) if smoothly else [True] * len(var.args)
        if any(arg in reached and here for arg, here in zip(var.args, follows, strict=True)):
            reached.add(var)
    return any(root in reached for root in roots)


def flat_between(source: Var, roots: Sequence[Var], drawn: bool = True) -> list[Var]:
    """Return the Vars through which roots follow the source in jumps: comparisons, floors and signs.

    With `drawn`, those where draws decide: `floor(k)` jumps at single values of k, and has the derivative zero at all
    others, as the expectation has. What `stop` and `implicit` hold fixed does not count: a sampler may jump, and the
    derivative of its distribution function is that of the draw.
    """
    reached, found = {source}, []
    for var in _followed(roots):
        on = [arg in reached for arg in var.args]
        if any(on):
            reached.add(var)
            if (var.by_draw or not drawn) and any(_is_flat(var, i) for i, here in enumerate(on) if here):
                found.append(var)
    return found


def _followed(roots: Sequence[Var]) -> list[Var]:
    """Return the Vars that roots depend on, in order, but for those behind what is held fixed."""
    order = list(toposort(roots))
    followed = set(roots)
    for var in reversed(order):
        if var in followed and var.op not in HOLDING:
            followed.update(var.args)
        elif var in followed:
            followed.update(var.args[1:])
    return [var for var in order if var in followed]


def flat_arguments(root: Var, source: Var) -> list[Var]:
    """Return the random numbers that decide jumps of a root: where one of them crosses zero, or a whole number."""
    found = []
    for var in flat_between(source, [root]):
        first, *others = var.args
        found.append(apply("subtract", first, others[0]) if others else first)
    return [var for var in found if var.by_draw]


def _is_flat(var: Var, argument: int) -> bool:
    """Whether an equation jumps as one of its arguments, a float, moves."""
    if var.args[argument].kind != "float" or var.op in CONTINUOUS or (var.op in RARE and not _chooses(var)):
        return False
    return not has_derivatives(var)[argument]


def _chooses(var: Var) -> bool:
    """Whether an equality finds where an extreme is, as `z == np.max(z)` does."""
    if var.op not in ("equal", "not_equal") or not all(arg.by_draw for arg in var.args):
        return False
    return any(found.op in CHOOSING and found.by_draw for found in toposort(var.args))
