"""Confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mcgrad import tree
from mcgrad.errors import ParameterError, shown


@dataclass(frozen=True)
class ConfidenceInterval:
    """Intervals that cover the true value of each component with probability `level`, one component at a time.

    Parameters
    ----------
    level : float
        The probability.
    value : tuple of float
        Lower and upper end for the expectation.
    grad : nested dict of tuples
        Lower and upper end for each parameter's gradient, each shaped like the parameter.
    """

    level: float
    value: tuple[float, float]
    grad: dict[str, Any]


def intervals(
    level: float, value: float, stderr: float, grad: dict[str, Any], grad_stderr: dict[str, Any]
) -> ConfidenceInterval:
    """Return normal intervals about an expectation and about each component of its gradient.

    Parameters
    ----------
    level : float
        Probability that one interval covers, 0 < level < 1.
    value, grad
        The estimates.
    stderr, grad_stderr
        Their standard errors.
    """
    from statistics import NormalDist  # slow to import

    if isinstance(level, bool) or not isinstance(level, int | float | np.floating) or not 0 < level < 1:
        raise ParameterError("level", shown(level), "a number between 0 and 1, such as 0.95")
    z = NormalDist().inv_cdf(0.5 + 0.5 * float(level))
    center, error = tree.flatten(grad), tree.flatten(grad_stderr)
    return ConfidenceInterval(
        float(level),
        (value - z * stderr, value + z * stderr),
        tree.unflatten({path: (center[path] - z * error[path], center[path] + z * error[path]) for path in center}),
    )
