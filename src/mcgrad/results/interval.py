"""Confidence intervals of means whose standard errors are estimated, too: by quantiles of Student's t."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from mcgrad import tree
from mcgrad.errors import ParameterError, shown
from mcgrad.moments import Float64Array

Ends: TypeAlias = tuple[Any, Any]  # lower and upper


@dataclass(frozen=True)
class ConfidenceInterval:
    """Intervals that cover the true value of each component with probability `level`, one component at a time.

    Parameters
    ----------
    level : float
        The probability.
    value : tuple of float, or of arrays, or nested dict of such tuples
        Lower and upper end for the expectation, in its shape.
    grad : nested dict of tuples
        Lower and upper end for each parameter's gradient, each shaped like the parameter.
    second : nested dict of tuples
        Those of second derivatives, as `Estimate.hessian` or `Estimate.hvp` nests; empty where there are none.
    """

    level: float
    value: Any
    grad: dict[str, Any]
    second: dict[str, Any] = field(default_factory=dict)


def interval(
    level: float, value: Mapping[str, Ends], grad: Mapping[str, Ends], second: Mapping[str, Ends] = MappingProxyType({})
) -> ConfidenceInterval:
    """Return the intervals whose ends are given by dotted path."""
    return ConfidenceInterval(float(level), tree.unflatten(value), tree.unflatten(grad), tree.unflatten(second))


def ends(
    level: float,
    degrees: ArrayLike | Mapping[str, ArrayLike],
    means: Mapping[str, Any],
    errors: Mapping[str, Any],
    looks: int = 1,
) -> dict[str, Ends]:
    """Return the lower and the upper ends of intervals about numbers, by dotted path.

    Parameters
    ----------
    level : float
        Probability that one interval covers, 0 < level < 1.
    degrees : array_like, or mapping from str to array_like
        Degrees of freedom of the standard errors: one number, or an array whose shape is that of the first axes of
        each of the arrays; or such by dotted path.
    means, errors : mapping from str to float or array
        Estimates, and their standard errors.
    looks : int
        Among how many looks at the error of a run the probability of a miss is divided.

    References
    ----------
    Student, The probable error of a mean, Biometrika 6, 1908.
    """
    if isinstance(level, bool) or not isinstance(level, int | float | np.floating) or not 0 < level < 1:
        raise ParameterError("level", shown(level), "a number between 0 and 1, such as 0.95")
    found = {}
    for path, error in errors.items():
        t = quantile(float(level), degrees[path] if isinstance(degrees, Mapping) else degrees, looks)
        width = (t.reshape(t.shape + (1,) * (error.ndim - t.ndim)) if t.ndim else float(t)) * error
        found[path] = means[path] - width, means[path] + width
    return found


def quantile(level: float, degrees: ArrayLike, looks: int = 1) -> Float64Array:
    """Return how many standard errors an interval reaches to either side: NaN below one degree of freedom."""
    from scipy.special import stdtrit  # slow to import

    known, where = np.unique(np.asarray(degrees, np.float64), return_inverse=True)
    with np.errstate(invalid="ignore"):
        found = -stdtrit(np.where(known >= 1, known, np.nan), (0.5 - 0.5 * level) / looks)
    return np.asarray(found[where].reshape(np.shape(degrees)))


def relative_error(degrees: int) -> float:
    """Return the standard deviation of a standard error of normal draws, relative to its mean."""
    mean = math.sqrt(2 / degrees) * math.exp(math.lgamma(0.5 * degrees + 0.5) - math.lgamma(0.5 * degrees))
    return math.sqrt(1 - mean**2) / mean
