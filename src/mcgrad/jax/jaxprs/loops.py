"""JAX's loops whose number of steps is known: `mg.scan` where they are long, else unrolled.

Before it becomes a loop, a body is cut by what its equations depend on: what is the same in all steps is computed
once; what no traced value changes, such as a counter, JAX runs; what these look up in arrays, `a[i]`, is looked up for
all steps at once. So no index is left in the loop, and what a step looks up in noise is noise of that step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import jax
import numpy as np
from jax.extend import core

from mcgrad.jax.jaxprs.indexed import ValueNeededError, value_needed
from mcgrad.trace.loops import scan
from mcgrad.trace.tracer import Tracer

Evaluate = Callable[..., list[Any]]
SHORT = 200  # equations of all steps up to which they compile as fast unrolled, and run on GPUs, too
UNROLLED = 5000  # up to which those are unrolled that cannot be loops
WHOLE = "index by what counts the steps, and return what a step has as y, not by x.at[i].set"
STEPS = (
    "the number of steps must be known while tracing: lax.scan or lax.fori_loop with bounds that are integers, whose "
    "steps keep the carry by jnp.where where the condition is false. With NumPy that is mg.while_loop"
)

VIEWS = ("squeeze", "reshape")


class Changes(IntEnum):
    """What a value of a body changes by."""

    NEVER = 0  # constants
    TRACED = 1  # the same in all steps, and traced
    STEP = 2  # by step, and not traced
    FOUND = 3  # traced, and found by an index that changes by step
    CARRY = 4  # by what is carried, or traced elements of each step


NEVER, TRACED, STEP, FOUND, CARRY = Changes


@dataclass(frozen=True)
class Steps:
    """A loop: its body, of which the first arguments are the same in all steps, and the next are carried."""

    name: str
    body: core.ClosedJaxpr
    consts: Sequence[Any]
    carry: Sequence[Any]
    xs: Sequence[Any]
    length: int
    reverse: bool = False

    @property
    def equations(self) -> int:
        """Of all steps."""
        return self.length * len(self.body.jaxpr.eqns)


def run(evaluate: Evaluate, steps: Steps) -> list[Any]:
    """Return the last carries and the stacked outputs.

    Raises
    ------
    TraceError
        A body that cannot be traced, or not as a loop, where it is too long to be unrolled.
    """
    if steps.equations <= SHORT:
        return _unrolled(evaluate, steps)
    try:
        return _looped(evaluate, steps)
    except ValueNeededError as error:
        if steps.equations > UNROLLED:
            raise error if error.__cause__ else _too_long(error, steps) from error
    return _unrolled(evaluate, steps)


def _too_long(error: ValueNeededError, steps: Steps) -> ValueNeededError:
    text = f"{steps.name} of {steps.length} steps would be unrolled to more than {UNROLLED} equations"
    return ValueNeededError(f"{error.message}; in a loop {WHOLE}: {text}", error.filename, error.lineno)


def number_of_steps(params: dict[str, Any], args: Sequence[Any]) -> int:
    """Return how many steps a `lax.while_loop` takes.

    Raises
    ------
    TraceError
        Where a traced value says so.
    """
    asked, done = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
    steps = Steps("", params["body_jaxpr"], args[asked:done], args[done:], (), 0)
    changes = _classes(steps)
    jaxpr, condition = params["body_jaxpr"].jaxpr, params["cond_jaxpr"].jaxpr
    carried = jaxpr.invars[len(steps.consts) :]
    known = [i for i, var in enumerate(carried) if changes[var] in (NEVER, STEP)]
    of_condition = dict(zip(condition.invars, [*args[:asked], *(None for _ in carried)], strict=True))
    held = {condition.invars[asked + i] for i in range(len(carried)) if i not in known}
    traced = held | {var for var, x in of_condition.items() if isinstance(x, Tracer)}
    read = _needed(condition.eqns, condition.outvars)
    if any(atom in traced for atom in (*condition.outvars, *(x for eqn in read for x in eqn.invars)) if _is_var(atom)):
        raise value_needed("lax.while_loop with a traced condition", STEPS)
    body = jaxpr.replace(
        invars=[*jaxpr.constvars, *jaxpr.invars], constvars=[], outvars=[jaxpr.outvars[i] for i in known],
        eqns=_needed(jaxpr.eqns, [jaxpr.outvars[i] for i in known]),
    )  # fmt: skip
    outer = [*params["body_jaxpr"].consts, *steps.consts]
    fillers = [np.zeros(var.aval.shape, var.aval.dtype) for var in (*jaxpr.constvars, *jaxpr.invars)]
    given = [filler if isinstance(x, Tracer) else x for x, filler in zip([*outer, *steps.carry], fillers, strict=True)]
    of_cond = [
        np.zeros(var.aval.shape, var.aval.dtype) if isinstance(x, Tracer) else x
        for var, x in zip(condition.invars, args[:asked])  # noqa: B905
    ]

    def whole(moving: Sequence[Any]) -> list[Any]:
        carry = list(given[len(outer) :])
        for i, x in zip(known, moving, strict=True):
            carry[i] = x
        return carry

    def goes_on(state: Any) -> Any:
        return core.jaxpr_as_fun(params["cond_jaxpr"])(*of_cond, *whole(state[1]))[0]

    def step(state: Any) -> Any:
        count, moving = state
        return count + 1, core.jaxpr_as_fun(core.ClosedJaxpr(body, ()))(*given[: len(outer)], *whole(moving))

    with jax.ensure_compile_time_eval():
        start = [jax.numpy.asarray(given[len(outer) + i], carried[i].aval.dtype) for i in known]
        return int(jax.lax.while_loop(goes_on, step, (0, start))[0])


# --- unrolled --------------------------------------------------------------------------------------------------------
def _unrolled(evaluate: Evaluate, steps: Steps) -> list[Any]:
    body, carry, length = steps.body, list(steps.carry), steps.length
    number = len(body.jaxpr.outvars) - len(carry)
    outputs: list[list[Any]] = [[None] * length for _ in range(number)]
    for t in range(length)[::-1] if steps.reverse else range(length):
        made = evaluate(body.jaxpr, body.consts, [*steps.consts, *carry, *(x[t] for x in steps.xs)])
        carry, made = made[: len(carry)], made[len(carry) :]
        for output, value in zip(outputs, made, strict=True):
            output[t] = value
    empty = [np.zeros((0, *var.aval.shape)) for var in body.jaxpr.outvars[len(carry) :]]
    return [*carry, *(np.stack(rows) if length else none for rows, none in zip(outputs, empty, strict=True))]


# --- as a loop -------------------------------------------------------------------------------------------------------
def _looped(evaluate: Evaluate, steps: Steps) -> list[Any]:
    jaxpr, first = steps.body.jaxpr, len(steps.consts)
    last = first + len(steps.carry)
    changes = _classes(steps)
    carried, by_step = jaxpr.invars[first:last], jaxpr.invars[last:]
    known: dict[Any, Any] = dict(zip(jaxpr.constvars, steps.body.consts, strict=True))
    known |= zip(jaxpr.invars[:first], steps.consts, strict=True)
    known |= {var: x for var, x in zip(carried, steps.carry, strict=True) if changes[var] <= TRACED}
    same = [eqn for eqn in jaxpr.eqns if _class(eqn, changes) <= TRACED]
    if same:
        results = [var for eqn in same for var in eqn.outvars if isinstance(var, core.Var)]
        known |= zip(results, _evaluated(evaluate, same, known, results, jaxpr), strict=True)
    rows = {var: x for var, x in zip(by_step, steps.xs, strict=True) if changes[var] == STEP}
    counted = [i for i, var in enumerate(carried) if changes[var] == STEP]
    final, before = _by_jax(evaluate, steps, counted, changes, known, rows)
    rows |= before
    rows |= _for_all_steps(evaluate, steps, changes, known, rows)
    moving = [i for i, var in enumerate(carried) if changes[var] == CARRY]
    elements = {var: x for var, x in zip(by_step, steps.xs, strict=True) if changes[var] == CARRY}
    rest = [eqn for eqn in jaxpr.eqns if _class(eqn, changes) == CARRY]
    stacked = [i for i, atom in enumerate(jaxpr.outvars) if i >= len(carried) and _of(atom, changes) == CARRY]
    wanted = [jaxpr.outvars[i] for i in (*moving, *stacked)]
    read = {atom for atom in (*wanted, *(x for eqn in rest for x in eqn.invars)) if _is_var(atom)}
    elements |= {var: x for var, x in rows.items() if var in read}
    found: dict[int, Any] = dict(zip(counted, final, strict=True))

    def step(carry: Any, x: Any) -> Any:
        inside = {**known, **dict(zip((carried[i] for i in moving), carry, strict=True))}
        inside |= zip(elements, x or (), strict=True)
        made = _evaluated(evaluate, rest, inside, wanted, jaxpr)
        return tuple(made[: len(moving)]), tuple(made[len(moving) :])

    if wanted:
        start = tuple(steps.carry[i] for i in moving)
        carry, ys = scan(step, start, tuple(elements.values()) or None, steps.length, steps.reverse)
        found |= zip(moving, carry, strict=True)
        found |= zip(stacked, ys, strict=True)
    for i, atom in enumerate(jaxpr.outvars):
        if i in found:
            continue
        if isinstance(atom, core.Literal) or atom in known:
            value = atom.val if isinstance(atom, core.Literal) else known[atom]
            found[i] = value if i < len(carried) else np.broadcast_to(value, (steps.length, *np.shape(value)))
        else:
            found[i] = rows[atom]
    return [found[i] for i in range(len(jaxpr.outvars))]


def _classes(steps: Steps) -> dict[Any, Changes]:
    """What each value of the body changes by; carries begin as constants, until that is wrong."""
    jaxpr, first = steps.body.jaxpr, len(steps.consts)
    carried = jaxpr.invars[first : first + len(steps.carry)]
    changes: dict[Any, Changes] = dict.fromkeys(jaxpr.constvars, NEVER)
    changes |= {var: TRACED if isinstance(x, Tracer) else NEVER for var, x in zip(jaxpr.invars, steps.consts)}  # noqa: B905
    for var, x in zip(jaxpr.invars[first + len(carried) :], steps.xs, strict=True):
        changes[var] = CARRY if isinstance(x, Tracer) else STEP
    for var, result, x in zip(carried, jaxpr.outvars, steps.carry):  # noqa: B905
        stays = TRACED if isinstance(x, Tracer) else NEVER
        changes[var] = stays if result is var else CARRY if isinstance(x, Tracer) else STEP
    while True:
        for eqn in jaxpr.eqns:
            changes |= dict.fromkeys(eqn.outvars, _class(eqn, changes))
        wrong = [
            var for var, result in zip(carried, jaxpr.outvars)  # noqa: B905
            if changes[var] == STEP and _of(result, changes) not in (NEVER, STEP)
        ]  # fmt: skip
        if not wrong:
            return changes
        changes |= dict.fromkeys(wrong, CARRY)


def _class(eqn: core.JaxprEqn, changes: dict[Any, Changes]) -> Changes:
    """What the results of an equation change by."""
    given = [_of(atom, changes) for atom in eqn.invars]
    highest = max(given, default=NEVER)
    if highest == FOUND and eqn.primitive.name in VIEWS:
        return FOUND
    if highest != STEP or TRACED not in given:
        return CARRY if highest >= FOUND else highest
    index = (atom for atom, each in zip(eqn.invars, given, strict=True) if each == STEP)
    return FOUND if any(atom.aval.dtype.kind in "iub" for atom in index) else CARRY


def _of(atom: Any, changes: dict[Any, Changes]) -> Changes:
    return NEVER if isinstance(atom, core.Literal) else changes[atom]


def _is_var(atom: Any) -> bool:
    return not isinstance(atom, core.Literal)


def _needed(eqns: Iterable[core.JaxprEqn], outvars: Iterable[Any]) -> list[core.JaxprEqn]:
    """The equations that results depend on, in order."""
    read, kept = {var for var in outvars if _is_var(var)}, []
    for eqn in list(eqns)[::-1]:
        if not read.isdisjoint(eqn.outvars):
            kept.append(eqn)
            read |= {atom for atom in eqn.invars if _is_var(atom)}
    return kept[::-1]


def _cut(
    eqns: Sequence[core.JaxprEqn], known: Iterable[Any], results: Sequence[Any], jaxpr: core.Jaxpr
) -> tuple[core.Jaxpr, list[Any]]:
    """A jaxpr of some equations alone, and which of what is known it takes."""
    eqns = _needed(eqns, results)
    read = {atom for atom in (*results, *(x for eqn in eqns for x in eqn.invars)) if _is_var(atom)}
    takes = [var for var in known if var in read]
    return jaxpr.replace(constvars=[], invars=takes, outvars=list(results), eqns=eqns), takes


def _evaluated(
    evaluate: Evaluate, eqns: Sequence[core.JaxprEqn], known: dict[Any, Any], results: Sequence[Any], jaxpr: core.Jaxpr
) -> list[Any]:
    cut, takes = _cut(eqns, known, results, jaxpr)
    return evaluate(cut, (), [known[var] for var in takes])


def _by_jax(
    evaluate: Evaluate,
    steps: Steps,
    counted: Sequence[int],
    changes: dict[Any, Changes],
    known: dict[Any, Any],
    rows: dict[Any, Any],
) -> tuple[list[Any], dict[Any, Any]]:
    """Carries that no traced value changes: after the last step, and before each."""
    if not counted:
        return [], {}
    jaxpr = steps.body.jaxpr
    leaves = [jaxpr.invars[len(steps.consts) + i] for i in counted]
    eqns = [eqn for eqn in jaxpr.eqns if _class(eqn, changes) == STEP]
    plain = {var: x for var, x in known.items() if not isinstance(x, Tracer)}
    cut, takes = _cut(eqns, [*leaves, *rows, *plain], [jaxpr.outvars[i] for i in counted], jaxpr)
    body = core.jaxpr_as_fun(core.ClosedJaxpr(cut, ()))

    def whole(carry: Sequence[Any], xs: Sequence[Any], same: Sequence[Any]) -> Any:
        def step(state: Any, x: Any) -> Any:
            inside = dict(zip((*leaves, *rows, *plain), (*state, *x, *same), strict=True))
            return tuple(body(*(inside[var] for var in takes))), state

        return jax.lax.scan(step, tuple(carry), tuple(xs), steps.length, steps.reverse)

    begin = [_as(steps.carry[i], var) for i, var in zip(counted, leaves, strict=True)]
    args = (begin, [*rows.values()], [_as(x, var) for var, x in plain.items()])
    closed = jax.make_jaxpr(whole)(*args)
    made = evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(args))
    return made[: len(counted)], dict(zip(leaves, made[len(counted) :], strict=True))


def _for_all_steps(
    evaluate: Evaluate, steps: Steps, changes: dict[Any, Changes], known: dict[Any, Any], rows: dict[Any, Any]
) -> dict[Any, Any]:
    """What changes by step alone, and what is found by that, along a first axis."""
    jaxpr = steps.body.jaxpr
    eqns = [eqn for eqn in jaxpr.eqns if _class(eqn, changes) in (STEP, FOUND)]
    results = [var for eqn in eqns for var in eqn.outvars if not isinstance(var, core.DropVar)]
    if not results:
        return {}
    cut, takes = _cut(eqns, [*rows, *known], results, jaxpr)
    axes = [0 if var in rows else None for var in takes]
    values = [rows[var] if var in rows else known[var] for var in takes]
    shapes = [
        jax.ShapeDtypeStruct((steps.length, *var.aval.shape) if axis == 0 else var.aval.shape, var.aval.dtype)
        for var, axis in zip(takes, axes, strict=True)
    ]
    closed = jax.make_jaxpr(jax.vmap(core.jaxpr_as_fun(core.ClosedJaxpr(cut, ())), axes))(*shapes)
    return dict(zip(results, evaluate(closed.jaxpr, closed.consts, values), strict=True))


def _as(x: Any, var: Any) -> Any:
    return np.asarray(x, var.aval.dtype)
