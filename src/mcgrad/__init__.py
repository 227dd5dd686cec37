"""Monte Carlo gradients of expectations, with standard errors, from plain NumPy functions.

Every public name is imported when it is first used, so that `import mcgrad` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcgrad import bijections, noise, supports
    from mcgrad.api import estimate
    from mcgrad.backends.registry import register_backend
    from mcgrad.comparison import Comparison, compare
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
    )
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
    from mcgrad.estimator import Estimator
    from mcgrad.integrand import Integrand
    from mcgrad.interval import ConfidenceInterval
    from mcgrad.objectives import elbo, iwae, kl
    from mcgrad.result import Estimate
    from mcgrad.verification import Verification, verify

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
    "api": ["estimate"],
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
    "estimator": ["Estimator"],
    "comparison": ["Comparison", "compare"],
    "integrand": ["Integrand"],
    "objectives": ["elbo", "iwae", "kl"],
    "interval": ["ConfidenceInterval"],
    "result": ["Estimate"],
    "verification": ["Verification", "verify"],
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in ("bijections", "noise", "supports"):
        return import_module(f"mcgrad.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'mcgrad' has no attribute {name!r}")
    value = getattr(import_module(f"mcgrad.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
