"""Rewrite loops into cheaper ones: without results that nothing reads, and without work that need not be in each step.

- Loops over the same steps become one (`ir.fuse_loops`).
- Results, carries and arguments that nothing reads go.
- What is the same in all steps is computed before the loop. What no draw changes, but steps do, is computed before it
  for all steps: from arguments by step at once (`ir.vmap`), from carries by a loop on the host.
- What only loops read, by step, each step computes for itself.
- Elements of small arrays that a step reads one by one are computed one by one (`single_elements`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from math import prod

from mcgrad.ir.build import apply, argument, broadcast, loop, rebuild, reshape
from mcgrad.ir.fuse_loops import fuse_loops, in_order
from mcgrad.ir.loop_results import vector_of, with_results
from mcgrad.ir.ops import OPS, VIEWS
from mcgrad.ir.program import Shape, Var, toposort
from mcgrad.ir.rewrite import rewrite, substitute
from mcgrad.ir.vmap import vmap
from mcgrad.simplify.running_sums import after_all, before_steps, shared_sums, undrawn_sums
from mcgrad.simplify.single_elements import by_element

CHEAP = 4.0  # multiplications of an element up to which each of several loops computes it again


def simplify_loops(roots: Sequence[Var]) -> list[Var]:
    """Return the roots with cheaper loops; the same Vars where there are none."""
    if not any(var.op == "loop" for var in toposort(roots)):
        return list(roots)
    roots = _trimmed(fuse_loops(roots))
    while (inside := _made_inside(roots)) != roots:  # level by level, of what is computed by element of other such
        roots = _trimmed(fuse_loops(inside))
    for simpler in (_unvarying_first, shared_sums, _undrawn_first, by_element):
        new = rewrite(roots, lambda var, args, rule=simpler: _applied(rule, rebuild(var, args)))  # type: ignore[misc]
        roots = [new[root] for root in roots]
    return _trimmed(roots)


def _applied(rule: Callable[[Var], Var | None], var: Var) -> Var:
    return (rule(var) if var.op == "loop" else None) or var


# --- what nothing reads ----------------------------------------------------------------------------------------------
def _trimmed(roots: Sequence[Var]) -> list[Var]:
    """Take out results that nothing reads, and what is there for them alone."""
    read: dict[Var, set[int]] = {}
    for var in (*toposort(roots), None):
        for arg in roots if var is None else var.args:
            if arg.op == "loop":
                read.setdefault(arg, set()).update(_overlapped(arg, var))

    def trimmed(var: Var, args: tuple[Var, ...]) -> Var:
        again = rebuild(var, args)
        return (with_results(again, read[var]) if again.op == "loop" else None) or again

    new = rewrite(roots, trimmed)
    return [new[root] for root in roots]


def _overlapped(var: Var, reader: Var | None) -> set[int]:
    """The results of a loop of which an equation reads an element."""
    low, high = 0, var.size
    if reader is not None and reader.op == "part":
        low, high = reader.attrs.start, reader.attrs.start + reader.size
    places = ((start, start + prod(shape)) for start, shape in var.attrs.places())
    return {i for i, (start, stop) in enumerate(places) if start < high and low < stop}


# --- what is the same in all steps -----------------------------------------------------------------------------------
def _unvarying_first(var: Var) -> Var | None:
    """The vector of results of a loop, with what is the same in all steps computed before it; None if nothing is."""
    attrs, body = var.attrs, var.attrs.body
    carries, last = attrs.carries, attrs.carries + attrs.scanned
    fixed = [i for i in range(carries) if body.results[i] is body.params[i]]
    varies = {param for i, param in enumerate(body.params[:last]) if i not in fixed}
    for equation in body.equations:
        if not varies.isdisjoint(equation.args):
            varies.add(equation)
    read = [arg for equation in body.equations if equation in varies for arg in equation.args]
    first = [*dict.fromkeys(base for x in (*read, *body.results) if x not in varies and (base := _computed(x)))]
    elements = dict(zip(body.params[carries:last], var.args[carries:last], strict=True))
    given = [j for j in range(carries, len(body.results)) if (x := body.results[j]) not in varies or x in elements]
    if not (first or fixed or given):
        return None
    outside = {param: var.args[i] for i, param in enumerate(body.params) if i in fixed or i >= last}
    values = substitute([*map(_number, first), *(body.results[j] for j in given)], outside)
    found = {i: var.args[i] for i in fixed}
    for j, value in zip(given, values[len(first) :], strict=True):
        result = body.results[j]
        found[j] = elements.get(result) or broadcast(value, (attrs.length, *result.shape))
    wanted = [i for i in range(len(body.results)) if i not in found]
    return vector_of(var, found | _rest(var, wanted, elements, outside, dict(zip(first, values, strict=False)), {}))


def _computed(x: Var) -> Var | None:
    """What is computed for a Var, which may be a view of it; None for literals and arguments."""
    while x.op in VIEWS:
        x = x.args[0]
    return x if x.args else None


def _rest(
    var: Var,
    wanted: Sequence[int],
    elements: Mapping[Var, Var],
    same: Mapping[Var, Var],
    once: Mapping[Var, Var],
    by_step: Mapping[Var, Var],
) -> dict[int, Var]:
    """Some results of a loop, from a loop that has these alone.

    Parameters
    ----------
    var : Var
    wanted : sequence of int
        Of the results; of the carries, those that are left.
    elements, same : dict from Var to Var
        Arguments of the body by step, and others, to those of the loop.
    once, by_step : dict from Var to Var
        Equations of the body to what was computed for them before the loop: once, and for all steps.
    """
    if not wanted:
        return {}
    attrs, body = var.attrs, var.attrs.body
    carried = [i for i in wanted if i < attrs.carries]
    number = len(body.params)
    leaves = {x: argument(number + i, x.shape) for i, x in enumerate((*once, *by_step))}
    inside = {x: apply("not_equal", leaf, 0.0) if x.kind == "bool" else leaf for x, leaf in leaves.items()}
    own, varying, others = [body.params[i] for i in carried], [leaves[x] for x in by_step], [leaves[x] for x in once]
    again = loop(
        [*own, *elements, *varying, *same, *others],
        substitute([body.results[i] for i in wanted], inside),
        [*(var.args[i] for i in carried), *elements.values(), *by_step.values(), *same.values(), *once.values()],
        (len(carried), len(elements) + len(by_step), attrs.length, attrs.reverse),
        running=carried.index(attrs.running) if attrs.running in carried else None,
    )
    shapes = [shape for _, shape in attrs.places()]
    return dict(zip(wanted, in_order(again, [shapes[i] for i in wanted]), strict=True))


def _number(x: Var) -> Var:
    """Numbers as they are; booleans as 0 and 1, as loops have numbers alone."""
    return apply("float", x)


# --- what no draw changes --------------------------------------------------------------------------------------------
def _undrawn_first(var: Var) -> Var | None:
    """The vector of results of a loop, with what no draw changes computed before it; None if nothing is."""
    attrs, body = var.attrs, var.attrs.body
    carries, last = attrs.carries, attrs.carries + attrs.scanned
    if not var.by_draw:
        return None
    low = [i for i in range(carries) if not body.params[i].by_draw]
    carried = {body.params[i] for i in low}
    drawn = [i for i in range(len(body.results)) if i not in low and (i < carries or body.results[i].by_draw)]
    read = [arg for equation in body.equations if equation.by_draw for arg in equation.args]
    read += [body.results[i] for i in drawn]
    first = [*dict.fromkeys(base for x in read if not x.by_draw and (base := _before(x, carried)))]
    given = [j for j in range(carries, len(body.results)) if not body.results[j].by_draw]
    if not (low or first or given):
        return None
    elements = dict(zip(body.params[carries:last], var.args[carries:last], strict=True))
    same = dict(zip(body.params[last:], var.args[last:], strict=True))
    asked = [*map(_number, first), *(body.results[j] for j in given)]
    sums = undrawn_sums(var)
    known, others = [i for i in low if i in sums], [i for i in low if i not in sums]
    number = len(body.params)
    before = {body.params[i]: argument(number + k, body.params[i].shape) for k, i in enumerate(known)}
    arrays = elements | {before[body.params[i]]: before_steps(var, sums[i], var.args[i]) for i in known}
    results = substitute([*(body.results[i] for i in others), *asked], before)
    values = _on_host(var, others, results, arrays, same) if others else _at_once(var, results, arrays, same)
    found = {i: after_all(var, sums[i]) for i in known}
    found |= dict(zip((*others, *given), (*values[: len(others)], *values[len(others) + len(first) :]), strict=True))
    by_step = dict(zip(first, values[len(others) :], strict=False))
    return vector_of(var, found | _rest(var, drawn, elements, same, {}, by_step))


def _on_host(
    var: Var, low: Sequence[int], results: Sequence[Var], elements: Mapping[Var, Var], same: Mapping[Var, Var]
) -> list[Var]:
    """The carries that no draw changes, after the last step, and Vars of the body for all steps: of a loop of these.

    The results of these carries come first.
    """
    attrs, body = var.attrs, var.attrs.body
    by_step, others = ({x: arg for x, arg in each.items() if not x.by_draw} for each in (elements, same))
    host = loop(
        [*(body.params[i] for i in low), *by_step, *others],
        results,
        [*(var.args[i] for i in low), *by_step.values(), *others.values()],
        (len(low), len(by_step), attrs.length, attrs.reverse),
        running=low.index(attrs.running) if attrs.running in low else None,
    )
    shapes = [x.shape if k < len(low) else (attrs.length, *x.shape) for k, x in enumerate(results)]
    return in_order(host, shapes)


def _at_once(var: Var, asked: Sequence[Var], elements: Mapping[Var, Var], same: Mapping[Var, Var]) -> list[Var]:
    """Vars of the body that read no carry, for all steps."""
    return vmap(substitute(asked, same), elements, var.attrs.length)


def _before(x: Var, carried: Collection[Var]) -> Var | None:
    """What is computed for a Var, or the carry that it is a view of; None for literals and other arguments."""
    while x.op in VIEWS:
        x = x.args[0]
    return x if x.args or x in carried else None


# --- what only the steps read ----------------------------------------------------------------------------------------
def _made_inside(roots: Sequence[Var]) -> list[Var]:
    """Compute in each step what only loops read, by step, and what is computed by element from what draws change.

    So no rows are kept of it for all steps: of noise, a step's own numbers are then enough.
    """
    readers: dict[Var, list[bool]] = {root: [False] for root in roots}  # whether each is a loop that reads it by step
    for var in toposort(roots):
        by_step: tuple[Var, ...] = ()
        if var.op == "loop":
            by_step = var.args[var.attrs.carries : var.attrs.carries + var.attrs.scanned]
        for arg in var.args:
            readers.setdefault(arg, []).append(arg in by_step)
    inside = {
        var
        for var, each in readers.items()
        if all(each) and var.by_draw and var.kind == "float" and OPS[var.op].category == "elementwise"
        and (len(each) == 1 or OPS[var.op].cost <= CHEAP) and all(arg.kind == "float" for arg in var.args)
    }  # fmt: skip
    new = rewrite(roots, lambda var, args: _with_producers(var, args, inside))
    return [new[root] for root in roots]


def _with_producers(var: Var, args: tuple[Var, ...], inside: set[Var]) -> Var:
    """The loop with what makes some of its arguments in its body."""
    again = rebuild(var, args)
    if again.op != "loop" or inside.isdisjoint(var.args):
        return again
    attrs, body = again.attrs, again.attrs.body
    carries, last, number = attrs.carries, attrs.carries + attrs.scanned, len(body.params)
    elements: dict[Var, Var] = {}  # leaf of the body -> argument by step
    same = dict(zip(body.params[last:], args[last:], strict=True))
    made: dict[Var, Var] = {}
    for param, own, arg in zip(body.params[carries:last], var.args[carries:last], args[carries:last], strict=True):
        if own not in inside or OPS[arg.op].category != "elementwise":
            elements[param] = arg
            continue
        operands = []
        for operand in arg.args:
            source, shape = _of_each_step(operand)
            leaf = argument(number, shape, source.level)
            number += 1
            (elements if source is operand else same)[leaf] = source
            operands.append(broadcast(leaf, param.shape))
        made[param] = apply(arg.op, *operands)
    results = substitute(body.results, made)
    return loop(
        [*body.params[:carries], *elements, *same],
        results,
        [*args[:carries], *elements.values(), *same.values()],
        (carries, len(elements), attrs.length, attrs.reverse),
        running=attrs.running,
    )


def _of_each_step(operand: Var) -> tuple[Var, Shape]:
    """What each step reads of an operand, and of what shape: the operand by step, or what is repeated for all steps."""
    if operand.op == "broadcast":
        (source,) = operand.args
        if len(source.shape) < len(operand.shape):
            return source, source.shape
        if source.shape[0] == 1:
            return reshape(source, source.shape[1:]), source.shape[1:]
    return operand, operand.shape[1:]
