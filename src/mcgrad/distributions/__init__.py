"""Distributions: each a transform of noise and a log density, in plain NumPy, with constraints on its parameters."""

from mcgrad.distributions.base import Distribution
from mcgrad.distributions.constraints import Constraint
from mcgrad.distributions.implicit import Implicit
from mcgrad.distributions.joint import Joint
from mcgrad.distributions.lognormal import LogNormal
from mcgrad.distributions.multivariate_normal import MultivariateNormal
from mcgrad.distributions.normal import Normal
from mcgrad.distributions.reparameterized import Reparameterized
from mcgrad.distributions.uniform import Uniform

__all__ = [
    "Constraint",
    "Distribution",
    "Implicit",
    "Joint",
    "LogNormal",
    "MultivariateNormal",
    "Normal",
    "Reparameterized",
    "Uniform",
]
