"""`mg.while_loop`: a bounded loop that each draw leaves when it is done."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from mcgrad.errors import user_level
from mcgrad.ir import build
from mcgrad.ir.program import Var
from mcgrad.reals import function
from mcgrad.trace.loops import check_carry, element, number_of_steps, own, traced
from mcgrad.trace.nested import leaves, mapped
from mcgrad.trace.operands import operand
from mcgrad.trace.overruns import collected, note, noted
from mcgrad.trace.refuse import refusal_of
from mcgrad.trace.tracer import Tracer, holds_tracer, unwrap


def while_loop(
    cond: Callable[[Any], Any],
    body: Callable[..., Any],
    init: Any,
    max_steps: int | None = None,
    xs: Any = None,
) -> Any:
    """Run ``carry = body(carry)`` while ``cond(carry)`` holds, for each draw as often as it needs.

    First passages, rejection sampling, iterations to convergence, adaptive steps. The meaning is that of
    ``jax.lax.while_loop`` on one draw, up to a largest number of steps. A draw that has not ended by then *overruns*:
    what f returns is NaN, and the draw is counted as one that is not finite, under the policy `nonfinite`.

    Parameters
    ----------
    cond : callable
        Plain NumPy, of the carry: whether there is another step, one boolean.
    body : callable
        Plain NumPy: ``body(carry)``, or ``body(carry, x)`` with xs. It is traced once.
    init : array, or nested dicts and tuples of arrays
        The first carry. Each array keeps its shape, and stays made of numbers or of booleans.
    max_steps : int, optional
        The largest number of steps; needed where there are no xs.
    xs : array, or nested dicts and tuples of arrays, optional
        Of shapes ``(max_steps, ...)``: step t gets ``x = xs[t]``. Random numbers come this way, each step its own:
        a distribution of `max_steps` numbers, of which a draw reads as many as it takes steps.

    Returns
    -------
    carry : as init
        After the first step that `cond` does not follow; `init`, if it does not hold at first.

    Raises
    ------
    ParameterError
        Arrays of another length than `max_steps`, or none and no `max_steps`.
    TraceError
        A condition that is not one boolean, or a carry that changes its shape or nesting, with the line of `body`.

    Warns
    -----
    RuntimeWarning
        On plain arrays, where the loop overruns: numbers are NaN then, and booleans what they were.

    Examples
    --------
    >>> import numpy as np
    >>> def newton(a):
    ...     return while_loop(lambda x: abs(x * x - a) > 1e-9 * a, lambda x: 0.5 * (x + a / x), a, max_steps=60)
    >>> round(float(newton(2.0)), 6)
    1.414214

    Notes
    -----
    All draws of a block go on until the last of them has ended. Derivatives are those of the steps that a draw takes;
    their number jumps, and what follows from it in jumps, such as the time of a first passage, has a derivative by
    differences or scores alone: a ``JumpWarning``, or an error, says so.
    """
    function("cond", cond, "cond(carry), a function that returns one boolean")
    function("body", body, "body(carry), or body(carry, x) with xs=, a function that returns the next carry")
    elements = leaves(xs)
    steps = number_of_steps(elements, max_steps, "max_steps")
    if not holds_tracer([*leaves(init).values(), *elements.values()]):
        ended, carry = _in_python(cond, body, init, xs, steps)
        if ended:
            return carry
    goes_on = _Condition(cond)

    def step(state: Any, x: Any) -> tuple[Any, None]:
        carry, _ = state
        more = goes_on(carry)
        with collected() as inner:
            after = _called(body, carry, x, xs)
        check_carry(body, after, init)
        noted([replace(each, flag=build.apply("logical_and", more, each.flag)) for each in inner])
        new = leaves(after)
        return (mapped(lambda path, old: _chosen(more, new[path], old), carry), Tracer(more)), None

    if steps:
        carry = traced(step, (init, True), xs, steps, running=True)[0][0]
    else:
        carry = mapped(lambda path, x: Tracer(operand(unwrap(x))), init)
    note(goes_on(carry), steps)
    return carry


def _called(body: Callable[..., Any], carry: Any, x: Any, xs: Any) -> Any:
    carry = own(carry)
    return body(carry) if xs is None else body(carry, own(x))


def _chosen(more: Var, new: Any, old: Any) -> Tracer:
    """The carry of a draw that goes on, or that of one that has ended."""
    return Tracer(build.apply("where", more, operand(unwrap(new)), operand(unwrap(old))))


class _Condition:
    """A condition, checked to be one boolean."""

    def __init__(self, cond: Callable[[Any], Any]) -> None:
        self._cond = cond

    def __call__(self, carry: Any) -> Var:
        return operand(unwrap(self.checked(carry)))

    def checked(self, carry: Any) -> Any:
        """Return what the condition says."""
        found = self._cond(carry)
        given = found if isinstance(found, Tracer) else np.asarray(found)
        if given.shape != ():
            raise refusal_of(
                self._cond,
                f"the condition of mg.while_loop is an array of shape {given.shape}; return one boolean for each draw, "
                "np.any(...) or np.all(...)",
            )
        if given.dtype.kind != "b":
            raise refusal_of(
                self._cond, "the condition of mg.while_loop is a number; return a comparison, such as x > 0"
            )
        return found


def _in_python(
    cond: Callable[[Any], Any], body: Callable[..., Any], init: Any, xs: Any, steps: int
) -> tuple[bool, Any]:
    """Run a loop of plain arrays; say whether it was one, and reads no traced value from outside."""
    goes_on, carry = _Condition(cond), mapped(lambda path, x: np.asarray(x)[()], init)
    with collected():
        for t in range(steps + 1):
            more = goes_on.checked(carry)
            if isinstance(more, Tracer):
                return False, None
            if not more:
                break
            if t == steps:
                warnings.warn(
                    f"mg.while_loop: the condition still holds after max_steps = {steps} steps, and the result is NaN",
                    RuntimeWarning,
                    stacklevel=user_level(),
                )
                return True, mapped(lambda path, x: _overrun(np.asarray(x)), carry)
            carry = _called(body, carry, element(xs, t) if xs is not None else None, xs)
            if holds_tracer([*leaves(carry).values()]):
                return False, None
            check_carry(body, carry, init)
    return True, mapped(lambda path, x: np.asarray(x)[()], carry)


def _overrun(x: Any) -> Any:
    return (x if x.dtype.kind == "b" else np.full(x.shape, np.nan))[()]
