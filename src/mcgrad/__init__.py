"""Monte Carlo gradients of expectations, with standard errors, from plain NumPy functions."""

from mcgrad import noise
from mcgrad.api import estimate
from mcgrad.distributions import (
    Distribution,
    Joint,
    LogNormal,
    MultivariateNormal,
    Normal,
    Reparameterized,
    Uniform,
)
from mcgrad.errors import BackendError, McgradError, MergeError, NonFiniteError, ParameterError, TraceError
from mcgrad.estimate import ConfidenceInterval, Estimate
from mcgrad.estimator import Estimator
from mcgrad.integrand import Integrand
from mcgrad.verification import Verification, verify

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "ConfidenceInterval",
    "Distribution",
    "Estimate",
    "Estimator",
    "Integrand",
    "Joint",
    "LogNormal",
    "McgradError",
    "MergeError",
    "MultivariateNormal",
    "NonFiniteError",
    "Normal",
    "ParameterError",
    "Reparameterized",
    "TraceError",
    "Uniform",
    "Verification",
    "estimate",
    "noise",
    "verify",
]
