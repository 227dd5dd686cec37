"""Forward and reverse mode, and which of them a Program is better off with."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import reduce

import numpy as np

from mcgrad.differentiate import loops
from mcgrad.differentiate.elementwise import DERIVATIVES, has_derivatives
from mcgrad.differentiate.matrices import zero_where_unread
from mcgrad.differentiate.structural import FORWARD, REVERSE, expand, zeros_like
from mcgrad.differentiate.zeros import (
    BRANCH,
    CHOSEN,
    FORWARD_ZEROS,
    MIXING,
    NONE,
    REPEATING,
    REVERSE_ZEROS,
    Unread,
    Zeros,
    finite,
    is_guarded,
    keep_zeros,
    passes_on,
)
from mcgrad.ir.build import apply, concatenate, const, pad, rebuild, reshape
from mcgrad.ir.cost import cost
from mcgrad.ir.fuse_loops import fuse_loops
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Var, toposort, with_bodies

FORWARD_LIMIT = 8  # scalar parameters beyond which forward mode is not even tried


def gradient(value: Var, wrt: Sequence[Var]) -> list[Var]:
    """Differentiate a scalar.

    Parameters
    ----------
    value : Var of shape ()
    wrt : sequence of Var
        Inputs to differentiate in.

    Returns
    -------
    list of Var, one for each input, of its shape. The mode is whichever costs less: reverse repeats little work but
    must keep what its way back reads; forward keeps nothing, once for each scalar input.

    Raises
    ------
    TypeError
        An op on the way has no derivative rule.
    """
    backward = reverse(value, wrt)
    if sum(var.size for var in wrt) > FORWARD_LIMIT:
        return backward
    forwards = forward(value, wrt)
    return forwards if gradient_cost([value, *forwards]) < gradient_cost([value, *backward]) else backward


def forward(value: Var, wrt: Sequence[Var]) -> list[Var]:
    """Forward mode: one tangent for each scalar element of the inputs."""
    grads = []
    for var in wrt:
        parts = []
        for i in range(var.size):
            seed = np.zeros(var.size)
            seed[i] = 1.0
            tangent = jvp(value, var, const(seed.reshape(var.shape)))
            parts.append(reshape(const(0.0) if tangent is None else tangent, (1,)))
        grads.append(reshape(concatenate(parts, 0), var.shape))
    return grads


def jvp(value: Var, source: Var, seed: Var) -> Var | None:
    """Tangent of a value of any shape for the tangent `seed` of one of its ancestors; None if it is zero."""
    return pushed_forward([value], {source: seed}, few=source.size > 1)[0]


def pushed_forward(
    values: Sequence[Var], seeds: Mapping[Var, Var], origins: Mapping[Var, Zeros] | None = None, few: bool = False
) -> list[Var | None]:
    """Return the tangents of values for those of some Vars; None is zero.

    Parameters
    ----------
    values : sequence of Var
    seeds : dict from Var to Var
    origins : dict from Var to Zeros, optional
        How zeros in the seeds may come about.
    few : bool
        Whether a seed has zeros by itself.
    """
    tangents: dict[Var, Var] = dict(seeds)
    zeros: dict[Var, Zeros] = dict(origins or {})  # that a tangent may have
    carriers = _carriers(values)
    for var in toposort(values):
        if var in seeds or var not in carriers or not any(arg in tangents for arg in var.args):
            continue
        before = max(zeros.get(arg, NONE) for arg in var.args)
        guarded = CHOSEN if few and not var.by_draw else before  # costs nothing where no draw changes anything
        tangent = jvp_rule(var, [tangents.get(arg) for arg in var.args], guarded)
        if tangent is not None:
            made = [] if _all_move(var, tangents) else with_bodies([var])
            tangents[var] = tangent
            zeros[var] = max([before, *(FORWARD_ZEROS.get(inner.op, NONE) for inner in made)])
    return [tangents.get(value) for value in values]


def _all_move(var: Var, tangents: Collection[Var]) -> bool:
    """Whether this puts together what all have tangents, which leaves no zeros."""
    return var.op == "concatenate" and all(arg in tangents for arg in var.args)


def _carriers(values: Sequence[Var]) -> set[Var]:
    """The Vars whose derivative reaches a value: not those behind a `stop`, which need no rule."""
    found, stack = set(values), list(values)
    while stack:
        var = stack.pop()
        args = [arg for arg, smooth in zip(var.args, has_derivatives(var), strict=True) if smooth]
        stack += (new := [arg for arg in args if arg not in found])
        found.update(new)
    return found


def jvp_rule(var: Var, ts: Sequence[Var | None], zeros: Zeros = NONE) -> Var | None:
    """Tangent of one equation; a tangent of None is zero, and others may have zeros."""
    if var.op in DERIVATIVES:
        terms = [
            _term(rule, t, var, i, zeros)
            for i, (rule, t) in enumerate(zip(_rules(var), ts, strict=True))
            if t is not None and rule is not None
        ]
        return sum_of(terms)
    if var.kind == "bool":
        return None
    if var.op in FORWARD:
        return FORWARD[var.op](ts, var)
    if var.op == "loop":
        return loops.tangent(var, ts, zeros, pushed_forward)
    if not OPS[var.op].linear:
        raise TypeError(f"{var.op} has no derivative rule")
    return rebuild(var, tuple(zeros_like(x) if t is None else t for t, x in zip(ts, var.args, strict=True)))


def reverse(value: Var, wrt: Sequence[Var]) -> list[Var]:
    """Reverse mode: one cotangent for every Var between the inputs and the value."""
    return pulled_back({value: const(1.0)}, wrt)


def pulled_back(
    cotangents: Mapping[Var, Var],
    wrt: Sequence[Var],
    origins: Mapping[Var, Zeros] | None = None,
    ends: dict[Var, Zeros] | None = None,
) -> list[Var]:
    """Return the cotangents of inputs, for those of some Vars, each of the Var's shape.

    Equal equations have one cotangent, so that what it goes through, such as a product of matrices, is done once.

    Parameters
    ----------
    cotangents : dict from Var to Var
    wrt : sequence of Var
        The inputs.
    origins : dict from Var to Zeros, optional
        How zeros in the given cotangents may come about.
    ends : dict, optional
        Gets how zeros in the cotangents of the inputs may.
    """
    order = list(toposort(cotangents))
    active, first = depending(order, wrt), first_equals(order, wrt)
    terms: dict[Var, list[Var]] = {}
    for var, given in cotangents.items():
        terms.setdefault(first[var], []).append(given)
    zeros: dict[Var, Zeros] = {}  # that a cotangent may have
    for var, origin in (origins or {}).items():
        zeros[first[var]] = max(origin, zeros.get(first[var], NONE))
    unread = Unread(first[var] for var in cotangents)
    for var in reversed(order):
        if var in terms and var in active and var.args:
            ct = sum_of(terms[var])
            assert ct is not None
            before = BRANCH if unread.some(var) else zeros.get(var, NONE)
            of_loop: dict[Var, Zeros] = {}
            contributions = cotangents_of_args(var, ct, before, active, of_loop)
            # what nothing reads of what is only moved is found again in what it was moved from
            after = max(zeros.get(var, NONE) if passes_on(var) else before, REVERSE_ZEROS.get(var.op, NONE))
            of_args: dict[Var, list[Var]] = {}
            of_loop = {first[arg]: zero for arg, zero in of_loop.items()}
            for i, (arg, contribution) in enumerate(zip(var.args, contributions, strict=False)):
                if contribution is not None and arg in active and unread.read(var, i, first[arg]):
                    of_args.setdefault(first[arg], []).append(contribution)
            for arg, found in of_args.items():
                terms.setdefault(arg, []).append(reduce(lambda x, y: apply("add", x, y), found))
                zeros[arg] = max(after, zeros.get(arg, NONE), of_loop.get(arg, NONE))
    if ends is not None:
        ends.update({var: BRANCH if unread.some(var) else zeros.get(var, NONE) for var in wrt})
    return [sum_of(terms.get(var, [])) or zeros_like(var) for var in wrt]


def first_equals(order: Sequence[Var], leaves: Collection[Var]) -> dict[Var, Var]:
    """Return for each Var the first that is the same equation: itself for those without arguments, and for `leaves`."""
    first: dict[Var, Var] = {}
    seen: dict[object, Var] = {}
    for var in order:
        known = (var.op, tuple(first[arg] for arg in var.args), var.attrs, var.shape, var.kind)
        first[var] = seen.setdefault(known, var) if var.args and var not in leaves else var
    return first


def depending(order: Sequence[Var], wrt: Sequence[Var]) -> set[Var]:
    """Return the inputs, and those of some Vars, in the order of `toposort`, that depend on them."""
    active = set(wrt)
    for var in order:
        if any(arg in active for arg in var.args):
            active.add(var)
    return active


def cotangents_of_args(
    var: Var, ct: Var, zeros: Zeros, active: Collection[Var], ends: dict[Var, Zeros] | None = None
) -> Sequence[Var | None]:
    """Cotangents of the arguments of one equation, as `vjp`; raise where an active one has no rule.

    Of a loop `ends` gets how zeros in them may come about.
    """
    if var.op == "loop":
        return loops.cotangents(var, ct, zeros, active, pulled_back, {} if ends is None else ends)
    found = vjp(var, ct, zeros)
    if any(arg in active for arg in var.args[len(found) :]):
        raise TypeError(f"{var.op} has no derivative rule in all its arguments")
    return found


def vjp(var: Var, ct: Var, zeros: Zeros = NONE) -> Sequence[Var | None]:
    """Cotangents of the arguments of one equation, whose own may have zeros."""
    if var.op in DERIVATIVES:
        return [None if rule is None else _term(rule, ct, var, i, zeros) for i, rule in enumerate(_rules(var))]
    if var.kind == "bool":
        return [None] * len(var.args)
    if var.op not in REVERSE:
        raise TypeError(f"{var.op} has no derivative rule")
    if zeros == BRANCH and var.op in MIXING:
        var = rebuild(var, tuple(map(finite, var.args)))
    cts = REVERSE[var.op](ct, var)
    if zeros == BRANCH and var.op in REPEATING:
        return [
            term and keep_zeros(expand(ct, var.attrs.axes, var.args[0].shape) if var.op != "native_value" else ct, term)
            for term in cts
        ]
    if zeros != NONE and OPS[var.op].category == "matrices":
        return [term and zero_where_unread(ct, term, len(var.args[0].shape) - 2) for term in cts]
    return cts


def _term(rule: Callable[..., Var], t: Var, var: Var, i: int, zeros: Zeros) -> Var:
    """The share of one argument in a derivative, zero where t is so, if t may have zeros and the rule a pole."""
    term = rule(t, var, *var.args)
    return keep_zeros(t, term) if is_guarded(var, i, zeros) else term


def _rules(var: Var) -> tuple:  # type: ignore[type-arg]
    return DERIVATIVES[var.op] if var.kind == "float" else (None,) * len(var.args)


def sum_of(terms: Sequence[Var]) -> Var | None:
    """Sum of Vars, those that are padded alike before they are padded; None for no terms."""
    sums: dict[object, Var] = {}
    for term in terms:
        key = term.attrs.widths if term.op == "pad" else None
        before = sums.get(key)
        if before is None:
            sums[key] = term
        elif key is None:
            sums[key] = apply("add", before, term)
        else:
            sums[key] = pad(apply("add", before.args[0], term.args[0]), key)
    total: Var | None = None
    for term in sums.values():
        total = term if total is None else apply("add", total, term)
    return total


def gradient_cost(roots: Sequence[Var]) -> float:
    """Cost of one draw: arithmetic, and what must be stored because a later phase reads it.

    A phase ends where an equation needs all elements of its argument before it can give its first: a reduction, a
    contraction, a scan from the far end. A loop needs all of its arguments, and its results are stored.
    """
    phase: dict[Var, int] = {}
    stored: set[Var] = set()
    total = 0.0
    for var in toposort(fuse_loops(roots)):
        if not var.by_draw:
            continue
        changing = [arg for arg in var.args if arg.by_draw]
        phase[var] = max((phase[arg] + _barrier(arg) for arg in changing), default=0)
        stored.update(arg for arg in changing if phase[arg] < phase[var] and not _barrier(arg))
        if var.op == "loop":
            stored.add(var)
        total += cost(var)
    return total + sum(6.0 * var.size for var in stored)


def _barrier(var: Var) -> bool:
    reversed_scan = OPS[var.op].category == "scan" and var.attrs.reverse
    return OPS[var.op].category in ("reduction", "contraction", "matrices", "loop") or reversed_scan or var.op == "flip"
