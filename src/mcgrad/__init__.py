"""Monte Carlo gradients of expectations, with standard errors, from plain NumPy functions.

Every public name is imported when it is first used, so that `import mcgrad` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcgrad import noise
    from mcgrad.backends.registry import register_backend
    from mcgrad.distributions import (
        Bernoulli,
        Beta,
        Binomial,
        Categorical,
        Cauchy,
        Chi2,
        Dirichlet,
        Distribution,
        Exponential,
        FisherSnedecor,
        Gamma,
        GeneralizedPareto,
        Geometric,
        Gumbel,
        HalfCauchy,
        HalfNormal,
        Implicit,
        InverseGamma,
        InverseGaussian,
        Joint,
        Kumaraswamy,
        Laplace,
        Logistic,
        LogisticNormal,
        LogitNormal,
        LogNormal,
        LowRankMultivariateNormal,
        MatrixNormal,
        MixtureSameFamily,
        MultivariateNormal,
        MultivariateStudentT,
        Normal,
        OneHotCategorical,
        Pareto,
        Poisson,
        RelaxedBernoulli,
        RelaxedOneHotCategorical,
        Reparameterized,
        SinhArcsinh,
        SoftmaxNormal,
        StudentT,
        Transformed,
        Triangular,
        TruncatedNormal,
        Uniform,
        VonMises,
        VonMisesFisher,
        Weibull,
        bijections,
        supports,
    )
    from mcgrad.engine.api import estimate
    from mcgrad.engine.estimator import Estimator
    from mcgrad.errors import (
        BackendError,
        BackendWarning,
        CacheWarning,
        JumpWarning,
        McgradError,
        MergeError,
        NonFiniteError,
        ParameterError,
        RareDrawsWarning,
        TraceError,
    )
    from mcgrad.inputs.integrand import Integrand
    from mcgrad.inputs.objectives import elbo, iwae, kl
    from mcgrad.results.estimate import Estimate
    from mcgrad.results.interval import ConfidenceInterval
    from mcgrad.validate.comparison import Comparison, compare
    from mcgrad.validate.verification import Verification, verify

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "BackendWarning",
    "Bernoulli",
    "Beta",
    "Binomial",
    "CacheWarning",
    "Categorical",
    "Cauchy",
    "Chi2",
    "Comparison",
    "ConfidenceInterval",
    "Dirichlet",
    "Distribution",
    "Estimate",
    "Estimator",
    "Exponential",
    "FisherSnedecor",
    "Gamma",
    "GeneralizedPareto",
    "Geometric",
    "Gumbel",
    "HalfCauchy",
    "HalfNormal",
    "Implicit",
    "Integrand",
    "InverseGamma",
    "InverseGaussian",
    "Joint",
    "JumpWarning",
    "Kumaraswamy",
    "Laplace",
    "LogNormal",
    "Logistic",
    "LogisticNormal",
    "LogitNormal",
    "LowRankMultivariateNormal",
    "MatrixNormal",
    "McgradError",
    "MergeError",
    "MixtureSameFamily",
    "MultivariateNormal",
    "MultivariateStudentT",
    "NonFiniteError",
    "Normal",
    "OneHotCategorical",
    "ParameterError",
    "Pareto",
    "Poisson",
    "RareDrawsWarning",
    "RelaxedBernoulli",
    "RelaxedOneHotCategorical",
    "Reparameterized",
    "SinhArcsinh",
    "SoftmaxNormal",
    "StudentT",
    "TraceError",
    "Transformed",
    "Triangular",
    "TruncatedNormal",
    "Uniform",
    "Verification",
    "VonMises",
    "VonMisesFisher",
    "Weibull",
    "bijections",
    "compare",
    "elbo",
    "estimate",
    "iwae",
    "kl",
    "noise",
    "register_backend",
    "supports",
    "verify",
]

_HOMES = {
    "engine.api": ["estimate"],
    "distributions": [
        "Bernoulli",
        "Beta",
        "Binomial",
        "Categorical",
        "Cauchy",
        "Chi2",
        "Dirichlet",
        "Distribution",
        "Exponential",
        "FisherSnedecor",
        "Gamma",
        "GeneralizedPareto",
        "Geometric",
        "Gumbel",
        "HalfCauchy",
        "HalfNormal",
        "Implicit",
        "InverseGamma",
        "InverseGaussian",
        "Joint",
        "Kumaraswamy",
        "Laplace",
        "LogNormal",
        "Logistic",
        "LogisticNormal",
        "LogitNormal",
        "LowRankMultivariateNormal",
        "MatrixNormal",
        "MixtureSameFamily",
        "MultivariateNormal",
        "MultivariateStudentT",
        "Normal",
        "OneHotCategorical",
        "Pareto",
        "Poisson",
        "RelaxedBernoulli",
        "RelaxedOneHotCategorical",
        "Reparameterized",
        "SinhArcsinh",
        "SoftmaxNormal",
        "StudentT",
        "Transformed",
        "Triangular",
        "TruncatedNormal",
        "Uniform",
        "VonMises",
        "VonMisesFisher",
        "Weibull",
    ],
    "backends.registry": ["register_backend"],
    "errors": [
        *("BackendError", "BackendWarning", "CacheWarning", "JumpWarning", "McgradError", "MergeError"),
        *("NonFiniteError", "ParameterError", "RareDrawsWarning", "TraceError"),
    ],
    "engine.estimator": ["Estimator"],
    "validate.comparison": ["Comparison", "compare"],
    "inputs.integrand": ["Integrand"],
    "inputs.objectives": ["elbo", "iwae", "kl"],
    "results.interval": ["ConfidenceInterval"],
    "results.estimate": ["Estimate"],
    "validate.verification": ["Verification", "verify"],
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in ("bijections", "supports"):
        return import_module(f"mcgrad.distributions.{name}")
    if name == "noise":
        return import_module("mcgrad.noise")
    if name not in _HOME:
        raise AttributeError(f"module 'mcgrad' has no attribute {name!r}")
    value = getattr(import_module(f"mcgrad.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
