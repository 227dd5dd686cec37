"""Confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping
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
    level: float, value: float, stderr: float, grad: Mapping[str, Any], grad_stderr: Mapping[str, Any]
) -> ConfidenceInterval:
    """Return normal intervals about an expectation and about each component of its gradient.

    Parameters
    ----------
    level : float
        Probability that one interval covers, 0 < level < 1.
    value, grad
        The estimates, those of the gradient by dotted path.
    stderr, grad_stderr
        Their standard errors.
    """
    from statistics import NormalDist  # slow to import

    if isinstance(level, bool) or not isinstance(level, int | float | np.floating) or not 0 < level < 1:
        raise ParameterError("level", shown(level), "a number between 0 and 1, such as 0.95")
    z = NormalDist().inv_cdf(0.5 + 0.5 * float(level))
    widths = {path: z * error for path, error in grad_stderr.items()}
    return ConfidenceInterval(
        float(level),
        (value - z * stderr, value + z * stderr),
        tree.unflatten({path: (x - widths[path], x + widths[path]) for path, x in grad.items()}),
    )
