"""Milstein's scheme: Euler-Maruyama with the terms of second order in the increments of the motions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mcgrad.paths.constructions import Construction
from mcgrad.sde import derivative
from mcgrad.sde.diffusion import noise_kind
from mcgrad.sde.equation import Equation, Function, equation_of
from mcgrad.sde.state import leafwise, shapes
from mcgrad.sde.walk import Now
from mcgrad.trace.nested import leaves, mapped
from mcgrad.trace.refuse import refusal_of


def milstein(
    drift: Function | None,
    diffusion: Function,
    x0: Any,
    times: Any,
    z: Any,
    *,
    commutative: bool = False,
    xs: Any = None,
    correlation: Any = None,
    scale_tril: Any = None,
    construction: Construction = "sequential",
    substeps: int = 1,
    jumps: Any = None,
    jump: Function | None = None,
    observe: Callable[[Any, Any], Any] | None = None,
    reduce: Any = "path",
) -> Any:
    """Step dx = drift(t, x) dt + diffusion(t, x) dW, Ito's equation, by Milstein's scheme.

    The derivative of the diffusion is made by forward differentiation of the function, on plain arrays, too, where the
    function is called with stand-ins once.

    Parameters
    ----------
    drift, diffusion, x0, times, z, xs, correlation, scale_tril, construction, substeps, jumps, jump, observe,
    reduce
        As for `euler`.
    commutative : bool
        Whether the columns g_j of the diffusion satisfy g_j . grad g_k = g_k . grad g_j. By default each number of the
        diffusion may depend on that number of the state alone, or on none, or there is one motion: this is looked at,
        and it is commutative. Where it is not, the scheme with ``commutative=True`` leaves out the Levy areas, and has
        the strong order of `euler`.

    Returns
    -------
    nested as `reduce`.

    Raises
    ------
    TraceError
        A diffusion that mixes several motions, without `commutative`; one that has no derivative.

    Warns
    -----
    JumpWarning
        From an estimate of a pathwise gradient, where the terms of second order jump: those of
        ``np.sqrt(np.maximum(x, 0.0))`` do, at x = 0, as a parameter moves x.

    Notes
    -----
    Strong order 1, weak order 1 (Kloeden and Platen, *Numerical solution of stochastic differential equations*, 1992,
    section 10.3). Without Levy areas: Giles and Szpruch, *Antithetic multilevel Monte Carlo estimation for
    multi-dimensional SDEs without Levy area simulation*, 2014.

    Examples
    --------
    >>> x = milstein(lambda t, x: 0.05 * x, lambda t, x: 0.2 * x, 100.0, [0.0, 0.25], [1.0])
    >>> bool(abs(x[-1] - 100 * (1 + 0.0125 + 0.1 + 0.5 * 0.2**2 * (0.25 - 0.25))) < 1e-12)
    True
    """
    equation = equation_of(
        drift, diffusion, x0, times, z, xs=xs, correlation=correlation, scale_tril=scale_tril,
        construction=construction, substeps=substeps, jumps=jumps, jump=jump,
    )  # fmt: skip
    second_order = derivative.Traced(lambda x, *rest: _second_order(equation, commutative, x, *rest))

    def advance(now: Now, x: Any) -> tuple[Any, Any, Any]:
        dt, dw = equation.increments(now)
        before = equation.jumped(x, now)
        rate, g = equation.rate(now["t"], x, now), equation.values(now["t"], x, now)
        terms = second_order(x, now["t"], dw, dt, now["xs"])
        after = leafwise(
            lambda b, a, first, second: b + a * dt + first + second, before, rate, equation.driven(g, x, dw), terms
        )
        return before, after, equation.variance(g, x, dt)

    return equation.walked(advance, reduce, observe)


def _second_order(equation: Equation, commutative: bool, x: Any, t: Any, dw: Any, dt: Any, data: Any) -> Any:
    """Return half of the sum over motions j, k of g_j . grad g_k (dW_j dW_k - Cov(dW_j, dW_k)), nested as x is."""
    g = equation.values(t, x, {"xs": data})
    motion = equation.motion
    try:
        if motion.shape is not None and int(np.prod(motion.shape, dtype=int)) == 1:
            column = equation.driven(g, x, np.ones(motion.shape))
            excess = 0.5 * (dw * dw - dt).reshape(())
            return mapped(lambda path, slope: slope * excess, derivative.product(column, x, column))
        if commutative:
            return _commutative(equation, g, x, dw, dt)
        return _own(equation, g, x, dw, dt)
    except TypeError as error:
        if "has no derivative rule" not in str(error):
            raise
        message = f"diffusion has no derivative, as {error}; Milstein's scheme reads it: mg.sde.euler does not"
        raise refusal_of(equation.diffusion, message) from error


def _commutative(equation: Equation, g: Any, x: Any, dw: Any, dt: Any) -> Any:
    motion = equation.motion
    if motion.shape is None or len(motion.shape) != 1:
        remedy = "commutative=True takes z of shape (steps, motions)"
        raise refusal_of(equation.diffusion, f"diffusion is driven by z nested or shaped as x0 is; {remedy}")
    columns = np.eye(motion.shape[0])  # before they are correlated
    noise = equation.driven(g, x, dw)
    total = derivative.product(noise, x, noise)
    for j in range(motion.shape[0]):
        column = equation.driven(g, x, columns[j])
        slopes = derivative.product(column, x, column)
        total = leafwise(lambda sum_, slope: sum_ - slope * dt, total, slopes)
    return mapped(lambda path, sum_: 0.5 * sum_, total)


def _own(equation: Equation, g: Any, x: Any, dw: Any, dt: Any) -> Any:
    """The terms where each number of the diffusion depends on no other number of the state than its own."""
    motion = equation.motion
    has_own = motion.has_own(x)
    own_alone = derivative.reads_own_alone(g, x)
    for path, value in leaves(g).items():
        kind = noise_kind(value, shapes(x)[path], motion.shape, has_own)
        if own_alone[path] is False or (own_alone[path] and kind == "general"):
            raise refusal_of(
                equation.diffusion,
                f"diffusion{path} depends on other numbers of the state than its own, or has several motions: "
                "Milstein's scheme would need the motions' Levy areas. Use mg.sde.euler, or commutative=True where "
                "g_j . grad g_k = g_k . grad g_j for all columns, or to leave the areas out",
            )
    if not has_own:
        return mapped(lambda path, _: 0.0, x)
    slopes = leaves(derivative.along(g, x, mapped(lambda path, _: 1.0, x)))
    own, scales = leaves(motion.own(dw, x)), {}
    if motion.factor is not None:
        scales = leaves(motion.in_turn(motion.variances(), x))

    def leaf(path: str, value: Any) -> Any:
        if own_alone[path] is None:
            return 0.0
        return 0.5 * value * slopes[path] * (own[path] * own[path] - scales.get(path, 1.0) * dt)

    return mapped(leaf, g)
