"""Vibrato: the expectation over a last normal step, differentiated by the density of that step in place of f."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mcgrad.errors import ParameterError
from mcgrad.functions.implicit_derivative import implicit, is_traced, stop
from mcgrad.functions.triangular_solve import solve_lower
from mcgrad.ir.build import apply, broadcast
from mcgrad.reals import function
from mcgrad.trace.tracer import Tracer, unwrap


def vibrato(f: Callable[[Any], Any], mean: Any, scale: Any, eps: Any) -> Any:
    """Return f of a last normal step, f(mean + scale eps), where f may jump.

    For integrands whose last step of a path decides a payoff that jumps: a digital option, a barrier, an indicator. The
    path up to that step, which is in `mean` and `scale`, is differentiated along draws, and the step itself by the
    logarithmic derivative of its normal density, in `mean` and `scale`, so f is not differentiated in what the step
    makes. Second derivatives are those of this, so that they are right, too. The variance depends on the length dt of
    the last step, not on how many there are before: of a first derivative at a jump it is of order dt**(-1/2), so that
    a last step longer than the others is worth its bias, or has none, as where steps are exact.

    Parameters
    ----------
    f : callable
        ``f(x)`` in plain NumPy: a number or an array, and may be a comparison. x has the shape of `mean`. What f reads
        besides is differentiated as usual: it may discount, but what it reads must not move a jump (divide x by a
        strike before, in `mean` and `scale`).
    mean : array
        The mean of the last step's value, given the path.
    scale : array
        Its standard deviation, above zero, of the shape of `mean`, or one that broadcasts to it; for correlated steps
        of a vector the lower triangular factor of the covariance, (d, d) for a mean of shape (d,).
    eps : array
        Standard normal noise of the shape of `mean`, or of shape (m, *shape of mean): f is then averaged over m steps.
        No parameter moves it. What else reads it, as a path that goes on from this step, is not mirrored with it.

    Returns
    -------
    The mean of f over each step and its mirror image, -eps: two evaluations of f for each. The integrand is linear in
    it: it may add it to anything, and multiply it with what does not read `eps`.

    Raises
    ------
    ParameterError
        Shapes that do not go together. When an estimator is made: something that reads `eps`, too, in `f`, `mean` or
        `scale`, or times the result; a function of the result; a derivative in a parameter of `eps`.

    Notes
    -----
    Giles, *Vibrato Monte Carlo sensitivities*, 2009; second derivatives by differentiation of vibrato: Pages, Pironneau
    and Sall, *Vibrato and automatic differentiation for high-order derivatives and sensitivities of financial options*,
    2018. f at the mean is a control variate of the derivative: for a small step the score, of order 1 / scale, is
    multiplied by f(x) - f(mean), which is zero unless the step crosses the jump.

    Examples
    --------
    >>> import numpy as np
    >>> float(vibrato(lambda x: x > 1.0, 0.9, 0.2, np.array([1.0, -0.2, 0.3])))
    0.16666666666666666
    """
    function("f", f, "f(x), a function of the value after the step")
    shape, noise = np.shape(mean), np.shape(eps)
    if noise[len(noise) - len(shape) :] != shape or len(noise) - len(shape) not in (0, 1):
        raise ParameterError("eps", f"noise of shape {noise}", f"{shape}, the shape of mean, or (m, *{shape})")
    correlated = len(shape) == 1 and np.shape(scale) == (*shape, *shape)
    if not correlated and not _broadcasts(np.shape(scale), shape):
        raise ParameterError(
            "scale", f"an array of shape {np.shape(scale)}", f"{shape}, the shape of mean, or a (d, d) factor"
        )
    steps = [eps] if len(noise) == len(shape) else [eps[i] for i in range(noise[0])]
    if not steps:
        raise ParameterError("eps", "noise of no steps", "at least one")
    traced = any(map(is_traced, (mean, scale, eps)))
    moved = [(scale @ step if correlated else scale * step, step) for step in steps]
    places = [_place(mean + sign * move, step) for move, step in moved for sign in (1.0, -1.0)]
    center = _held(mean) if traced else None
    total: Any = 0.0
    for place in places:
        here = f(place) * 1.0
        total = total + here
        if traced:
            total = total + (here - f(center) * 1.0) * _ratio(place, mean, scale, correlated)
    return _mean(total / len(places), places) if traced else total / len(places)


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False


def _held(x: Any) -> Any:
    """Return a value without a derivative; what follows it has another, of the density."""
    return implicit(x, 0.0, 1.0)


def _place(x: Any, eps: Any) -> Any:
    """Return what a step makes, held; a Program says of which noise."""
    if not (is_traced(x) or is_traced(eps)):
        return x
    return Tracer(apply("vibrato_step", unwrap(x), unwrap(eps)))


def _mean(y: Any, places: Sequence[Any]) -> Any:
    """Return a mean over steps; a Program says over which."""
    steps = unwrap(sum(np.sum(place) for place in places))
    var = unwrap(y)
    return Tracer(apply("vibrato_mean", var, broadcast(steps, var.shape)))


def _ratio(x: Any, mean: Any, scale: Any, correlated: bool) -> Any:
    """Return p(x) / p(x) - 1 = 0 for the density p of a step, with the derivatives that p has in mean and scale."""
    if correlated:
        white, size = solve_lower(scale, x - mean), np.sum(np.log(np.diagonal(scale)))
    else:
        white, size = (x - mean) / scale, np.sum(np.log(np.broadcast_to(scale, np.shape(mean))))
    log_p = -0.5 * np.sum(white**2) - size
    return np.expm1(log_p - stop(log_p))
