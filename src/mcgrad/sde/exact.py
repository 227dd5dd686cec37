"""Steps that have the distribution of the solution: geometric Brownian motion and the Ornstein-Uhlenbeck process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mcgrad.errors import ParameterError
from mcgrad.paths.constructions import Construction
from mcgrad.sde import jumps as jumping
from mcgrad.sde.diffusion import noise_kind, variance
from mcgrad.sde.grid import grid
from mcgrad.sde.motion import Motion, factor_of, motion
from mcgrad.sde.reductions import Coordinates
from mcgrad.sde.state import Shape, fits, shape_of, start, without_lists
from mcgrad.sde.walk import Now, walk
from mcgrad.trace.nested import is_nested
from mcgrad.trace.tracer import Tracer

SMALL = 0.03  # of an exponent, below which a series has all digits


def gbm(
    x0: Any,
    times: Any,
    z: Any,
    *,
    drift: Any,
    volatility: Any,
    correlation: Any = None,
    scale_tril: Any = None,
    construction: Construction = "sequential",
    substeps: int = 1,
    jumps: Any = None,
    observe: Callable[[Any, Any], Any] | None = None,
    reduce: Any = "path",
) -> Any:
    """Step dx = drift x dt + volatility x dW, geometric Brownian motion, exactly; with `jumps` Merton's model.

    Parameters
    ----------
    x0 : array
        The state at ``times[0]``.
    times, z, correlation, scale_tril, construction, substeps, observe
        As for `euler`: one motion for all numbers of x0, one for each, or general noise.
    drift : array, or callable
        Of a shape that broadcasts to x0's. A function of t is taken at the beginning of each step, and constant in it.
    volatility : array, or callable
        Likewise; of shape ``(*x0.shape, motions)`` for general noise.
    jumps : array, shape (steps, ...), optional
        The sum of the jumps of log x in each step, which happen at its beginning.
    reduce
        As for `euler`. `Survival`, `Maximum` and `Minimum` are exact, as they are those of log x: x0 and barriers are
        positive.

    Returns
    -------
    nested as `reduce`.

    Raises
    ------
    ParameterError
        As for `euler`; parameters whose shapes do not fit x0's.

    Notes
    -----
    Merton's jumps (*Option pricing when underlying stock returns are discontinuous*, 1976) come at a rate, and their
    logarithms are normal: with counts n, a Poisson draw for each step, their sum is
    ``n * loc + np.sqrt(n) * scale * e`` for standard normals e. The drift of a martingale is less by
    ``rate * (np.exp(loc + scale**2 / 2) - 1)``.

    Examples
    --------
    >>> import numpy as np
    >>> x = gbm(100.0, [0.0, 0.5, 1.0], [0.2, -1.0], drift=0.05, volatility=0.2, reduce="last")
    >>> bool(np.isclose(x, 100 * np.exp(0.05 - 0.02 + 0.2 * np.sqrt(0.5) * (0.2 - 1.0))))
    True
    """
    steps, x = grid(times, substeps), one_array(x0)
    driving = motion(z, x, steps, construction, correlation, scale_tril)
    found = jumping.checked(jumps, x, steps)

    def advance(now: Now, level: Any) -> tuple[Any, Any, Any]:
        dt, root = steps.of_step(now)
        rate = parameter("drift", drift, now["t"], x.shape)
        g = parameter("volatility", volatility, now["t"], x.shape, driving)
        of_time = variance(g, x, driving)
        before = level if found is None else level + now["jumps"]
        noise = _noise(g, x, driving.of_step(now["noise"], root), driving)
        return before, before + (rate - 0.5 * of_time) * dt + noise, of_time * dt

    in_logs = Coordinates(
        inward=lambda barrier, part: _log_ratio(barrier, part(x)), outward=lambda level, part: part(x) * np.exp(level)
    )
    arrays = {"noise": driving.noise, "jumps": found}
    return walk(advance, np.zeros(x.shape), steps, arrays, reduce, observe, in_logs)


def ou(
    x0: Any,
    times: Any,
    z: Any,
    *,
    rate: Any,
    mean: Any,
    volatility: Any,
    correlation: Any = None,
    scale_tril: Any = None,
    construction: Construction = "sequential",
    substeps: int = 1,
    jumps: Any = None,
    observe: Callable[[Any, Any], Any] | None = None,
    reduce: Any = "path",
) -> Any:
    """Step dx = rate (mean - x) dt + volatility dW, the Ornstein-Uhlenbeck process (Vasicek's model), exactly.

    Parameters
    ----------
    x0 : array
        The state at ``times[0]``.
    times, z, construction, substeps, observe
        As for `euler`: one motion for all numbers of x0, or one for each.
    rate, mean, volatility : array, or callable
        Of shapes that broadcast to x0's. A function of t is taken at the beginning of each step, and constant in it.
        The rate may be zero or negative.
    correlation, scale_tril : optional
        As for `euler`. Of several rates each step has a covariance of its own, of which a factor is made.
    jumps : array, shape (steps, ...), optional
        The sum of the jumps of x in each step, which happen at its beginning.
    reduce
        As for `euler`. `Survival`, `Maximum` and `Minimum` take the path within a step for a Brownian bridge with the
        variance of the step, which it is for short steps.

    Returns
    -------
    nested as `reduce`.

    Raises
    ------
    ParameterError
        As for `euler`; parameters whose shapes do not fit x0's.

    Notes
    -----
    The distribution is exact for any construction. The path is that of its motions up to terms of the second order in a
    step.

    Examples
    --------
    >>> import numpy as np
    >>> x = ou(1.0, [0.0, 2.0], [0.5], rate=0.7, mean=0.2, volatility=0.3, reduce="last")
    >>> bool(np.isclose(x, 0.2 + 0.8 * np.exp(-1.4) + 0.3 * np.sqrt((1 - np.exp(-2.8)) / 1.4) * 0.5))
    True
    """
    steps, x = grid(times, substeps), one_array(x0)
    driving = motion(z, x, steps, construction)
    factor = factor_of(driving.noise, correlation, scale_tril)
    covariance = None if factor is None else factor @ factor.T
    found = jumping.checked(jumps, x, steps)

    def advance(now: Now, level: Any) -> tuple[Any, Any, Any]:
        dt, root = steps.of_step(now)
        speed, centre = (parameter(name, given, now["t"], x.shape) for name, given in (("rate", rate), ("mean", mean)))
        g = parameter("volatility", volatility, now["t"], x.shape)
        before = level if found is None else level + now["jumps"]
        length = dt * mean_decay(2.0 * speed * dt)  # of a motion with the variance of the step
        normals = driving.standard(now["noise"], root)
        if covariance is None or factor is None:
            noise, variances = _noise(g, x, normals, driving) * np.sqrt(length), length
        elif shape_of(speed) == ():
            noise, variances = _noise(g, x, factor @ normals, driving) * np.sqrt(length), length * np.diag(covariance)
        else:
            lengths = covariance * (dt * mean_decay((speed[:, None] + speed) * dt))
            noise, variances = g * (np.linalg.cholesky(lengths) @ normals), length * np.diag(covariance)
        return before, centre + (before - centre) * np.exp(-speed * dt) + noise, g * g * variances

    return walk(advance, x, steps, {"noise": driving.noise, "jumps": found}, reduce, observe)


def mean_decay(x: Any) -> Any:
    """Return (1 - exp(-x)) / x, the mean of exp(-s) for s from 0 to x; 1 at 0."""
    near = np.abs(x) < SMALL
    small, large = np.where(near, x, 0.0), np.where(near, 1.0, x)
    series: Any = 1.0
    for k in range(7, 1, -1):
        series = 1.0 - series * small / k
    return np.where(near, series, -np.expm1(-large) / large)


def one_array(x0: Any) -> Any:
    """Return a state that is one array."""
    x0 = without_lists(x0)
    if is_nested(x0):
        raise ParameterError("x0", f"a {type(x0).__name__}", "an array: mg.sde.euler takes nested states")
    return start(x0)


def parameter(name: str, given: Any, t: Any, shape: Shape, driving: Motion | None = None) -> Any:
    """Return a parameter at a time, checked to fit the state's shape, or to be rows over all motions."""
    value = given(t) if callable(given) and not isinstance(given, Tracer) else given
    value = value if isinstance(value, Tracer) else np.asarray(value, np.float64)
    rows = driving is not None and driving.shape is not None and value.shape == (*shape, *driving.shape)
    if not rows and not fits(value.shape, shape):
        raise ParameterError(name, f"shape {value.shape}", f"{shape}, as x0, or one that broadcasts to it")
    return value


def _noise(g: Any, x: Any, w: Any, driving: Motion) -> Any:
    kind = noise_kind(g, x.shape, driving.shape, driving.has_own(x))
    if kind is None:
        given = f"{driving.shape} standard normals for each step and x0 of shape {x.shape}"
        raise ParameterError("z", given, f"one for each step, or {x.shape}, one for each number of x0")
    if kind == "general":
        return g @ driving.correlated(w)
    return g * (w if kind == "scalar" else driving.own(w, x))


def _log_ratio(barrier: Any, x: Any) -> Any:
    """Return the logarithm of barrier / x0, both positive."""
    for name, value in (("a barrier", barrier), ("x0", x)):
        if not isinstance(value, Tracer) and not np.all(np.asarray(value) > 0.0):
            raise ParameterError(name, f"{np.min(value):g}", "positive numbers: mg.sde.gbm steps the logarithm of x")
    return np.log(barrier / x)
