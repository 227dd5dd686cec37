"""The Euler-Maruyama scheme, and Heun's for Stratonovich's equations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mcgrad.paths.constructions import Construction
from mcgrad.sde.equation import Function, equation_of
from mcgrad.sde.state import leafwise
from mcgrad.sde.walk import Now


def euler(
    drift: Function | None,
    diffusion: Function,
    x0: Any,
    times: Any,
    z: Any,
    *,
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
    """Step dx = drift(t, x) dt + diffusion(t, x) dW, Ito's equation, by the Euler-Maruyama scheme.

    A loop over the steps, as `mg.scan`: traced once, with derivatives in all that the functions read. On plain arrays
    it is a Python loop.

    Parameters
    ----------
    drift : callable or None
        ``drift(t, x)`` in plain NumPy, nested as x0 is, of shapes that broadcast to x0's. None is no drift.
    diffusion : callable
        ``diffusion(t, x)``, nested as x0 is. Each leaf has a shape that broadcasts to x0's, where each number of x0 has
        its own motion or there is one motion for all, or ``(*x0.shape, motions)``, a row over all motions.
    x0 : array, or nested dicts and tuples of arrays
        The state at ``times[0]``.
    times : array
        Increasing: the steps are between them. With ``construction="sequential"`` they may be traced, such as
        ``maturity * np.linspace(0, 1, 51)``.
    z : array, shape (steps,), (steps, motions) or (steps, *x0.shape); or arrays nested as x0 is
        Standard normals, such as the draw of ``mg.Normal(np.zeros((steps, motions)), 1.0)``: in one array of shape
        (steps,) one motion for all numbers of x0; with two axes as many motions. Where these are as many as the numbers
        of x0, they belong to those in turn, dicts in the order of their keys.
    xs : array, or nested dicts and tuples of arrays, optional
        Of shapes ``(steps, ...)``: data for each step. drift, diffusion and jump are then called with a third argument,
        its element.
    correlation : number, or array of shape (motions, motions), optional
        Of the motions; a number is that of each pair. It may be traced. Without it they are independent.
    scale_tril : array, shape (motions, motions), optional
        In place of `correlation`, a factor L of the motions' covariance L L^T at time 1.
    construction : {"sequential", "bridge", "pca"}
        How z makes the motions (`mg.paths.brownian`); it matters to ``sampler="sobol"`` alone.
    substeps : int
        How many equal steps are made between two times. z, xs and jumps have an element for each of them:
        ``steps = (len(times) - 1) * substeps``.
    jumps : array, or arrays nested as x0 is, shapes (steps, ...), optional
        The sum of the jumps in each step, which happen at its beginning.
    jump : callable, optional
        ``jump(t, x)``, what `jumps` are multiplied by; 1 without it.
    observe : callable, optional
        ``observe(t, x)``, an array or nested arrays: what is kept in place of x.
    reduce : str or reduction, or nested dicts and tuples of them
        What is returned, nested in the same way: "path", the values at all times, along a first axis; "last"; "mean" of
        the values at all times after the first; "max" and "min" of those at all times; "integral" over time, by the
        trapezoidal rule over all steps; `Survival`, `Maximum` and `Minimum` between the ends of all steps. All but
        "path" take no memory for each step.

    Returns
    -------
    nested as `reduce`, and each as `x0` or what `observe` returns.

    Raises
    ------
    ParameterError
        Times that do not increase, noise or jumps without an element for each step, no correlation matrix.
    TraceError
        A function whose values are not nested as x0 is, or have other shapes, with its line.

    Notes
    -----
    Strong order 1/2 (1 where the diffusion does not depend on x), weak order 1 (Kloeden and Platen, *Numerical solution
    of stochastic differential equations*, 1992, sections 10.2 and 14.1; with jumps Platen and Bruti-Liberati,
    *Numerical solution of stochastic differential equations with jumps in finance*, 2010).

    Examples
    --------
    The mean of an Ornstein-Uhlenbeck process at time 1 is exp(-1):

    >>> import numpy as np
    >>> import mcgrad as mg
    >>> times = np.linspace(0.0, 1.0, 101)
    >>> def final(z, *, rate):
    ...     return mg.sde.euler(lambda t, x: -rate * x, lambda t, x: 0.3, 1.0, times, z, reduce="last")
    >>> q = mg.Normal(np.zeros(100), 1.0)
    >>> est = mg.estimate(final, q, 10_000, params={"rate": 1.0}, wrt="rate", antithetic=True)
    >>> abs(est.value - 0.99**100) < 1e-4, abs(est.grad["rate"] + 0.99**99) < 1e-4
    (True, True)
    """
    equation = equation_of(
        drift, diffusion, x0, times, z, xs=xs, correlation=correlation, scale_tril=scale_tril,
        construction=construction, substeps=substeps, jumps=jumps, jump=jump,
    )  # fmt: skip

    def advance(now: Now, x: Any) -> tuple[Any, Any, Any]:
        dt, dw = equation.increments(now)
        before = equation.jumped(x, now)
        rate, g = equation.rate(now["t"], x, now), equation.values(now["t"], x, now)
        after = leafwise(lambda b, a, s: b + a * dt + s, before, rate, equation.driven(g, x, dw))
        return before, after, equation.variance(g, x, dt)

    return equation.walked(advance, reduce, observe)


def heun(
    drift: Function | None,
    diffusion: Function,
    x0: Any,
    times: Any,
    z: Any,
    *,
    xs: Any = None,
    correlation: Any = None,
    scale_tril: Any = None,
    construction: Construction = "sequential",
    substeps: int = 1,
    observe: Callable[[Any, Any], Any] | None = None,
    reduce: Any = "path",
) -> Any:
    """Step dx = drift(t, x) dt + diffusion(t, x) o dW, Stratonovich's equation, by Heun's scheme.

    The mean of drift and diffusion at x and at the end of an Euler step from there. Ito's equation with the drift a is
    Stratonovich's with a - (1/2) sum_j g_j . grad g_j, where g_j are the columns of the diffusion.

    Parameters
    ----------
    drift, diffusion, x0, times, z, xs, correlation, scale_tril, construction, substeps, observe, reduce
        As for `euler`.

    Returns
    -------
    nested as `reduce`.

    Raises
    ------
    ParameterError, TraceError
        As of `euler`.

    Notes
    -----
    Strong order 1 for noise that is diagonal, scalar, additive or commutative, 1/2 otherwise (Ruemelin, *Numerical
    treatment of stochastic differential equations*, 1982). Within a step `xs` is constant.

    Examples
    --------
    dx = x o dW has the solution x0 exp(W), to the order of the square of a step:

    >>> import numpy as np
    >>> z = np.array([0.4, -1.1, 0.3])
    >>> x = heun(None, lambda t, x: x, 1.0, [0.0, 0.01, 0.02, 0.03], z)
    >>> bool(np.allclose(x[1:], np.exp(np.cumsum(0.1 * z)), atol=5e-4))
    True
    """
    equation = equation_of(
        drift, diffusion, x0, times, z, xs=xs, correlation=correlation, scale_tril=scale_tril,
        construction=construction, substeps=substeps,
    )  # fmt: skip

    def advance(now: Now, x: Any) -> tuple[Any, Any, Any]:
        dt, dw = equation.increments(now)
        rate, g = equation.rate(now["t"], x, now), equation.values(now["t"], x, now)
        here = leafwise(lambda a, s: a * dt + s, rate, equation.driven(g, x, dw))
        end = leafwise(lambda b, step: b + step, x, here)
        rate, later = equation.rate(now["end"], end, now), equation.values(now["end"], end, now)
        there = leafwise(lambda a, s: a * dt + s, rate, equation.driven(later, end, dw))
        after = leafwise(lambda b, first, second: b + 0.5 * (first + second), x, here, there)
        return x, after, equation.variance(g, x, dt)

    return equation.walked(advance, reduce, observe)
