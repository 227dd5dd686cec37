from mcgrad.distributions import bijections as bijections, supports as supports
from mcgrad.distributions.base import Distribution as Distribution
from mcgrad.distributions.bernoulli import Bernoulli as Bernoulli
from mcgrad.distributions.beta import Beta as Beta, FisherSnedecor as FisherSnedecor
from mcgrad.distributions.binomial import Binomial as Binomial
from mcgrad.distributions.categorical import Categorical as Categorical, OneHotCategorical as OneHotCategorical
from mcgrad.distributions.cauchy import Cauchy as Cauchy, HalfCauchy as HalfCauchy
from mcgrad.distributions.dirichlet import Dirichlet as Dirichlet
from mcgrad.distributions.exponential import Exponential as Exponential
from mcgrad.distributions.gamma import Chi2 as Chi2, Gamma as Gamma, InverseGamma as InverseGamma
from mcgrad.distributions.generalized_pareto import GeneralizedPareto as GeneralizedPareto
from mcgrad.distributions.geometric import Geometric as Geometric
from mcgrad.distributions.gumbel import Gumbel as Gumbel
from mcgrad.distributions.half_normal import HalfNormal as HalfNormal
from mcgrad.distributions.implicit import Implicit as Implicit
from mcgrad.distributions.inverse_gaussian import InverseGaussian as InverseGaussian
from mcgrad.distributions.joint import Joint as Joint
from mcgrad.distributions.kumaraswamy import Kumaraswamy as Kumaraswamy
from mcgrad.distributions.laplace import Laplace as Laplace
from mcgrad.distributions.logistic import Logistic as Logistic
from mcgrad.distributions.logistic_normal import LogisticNormal as LogisticNormal, SoftmaxNormal as SoftmaxNormal
from mcgrad.distributions.logit_normal import LogitNormal as LogitNormal
from mcgrad.distributions.lognormal import LogNormal as LogNormal
from mcgrad.distributions.low_rank_multivariate_normal import LowRankMultivariateNormal as LowRankMultivariateNormal
from mcgrad.distributions.matrix_normal import MatrixNormal as MatrixNormal
from mcgrad.distributions.mixture import MixtureSameFamily as MixtureSameFamily
from mcgrad.distributions.multivariate_normal import MultivariateNormal as MultivariateNormal
from mcgrad.distributions.normal import Normal as Normal
from mcgrad.distributions.pareto import Pareto as Pareto
from mcgrad.distributions.poisson import Poisson as Poisson
from mcgrad.distributions.relaxed import (
    RelaxedBernoulli as RelaxedBernoulli,
    RelaxedOneHotCategorical as RelaxedOneHotCategorical,
)
from mcgrad.distributions.reparameterized import Reparameterized as Reparameterized
from mcgrad.distributions.sinh_arcsinh import SinhArcsinh as SinhArcsinh
from mcgrad.distributions.student_t import MultivariateStudentT as MultivariateStudentT, StudentT as StudentT
from mcgrad.distributions.transformed import Transformed as Transformed
from mcgrad.distributions.triangular import Triangular as Triangular
from mcgrad.distributions.truncated_normal import TruncatedNormal as TruncatedNormal
from mcgrad.distributions.uniform import Uniform as Uniform
from mcgrad.distributions.von_mises import VonMises as VonMises
from mcgrad.distributions.von_mises_fisher import VonMisesFisher as VonMisesFisher
from mcgrad.distributions.weibull import Weibull as Weibull
