"""Divergences KL(q || p) in closed form, by the families of the two."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from mcgrad.distributions import (
    divergence_discrete as discrete,
    divergence_gamma as gammas,
    divergence_normal as normals,
)
from mcgrad.distributions.base import Distribution
from mcgrad.distributions.bernoulli import Bernoulli
from mcgrad.distributions.beta import Beta, FisherSnedecor
from mcgrad.distributions.bijections import Bijection
from mcgrad.distributions.binomial import Binomial
from mcgrad.distributions.categorical import Categorical, OneHotCategorical
from mcgrad.distributions.cauchy import Cauchy, HalfCauchy
from mcgrad.distributions.dirichlet import Dirichlet
from mcgrad.distributions.divergence_moments import ENDS, cross_entropy
from mcgrad.distributions.geometric import Geometric
from mcgrad.distributions.gumbel import Gumbel
from mcgrad.distributions.half_normal import HalfNormal
from mcgrad.distributions.inverse_gaussian import InverseGaussian
from mcgrad.distributions.laplace import Laplace
from mcgrad.distributions.logistic import Logistic
from mcgrad.distributions.logistic_normal import LogisticNormal, SoftmaxNormal
from mcgrad.distributions.logit_normal import LogitNormal
from mcgrad.distributions.lognormal import LogNormal
from mcgrad.distributions.low_rank_multivariate_normal import LowRankMultivariateNormal
from mcgrad.distributions.matrix_normal import MatrixNormal
from mcgrad.distributions.multivariate_normal import MultivariateNormal
from mcgrad.distributions.normal import Normal
from mcgrad.distributions.pareto import Pareto
from mcgrad.distributions.poisson import Poisson
from mcgrad.distributions.relaxed import RelaxedBernoulli
from mcgrad.distributions.sinh_arcsinh import SinhArcsinh
from mcgrad.distributions.student_t import StudentT
from mcgrad.distributions.transformed import Transformed
from mcgrad.distributions.uniform import Uniform
from mcgrad.functions.gamma import exp_excess, log_excess

Params = Mapping[str, Any]
Form = Callable[[Params, Params], Any]

VECTORS = (Normal, MultivariateNormal, LowRankMultivariateNormal)


def closed_form(q: Distribution, p: Distribution) -> Form | None:
    """Return the divergence as plain NumPy of the parameters of q and of p, or None where it has no closed form here.

    Infinite where q is not inside the support of p: by a condition on the parameters, or as a constant.
    """
    first, second = type(q), type(p)
    if isinstance(q, Transformed) and isinstance(p, Transformed):
        return closed_form(q.base, p.base) if _is_same(q.fn, p.fn) else None  # one invertible map changes nothing
    if isinstance(q, Binomial) and isinstance(p, Binomial):
        return partial(discrete.binomial, q.total_count) if q.total_count == p.total_count else None
    if (first, second) in FORMS:
        return FORMS[first, second]
    if first in gammas.POWERS and second in gammas.POWERS:
        return gammas.powers(first, second)
    if first in VECTORS and second in VECTORS:
        return normals.any_covariance(first, second)
    if first in RANGES and second in RANGES:
        return _across(q, p)
    return None


def _across(q: Distribution, p: Distribution) -> Form | None:
    """Return the divergence by the entropy of q and the cross entropy, infinite where q leaves the range of p."""
    first, second, entropy = type(q), type(p), q.entropy
    cross = cross_entropy(first, second)
    if first not in ENDS and not np.all(_inside(RANGES[first](q.params), RANGES[second](p.params))):
        return lambda ours, theirs: np.sum(np.full(q.event_shape, np.inf))
    if cross is None or entropy is None:
        return None

    def form(ours: Params, theirs: Params) -> Any:
        inside = _inside(RANGES[first](ours), RANGES[second](theirs))
        return np.sum(np.where(inside, cross(ours, theirs), np.inf)) - entropy(**ours)

    return form


def _inside(ours: tuple[Any, Any], theirs: tuple[Any, Any]) -> Any:
    return (ours[0] >= theirs[0]) & (ours[1] <= theirs[1])


def _is_same(first: Any, second: Any) -> bool:
    """Whether two maps are known to be the same: one bijection, or two of one class that hold nothing."""
    if not isinstance(first, Bijection) or type(first) is not type(second):
        return False
    return first is second or not (vars(first) or vars(second))


def _uniform(q: Params, p: Params) -> Any:
    inside = _inside((q["low"], q["high"]), (p["low"], p["high"]))
    ratio = (p["high"] - p["low"]) / (q["high"] - q["low"])
    return np.sum(np.where(inside, np.log(ratio), np.inf))


def _laplace(q: Params, p: Params) -> Any:
    ours, theirs = q["scale"], p["scale"]
    ratio, apart = ours / theirs, np.abs(q["loc"] - p["loc"]) / ours
    return np.sum(log_excess(ratio, (ours - theirs) / theirs) + ratio * exp_excess(-apart))


def _cauchy(q: Params, p: Params) -> Any:
    """Chyzak and Nielsen 2019, *A closed-form formula for the KL divergence between Cauchy distributions*."""
    apart = np.square(q["scale"] - p["scale"]) + np.square(q["loc"] - p["loc"])
    return np.sum(np.log1p(apart / (4.0 * q["scale"]) / p["scale"]))


def _half_cauchy(q: Params, p: Params) -> Any:
    return np.sum(np.log1p(np.square(q["scale"] - p["scale"]) / (4.0 * q["scale"]) / p["scale"]))


def _pareto(q: Params, p: Params) -> Any:
    inside = q["scale"] >= p["scale"]
    ours, theirs = q["alpha"], p["alpha"]
    heights = log_excess(theirs / ours, (theirs - ours) / ours)
    starts = theirs * np.log(np.where(inside, q["scale"] / p["scale"], 1.0))
    return np.sum(np.where(inside, heights + starts, np.inf))


def _inverse_gaussian(q: Params, p: Params) -> Any:
    ours, theirs = q["concentration"], p["concentration"]
    spread = 0.5 * log_excess(theirs / ours, (theirs - ours) / ours)
    return np.sum(spread + 0.5 * theirs * np.square((q["loc"] - p["loc"]) / p["loc"]) / q["loc"])


FORMS: dict[tuple[type[Distribution], type[Distribution]], Form] = {
    (Normal, Normal): normals.normal,
    (LogNormal, LogNormal): normals.normal,
    (LogitNormal, LogitNormal): normals.normal,
    (LogisticNormal, LogisticNormal): normals.normal,
    (SoftmaxNormal, SoftmaxNormal): normals.normal,
    (HalfNormal, HalfNormal): normals.half_normal,
    (MatrixNormal, MatrixNormal): normals.matrix_normal,
    (Beta, Beta): gammas.beta,
    (Dirichlet, Dirichlet): lambda q, p: gammas.dirichlet(q["concentration"], p["concentration"]),
    (Gumbel, Gumbel): lambda q, p: gammas.gumbel(q["loc"], q["scale"], p["loc"], p["scale"]),
    (InverseGaussian, InverseGaussian): _inverse_gaussian,
    (Uniform, Uniform): _uniform,
    (Laplace, Laplace): _laplace,
    (Cauchy, Cauchy): _cauchy,
    (HalfCauchy, HalfCauchy): _half_cauchy,
    (Pareto, Pareto): _pareto,
    (Poisson, Poisson): discrete.poisson,
    (Bernoulli, Bernoulli): discrete.bernoulli,
    (Geometric, Geometric): discrete.geometric,
    (Categorical, Categorical): discrete.categorical,
    (OneHotCategorical, OneHotCategorical): discrete.categorical,
}
RANGES: dict[type[Distribution], Callable[[Params], tuple[Any, Any]]] = {  # of densities on the line
    **dict.fromkeys((Normal, Laplace, Logistic, Gumbel, Cauchy, StudentT, SinhArcsinh), lambda x: (-np.inf, np.inf)),
    **dict.fromkeys((*gammas.POWERS, LogNormal, HalfCauchy, FisherSnedecor, InverseGaussian), lambda x: (0.0, np.inf)),
    **dict.fromkeys((LogitNormal, RelaxedBernoulli), lambda x: (0.0, 1.0)),
    Pareto: lambda x: (x["scale"], np.inf),
    **ENDS,
}
