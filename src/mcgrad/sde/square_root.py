"""The square-root process of Cox, Ingersoll and Ross, by steps that have the distribution of the solution.

With c = volatility^2 (1 - exp(-rate dt)) / (4 rate) and d = 4 rate mean / volatility^2, x(t + dt) / c is a noncentral
chi-squared variable with d degrees of freedom and noncentrality x(t) exp(-rate dt) / c. For d > 1 that is
(Z + sqrt(noncentrality))^2 + a chi-squared variable with d - 1 degrees of freedom (Glasserman, *Monte Carlo methods in
financial engineering*, 2003, section 3.4; Johnson, Kotz and Balakrishnan 1995), here the quantile at a normal score.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mcgrad.errors import ParameterError
from mcgrad.functions.gamma import gamma_log_ratio
from mcgrad.paths.constructions import Construction
from mcgrad.sde.exact import mean_decay, one_array, parameter
from mcgrad.sde.grid import grid
from mcgrad.sde.motion import motion
from mcgrad.sde.walk import Now, walk
from mcgrad.trace.tracer import Tracer


def cir(
    x0: Any,
    times: Any,
    z: Any,
    *,
    rate: Any,
    mean: Any,
    volatility: Any,
    construction: Construction = "sequential",
    substeps: int = 1,
    observe: Callable[[Any, Any], Any] | None = None,
    reduce: Any = "path",
) -> Any:
    """Step dx = rate (mean - x) dt + volatility sqrt(x) dW, the square-root process, exactly.

    Parameters
    ----------
    x0 : array
        The state at ``times[0]``, positive; the processes of an array are independent.
    times : array, shape (steps + 1,)
        As for `euler`.
    z : array, shape (steps, 2, *x0.shape)
        Standard normals: two for each step, of which the second makes a chi-squared variable by inversion.
    rate, mean, volatility : array, or callable
        Of shapes that broadcast to x0's, with ``4 * rate * mean > volatility**2``. A function of t is taken at the
        beginning of each step, and constant in it.
    construction, substeps, observe, reduce
        As for `euler`. `Survival`, `Maximum` and `Minimum` take the path within a step for a Brownian bridge with the
        variance at its beginning.

    Returns
    -------
    nested as `reduce`.

    Raises
    ------
    ParameterError
        As for `euler`; parameters that are numbers with ``4 * rate * mean <= volatility**2``. Of traced ones each draw
        is then NaN, which an estimate counts and reports.

    Notes
    -----
    The distribution is exact. The path is a smooth function of the parameters, and values and gradients have finite
    variance where ``2 * rate * mean > volatility**2`` (Feller's condition); between the two conditions the pathwise
    gradient has a mean and no variance. Below, `euler` with ``np.maximum(x, 0.0)`` in drift and diffusion (full
    truncation: Lord, Koekkoek and van Dijk, *A comparison of biased simulation schemes for stochastic volatility
    models*, 2010) is of use. The quadratic-exponential scheme (Andersen 2008) is not offered: its draws jump as a
    parameter moves, where one of its two branches takes over from the other, so that pathwise gradients are wrong.

    Examples
    --------
    >>> import numpy as np
    >>> import mcgrad as mg
    >>> def final(z, *, rate):
    ...     return mg.sde.cir(0.09, [0.0, 0.5, 1.0], z, rate=rate, mean=0.04, volatility=0.2, reduce="last")
    >>> est = mg.estimate(final, mg.Normal(np.zeros((2, 2)), 1.0), 20_000, params={"rate": 1.0}, wrt="rate")
    >>> bool(abs(est.value - (0.04 + 0.05 * np.exp(-1.0))) < 4 * est.stderr)
    True
    >>> bool(abs(est.grad["rate"] + 0.05 * np.exp(-1.0)) < 4 * est.grad_stderr["rate"])
    True
    """
    steps, x = grid(times, substeps), one_array(x0)
    driving = motion(z, x, steps, construction)
    if driving.shape != (2, *x.shape):
        accepted = f"shape {(steps.steps, 2, *x.shape)}, two for each step and each number of x0"
        raise ParameterError("z", f"shape {(steps.steps, *(driving.shape or ()))}", accepted)

    def advance(now: Now, level: Any) -> tuple[Any, Any, Any]:
        dt, root = steps.of_step(now)
        named = (("rate", rate), ("mean", mean), ("volatility", volatility))
        speed, centre, g = (parameter(name, given, now["t"], x.shape) for name, given in named)
        shape = _half_of_the_rest(speed, centre, g)
        normal, score = (driving.standard(now["noise"], root)[i] for i in range(2))
        scale = 0.25 * g**2 * dt * mean_decay(speed * dt)
        near = (np.sqrt(scale) * normal + np.sqrt(level * np.exp(-speed * dt))) ** 2
        return level, near + 2.0 * scale * (1.0 + shape) * np.exp(gamma_log_ratio(shape, score)), g**2 * level * dt

    return walk(advance, x, steps, {"noise": driving.noise}, reduce, observe)


def _half_of_the_rest(rate: Any, mean: Any, volatility: Any) -> Any:
    """Return (d - 1) / 2, the shape of a gamma variable: NaN where it is not positive."""
    found = 2.0 * rate * mean / volatility**2 - 0.5
    if isinstance(found, Tracer):
        return np.where(found > 0.0, found, np.nan)
    if not np.all(found > 0.0):
        given = f"4 rate mean / volatility**2 = {np.min(2.0 * found + 1.0):.4g}"
        accepted = "4 rate mean > volatility**2, or mg.sde.euler with np.maximum(x, 0.0)"
        raise ParameterError("volatility", given, accepted)
    return found
