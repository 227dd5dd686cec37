"""Distributions: each a transform of noise and a log density, in plain NumPy, with constraints on its parameters."""

from mcgrad.distributions.base import Distribution
from mcgrad.distributions.bernoulli import Bernoulli
from mcgrad.distributions.beta import Beta, FisherSnedecor
from mcgrad.distributions.binomial import Binomial
from mcgrad.distributions.categorical import Categorical, OneHotCategorical
from mcgrad.distributions.cauchy import Cauchy, HalfCauchy
from mcgrad.distributions.constraints import Constraint
from mcgrad.distributions.dirichlet import Dirichlet
from mcgrad.distributions.exponential import Exponential
from mcgrad.distributions.gamma import Chi2, Gamma, InverseGamma
from mcgrad.distributions.generalized_pareto import GeneralizedPareto
from mcgrad.distributions.geometric import Geometric
from mcgrad.distributions.gumbel import Gumbel
from mcgrad.distributions.half_normal import HalfNormal
from mcgrad.distributions.implicit import Implicit
from mcgrad.distributions.inverse_gaussian import InverseGaussian
from mcgrad.distributions.joint import Joint
from mcgrad.distributions.kumaraswamy import Kumaraswamy
from mcgrad.distributions.laplace import Laplace
from mcgrad.distributions.logistic import Logistic
from mcgrad.distributions.logistic_normal import LogisticNormal, SoftmaxNormal
from mcgrad.distributions.logit_normal import LogitNormal
from mcgrad.distributions.lognormal import LogNormal
from mcgrad.distributions.low_rank_multivariate_normal import LowRankMultivariateNormal
from mcgrad.distributions.matrix_normal import MatrixNormal
from mcgrad.distributions.mixture import MixtureSameFamily
from mcgrad.distributions.multivariate_normal import MultivariateNormal
from mcgrad.distributions.normal import Normal
from mcgrad.distributions.pareto import Pareto
from mcgrad.distributions.poisson import Poisson
from mcgrad.distributions.relaxed import RelaxedBernoulli, RelaxedOneHotCategorical
from mcgrad.distributions.reparameterized import Reparameterized
from mcgrad.distributions.sinh_arcsinh import SinhArcsinh
from mcgrad.distributions.student_t import MultivariateStudentT, StudentT
from mcgrad.distributions.transformed import Transformed
from mcgrad.distributions.triangular import Triangular
from mcgrad.distributions.truncated_normal import TruncatedNormal
from mcgrad.distributions.uniform import Uniform
from mcgrad.distributions.von_mises import VonMises
from mcgrad.distributions.von_mises_fisher import VonMisesFisher
from mcgrad.distributions.weibull import Weibull

__all__ = [
    "Bernoulli",
    "Beta",
    "Binomial",
    "Categorical",
    "Cauchy",
    "Chi2",
    "Constraint",
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
]
