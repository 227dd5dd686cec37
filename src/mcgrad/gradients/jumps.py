"""Find where a value may jump: ops without a derivative (comparisons, floors, signs) between it and a parameter."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from mcgrad.differentiate.elementwise import has_derivatives
from mcgrad.ir.build import apply, loop, part, slice_
from mcgrad.ir.program import Var, toposort

# Ops that do not jump in an argument in which they have no derivative, or only where what made that one jumps already.
CONTINUOUS = ("stop", "implicit", "vibrato_step", "vibrato_mean", "nextafter", "gather")
HOLDING = ("stop", "implicit", "vibrato_step")  # hold their first argument fixed
RARE = ("equal", "not_equal", "isfinite", "isnan")  # of continuous numbers: the same for almost every draw
MOST_STEPS = 256  # of a loop whose numbers are looked at
CHOOSING = ("max", "min", "maximum", "minimum")  # what equals its arguments where they are the extreme


def reaches(source: Var, roots: Sequence[Var], smoothly: bool = True) -> bool:
    """Whether a root depends on the source; with `smoothly`, along a way that has a derivative."""
    reached = {source}
    _spread(toposort(roots), reached, has_derivatives if smoothly else _all_arguments)
    return any(root in reached for root in roots)


def followers(source: Var, roots: Sequence[Var]) -> set[Var]:
    """Return what depends on the source, of what roots depend on, in loops, too."""
    reached = {source}
    _spread(toposort(roots), reached, _all_arguments)
    return reached


def flat_between(
    source: Var, roots: Sequence[Var], drawn: bool = True, holding: Collection[str] = HOLDING
) -> list[Var]:
    """Return the Vars through which roots follow the source in jumps: comparisons, floors and signs, in loops, too.

    With `drawn`, those where draws decide: `floor(k)` jumps at single values of k, and has the derivative zero at all
    others, as the expectation has. What `stop` and `implicit` hold fixed does not count: a sampler may jump, and the
    derivative of its distribution function is that of the draw. `holding` names the ops that hold their first argument.
    """
    reached, followed = {source}, _followed(roots, holding)
    _spread(followed, reached, lambda var: [i > 0 or var.op not in holding for i in range(len(var.args))])
    return [
        var
        for var in followed
        if (var.by_draw or not drawn) and any(arg in reached and _is_flat(var, i) for i, arg in enumerate(var.args))
    ]


def _all_arguments(var: Var) -> list[bool]:
    return [True] * len(var.args)


def _spread(order: Iterable[Var], reached: set[Var], follows: Callable[[Var], list[bool]]) -> None:
    """Add what depends on what is reached, of Vars in order and of those in the bodies of loops."""
    for var in order:
        if var.op == "loop":
            body, carries = var.attrs.body, var.attrs.carries
            reached.update(param for param, arg in zip(body.params, var.args, strict=True) if arg in reached)
            while True:
                _spread(body.equations, reached, follows)
                more = {
                    body.params[i] for i, result in enumerate(body.results[:carries]) if result in reached
                } - reached
                if not more:
                    break
                reached |= more
            if not reached.isdisjoint(body.results):
                reached.add(var)
        elif var.op == "part" and var.args[0].op == "loop":
            if not reached.isdisjoint(_read_by(var)):
                reached.add(var)
        elif any(arg in reached and here for arg, here in zip(var.args, follows(var), strict=True)):
            reached.add(var)


def _read_by(part: Var) -> list[Var]:
    """The results of the body of a loop of which a part has elements."""
    (loop,), low, high = part.args, part.attrs.start, part.attrs.start + part.size
    starts = [start for start, _ in loop.attrs.places()]
    ends = [*starts[1:], loop.size]
    return [x for x, a, b in zip(loop.attrs.body.results, starts, ends, strict=True) if a < high and low < b]


def _followed(roots: Sequence[Var], holding: Collection[str]) -> list[Var]:
    """Return the Vars that roots depend on, in order, but for those behind what is held fixed.

    After the arguments of a loop come the Vars in its body, then the loop.
    """
    order = list(toposort(roots))
    followed = set(roots)
    for var in reversed(order):
        if var in followed and var.op not in holding:
            followed.update(var.args)
        elif var in followed:
            followed.update(var.args[1:])
    found: list[Var] = []
    for var in order:
        if var in followed:
            found += [*(_followed(var.attrs.body.results, holding) if var.op == "loop" else ()), var]
    return found


def flat_arguments(root: Var, source: Var) -> list[Var]:
    """Return the random numbers that decide jumps of a root: where one of them crosses zero, or a whole number.

    Those of the steps of a loop are along a first axis, of long ones for steps that are evenly spaced.
    """
    return list(_deciding(toposort([root]), set(flat_between(source, [root]))))


def _deciding(order: Iterable[Var], flat: Collection[Var]) -> Iterator[Var]:
    """Yield the numbers that equations compare, of those that are flat, and that loops compare in their steps."""
    for var in order:
        if var in flat:
            first, *others = var.args
            number = apply("subtract", first, others[0]) if others else first
            if number.by_draw:
                yield number
        elif var.op == "loop":
            yield from _stacked(var, list(_deciding(var.attrs.body.equations, flat)))


def _stacked(var: Var, inside: Sequence[Var]) -> list[Var]:
    """Return what Vars of the body of a loop are in each step, or in some, along a first axis."""
    if not inside:
        return []
    attrs, body = var.attrs, var.attrs.body
    results = [*body.results, *(apply("float", x) for x in inside)]
    again = loop(body.params, results, var.args, (attrs.carries, attrs.scanned, attrs.length, attrs.reverse))
    found, start = [], var.size
    for x in inside:
        whole = part(again, start, (attrs.length, *x.shape))
        start += whole.size
        some = (0, attrs.length, -(-attrs.length // MOST_STEPS))
        found.append(slice_(whole, [some, *((0, n, 1) for n in x.shape)]))
    return found


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
