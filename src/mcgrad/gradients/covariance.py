"""Outputs for the covariance of a value with several numbers: products of deviations from a fixed point near the mean.

The point is the mean over a pilot, so that products lose no digits to a mean that is far from zero. It is the same for
all ranges of draws, so that estimates merge, and drops out of the covariance (`results.covariance`).
"""

from __future__ import annotations

import numpy as np

from mcgrad.gradients.method import Mean
from mcgrad.gradients.problem import Problem
from mcgrad.ir.build import apply, concatenate, reshape, take
from mcgrad.ir.program import Var
from mcgrad.ir.spaces import Input, Space

COVARIANCE = "covariance"
ORIGIN = Input(Space.ORIGIN, "")


def products(problem: Problem, value: Var) -> Var:
    """Make the deviations of a value's numbers, and the products of two, those with i <= j row by row: one vector."""
    return products_of(reshape(apply("subtract", value, problem.computed(ORIGIN, value.shape)), (value.size,)))


def products_of(deviations: Var) -> Var:
    """Make a vector of deviations, and of the products of two of them, those with i <= j row by row."""
    first, second = np.triu_indices(deviations.size)
    return concatenate([deviations, apply("multiply", take(deviations, first), take(deviations, second))], 0)


def origin(problem: Problem) -> Mean:
    """Make the mean of the value."""
    return Mean(ORIGIN, problem.result)
