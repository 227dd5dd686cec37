"""Distributions: each a transform of noise and a log density, in plain NumPy, with constraints on its parameters."""

from .base import Distribution
from .constraints import Constraint
from .joint import Joint
from .lognormal import LogNormal
from .multivariate_normal import MultivariateNormal
from .normal import Normal
from .reparameterized import Reparameterized
from .uniform import Uniform

__all__ = [
    "Constraint",
    "Distribution",
    "Joint",
    "LogNormal",
    "MultivariateNormal",
    "Normal",
    "Reparameterized",
    "Uniform",
]
