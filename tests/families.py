"""Families of distributions: parameters, and moments whose gradients are known because they are plain functions.

A row is added for a family as one call of `family`: what the tests of families do with it follows from the row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special as sc
import scipy.stats as st

import mcgrad as mg


@dataclass(frozen=True)
class Family:
    """E f(z), z ~ q, is `moment` of q's parameters, whose gradient follows by differences.

    Parameters
    ----------
    name : str
    q : mg.Distribution
    f : callable
        Of one draw; of finite variance.
    moment : callable
        ``moment(**params)``, smooth, in float64.
    scipy : callable or None
        ``scipy(**params)``: a frozen distribution of SciPy, or of any object with logpdf or logpmf.
    pathwise : bool
        Whether parameters can be differentiated in by the pathwise estimator.
    """

    name: str
    q: mg.Distribution
    f: Callable[..., Any]
    moment: Callable[..., Any]
    scipy: Callable[..., Any] | None = None
    pathwise: bool = True


FAMILIES: dict[str, Family] = {}


def family(
    name: str,
    q: mg.Distribution,
    f: Callable[..., Any],
    moment: Callable[..., Any],
    scipy: Callable[..., Any] | None = None,
    pathwise: bool = True,
) -> None:
    """List a family."""
    FAMILIES[name] = Family(name, q, f, moment, scipy, pathwise)


def total(z: Any) -> Any:
    """Sum all components and their squares: two moments at once."""
    return np.sum(z) + np.sum(np.square(z))


def normal_mean(f: Callable[[Any], Any]) -> Any:
    """E f(x), x standard normal, by Gauss and Hermite; f takes the nodes along a new last axis."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    return np.sum(f(nodes) * weights, axis=-1) / math.sqrt(2 * math.pi)


def uniform_mean(f: Callable[[Any], Any]) -> Any:
    """E f(u), u uniform on (0, 1), by tanh-sinh quadrature; f takes u and 1 - u along a new last axis."""
    t = np.arange(-4.0, 4.0, 1 / 64)
    x = 0.5 * math.pi * np.sinh(t)
    u, weights = sc.expit(2 * x), (math.pi / 64) * np.cosh(t) * sc.expit(2 * x) * sc.expit(-2 * x)
    return np.sum(f(u, sc.expit(-2 * x)) * weights, axis=-1)


LOC, SCALE = np.array([0.3, -0.5]), np.array([0.6, 1.1])
EULER = 0.5772156649015329
TRIL = np.array([[0.7, 0.0, 0.0], [-0.4, 1.3, 0.0], [0.2, 0.9, 0.5]])
COLUMN = np.array([[0.8, 0.0], [0.3, 0.6]])
FACTOR = np.array([[0.5, -0.2], [0.1, 0.7], [-0.6, 0.3]])


def _locscale(mean: float, variance: float) -> Callable[..., Any]:
    """E sum(z + z**2) of loc + scale * x, x of a mean and a variance."""
    return lambda loc, scale: np.sum(
        np.broadcast_to(
            loc + scale * mean + (loc + scale * mean) ** 2 + scale**2 * variance,
            np.broadcast_shapes(np.shape(loc), np.shape(scale)),
        )
    )


family(
    "Exponential",
    mg.Exponential(SCALE),
    total,
    lambda rate: np.sum(1 / rate + 2 / rate**2),
    lambda rate: st.expon(scale=1 / rate),
)
family("Laplace", mg.Laplace(LOC, 0.7), total, _locscale(0.0, 2.0), st.laplace)
family("Logistic", mg.Logistic(LOC, SCALE), total, _locscale(0.0, math.pi**2 / 3), st.logistic)
family("Gumbel", mg.Gumbel(LOC, SCALE), total, _locscale(EULER, math.pi**2 / 6), st.gumbel_r)
family(
    "Cauchy",
    mg.Cauchy(LOC, SCALE),
    lambda z: np.sum(np.cos(z)),
    lambda loc, scale: np.sum(np.exp(-scale) * np.cos(loc)),
    st.cauchy,
)
family(
    "HalfNormal",
    mg.HalfNormal(SCALE),
    total,
    lambda scale: np.sum(scale * math.sqrt(2 / math.pi) + scale**2),
    lambda scale: st.halfnorm(scale=scale),
)
family(
    "HalfCauchy",
    mg.HalfCauchy(SCALE),
    lambda z: np.sum(np.cos(z)),
    lambda scale: np.sum(np.exp(-scale)),
    lambda scale: st.halfcauchy(scale=scale),
)
family(
    "Weibull",
    mg.Weibull(SCALE, [1.4, 2.5]),
    total,
    lambda scale, concentration: np.sum(
        scale * sc.gamma(1 + 1 / concentration) + scale**2 * sc.gamma(1 + 2 / concentration)
    ),
    lambda scale, concentration: st.weibull_min(concentration, scale=scale),
)
family(
    "Pareto",
    mg.Pareto(SCALE, [5.0, 9.0]),
    lambda z: np.sum(z),
    lambda scale, alpha: np.sum(scale * alpha / (alpha - 1)),
    lambda scale, alpha: st.pareto(alpha, scale=scale),
)
family(
    "GeneralizedPareto",
    mg.GeneralizedPareto([0.3, -0.5, 0.2], [0.6, 1.1, 0.9], [0.15, -0.4, 0.0]),
    lambda z: np.sum(z),
    lambda loc, scale, concentration: np.sum(loc + scale / (1 - concentration)),
    lambda loc, scale, concentration: st.genpareto(concentration, loc, scale),
)
family(
    "InverseGaussian",
    mg.InverseGaussian([0.8, 1.5], [2.0, 3.0]),
    total,
    lambda loc, concentration: np.sum(loc + loc**2 + loc**3 / concentration),
    lambda loc, concentration: st.invgauss(loc / concentration, scale=concentration),
)
family(
    "Kumaraswamy",
    mg.Kumaraswamy([0.8, 2.0], [1.5, 0.7]),
    total,
    lambda concentration1, concentration0: sum(
        np.sum(concentration0 * sc.beta(1 + k / concentration1, concentration0)) for k in (1, 2)
    ),
)
family(
    "LogitNormal",
    mg.LogitNormal(LOC, SCALE),
    total,
    lambda loc, scale: np.sum(
        normal_mean(lambda x: (lambda y: y + y * y)(sc.expit(loc[:, None] + scale[:, None] * x)))
    ),
)
family(
    "SinhArcsinh",
    mg.SinhArcsinh(LOC, SCALE, [0.3, -0.2], [0.8, 1.2]),
    np.sum,
    lambda loc, scale, skewness, tailweight: np.sum(
        loc
        + 2
        * scale
        / np.sinh(tailweight * math.asinh(2))
        * normal_mean(lambda x: np.sinh((np.arcsinh(x) + skewness[:, None]) * tailweight[:, None]))
    ),
)
family(
    "Triangular",
    mg.Triangular([-1.0, 0.0], [2.0, 1.5], [0.5, 1.2]),
    total,
    lambda low, high, peak: np.sum(
        (low + high + peak) / 3
        + ((low + high + peak) / 3) ** 2
        + (low**2 + high**2 + peak**2 - low * high - low * peak - high * peak) / 18
    ),
    lambda low, high, peak: st.triang((peak - low) / (high - low), low, high - low),
)


def _truncated(loc: Any, scale: Any, low: Any = -np.inf, high: Any = np.inf) -> Any:
    a, b = (low - loc) / scale, (high - loc) / scale
    flip = a > 0
    a, b = np.where(flip, -b, a), np.where(flip, -a, b)
    area = sc.ndtr(b) - sc.ndtr(a)
    density = [np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi) for x in (a, b)]
    first = (density[0] - density[1]) / area
    second = (
        1
        + sum(
            sign * np.where(np.isinf(x), 0.0, np.nan_to_num(x) * d)
            for sign, x, d in ((1, a, density[0]), (-1, b, density[1]))
        )
        / area
    )
    first = np.where(flip, -first, first)
    return np.sum(loc + scale * first + loc**2 + 2 * loc * scale * first + scale**2 * second)


def _truncnorm(loc: Any, scale: Any, low: Any = -np.inf, high: Any = np.inf) -> Any:
    return st.truncnorm((low - loc) / scale, (high - loc) / scale, loc, scale)


family(
    "TruncatedNormal",
    mg.TruncatedNormal([0.3, -0.5, 0.0, 0.0], [0.6, 1.1, 1.0, 0.5], [-0.2, -3.0, 1.5, -9.0], [1.0, 0.5, 2.0, -3.0]),
    total,
    _truncated,
    _truncnorm,
)
family(
    "TruncatedNormal, below",
    mg.TruncatedNormal([0.3, 0.0, 0.0], [0.6, 1.1, 1.0], low=[-0.2, -30.0, 8.0]),
    total,
    _truncated,
    _truncnorm,
)
family(
    "TruncatedNormal, above",
    mg.TruncatedNormal([0.3, 0.0], [0.6, 1.1], high=[0.4, -5.0]),
    total,
    _truncated,
    _truncnorm,
)
family(
    "LowRankMultivariateNormal",
    mg.LowRankMultivariateNormal([0.3, -0.5, 0.2], FACTOR, [0.5, 0.9, 1.2]),
    lambda z: np.sum(z) + np.square(z[0] + 2 * z[1] - z[2]),
    lambda loc, cov_factor, cov_diag: (
        np.sum(loc) + (W3 @ loc) ** 2 + W3 @ (cov_factor @ cov_factor.T + np.diag(cov_diag)) @ W3
    ),
    lambda loc, cov_factor, cov_diag: st.multivariate_normal(loc, cov_factor @ cov_factor.T + np.diag(cov_diag)),
)
W3 = np.array([1.0, 2.0, -1.0])
family(
    "MatrixNormal",
    mg.MatrixNormal(np.linspace(-1, 1, 6).reshape(3, 2), TRIL, COLUMN),
    lambda z: np.square(np.sum(z[0]) - z[2, 1]),
    lambda loc, scale_row, scale_column: (np.sum(M32 * loc)) ** 2 + np.sum(np.square(scale_row.T @ M32 @ scale_column)),
    lambda loc, scale_row, scale_column: st.matrix_normal(loc, scale_row @ scale_row.T, scale_column @ scale_column.T),
)
M32 = np.array([[1.0, 1.0], [0.0, 0.0], [0.0, -1.0]])


def _softmax_normal(loc: Any, scale: Any) -> Any:
    """Of two components: the first is a logit-normal."""
    return normal_mean(lambda x: sc.expit(loc + scale * x) ** 2)


family("LogisticNormal", mg.LogisticNormal([0.4], [0.9]), lambda z: z[0] * z[0], _softmax_normal)
family(
    "LogisticNormal of 3",
    mg.LogisticNormal([0.4, -0.3], [0.9, 0.5]),
    lambda z: z[2],
    lambda loc, scale: np.prod(
        normal_mean(lambda x: sc.expit(-(loc - np.log([2.0, 1.0]))[:, None] - scale[:, None] * x))
    ),
)
family("SoftmaxNormal", mg.SoftmaxNormal([0.4], [0.9]), lambda z: z[0] * z[0], _softmax_normal)


def _bessel_ratio(order: float, x: Any) -> Any:
    return sc.ive(order + 1, x) / sc.ive(order, x)


family(
    "VonMises",
    mg.VonMises([0.3, -2.0, 1.0], [0.4, 3.0, 50.0]),
    lambda z: np.sum(np.cos(z)),
    lambda loc, concentration: np.sum(np.cos(loc) * _bessel_ratio(0, concentration)),
    lambda loc, concentration: st.vonmises(concentration, loc=loc),
)
family(
    "VonMises, by moments of a quotient",
    mg.VonMises(0.3, 1.5),
    lambda z: np.exp(np.sin(z)),
    lambda loc, concentration: (
        sc.i0(np.hypot(concentration * np.cos(loc), concentration * np.sin(loc) + 1)) / sc.i0(concentration)
    ),
)
family(
    "VonMisesFisher",
    mg.VonMisesFisher([1.0, -2.0, 0.5], 4.0),
    lambda z: z[0] - 0.5 * z[1] + 2.0 * z[2],
    lambda mean_direction, concentration: (
        _bessel_ratio(0.5, concentration) * mean_direction @ [1.0, -0.5, 2.0] / np.sqrt(mean_direction @ mean_direction)
    ),
    lambda mean_direction, concentration: st.vonmises_fisher(
        mean_direction / np.sqrt(mean_direction @ mean_direction), float(concentration)
    ),
)


def _relaxed(temperature: Any, logits: Any) -> Any:
    def square(u: Any, v: Any) -> Any:
        return sc.expit((np.expand_dims(logits, -1) + np.log(u) - np.log(v)) / np.expand_dims(temperature, -1)) ** 2

    return np.sum(uniform_mean(square))


family(
    "RelaxedBernoulli",
    mg.RelaxedBernoulli([0.5, 1.2], probs=[0.3, 0.8]),
    lambda z: np.sum(z * z),
    lambda temperature, probs: _relaxed(temperature, sc.logit(probs)),
)
family("RelaxedBernoulli of logits", mg.RelaxedBernoulli(0.3, logits=[-0.5, 1.0]), lambda z: np.sum(z * z), _relaxed)
family(
    "RelaxedOneHotCategorical",
    mg.RelaxedOneHotCategorical(0.7, probs=[0.3, 0.8]),
    lambda z: z[0] * z[0],
    lambda temperature, probs: _relaxed(temperature, np.log(probs[0] / probs[1])),
)
family(
    "RelaxedOneHotCategorical of logits",
    mg.RelaxedOneHotCategorical(0.4, logits=[[0.2, -0.3], [0.0, 1.0]]),
    lambda z: np.sum(np.square(z[:, 0])),
    lambda temperature, logits: _relaxed(temperature * np.ones(2), logits[:, 0] - logits[:, 1]),
)
family(
    "Transformed",
    mg.Normal(LOC, SCALE).transformed(mg.bijections.Exp()),
    np.sum,
    lambda loc, scale: np.sum(np.exp(loc + 0.5 * scale**2)),
    lambda loc, scale: st.lognorm(scale, scale=np.exp(loc)),
)
family(
    "Transformed by parameters",
    mg.Normal(LOC, SCALE).transformed(
        lambda x, *, a: np.sinh(a * x),
        params={"a": 0.7},
        inverse=lambda y, *, a: np.arcsinh(y) / a,
        log_det=lambda x, *, a: np.sum(np.log(a * np.cosh(a * x))),
    ),
    np.sum,
    lambda loc, scale, a: np.sum(np.exp(0.5 * (a * scale) ** 2) * np.sinh(a * loc)),
)

# --- discrete: the gradient is the business of other estimators ------------------------------------------------------
family(
    "Bernoulli",
    mg.Bernoulli([0.3, 0.8]),
    total,
    lambda probs: np.sum(2 * probs),
    lambda probs: st.bernoulli(probs),
    pathwise=False,
)
family(
    "Bernoulli of logits",
    mg.Bernoulli(logits=[-0.5, 1.0]),
    total,
    lambda logits: np.sum(2 * sc.expit(logits)),
    lambda logits: st.bernoulli(sc.expit(logits)),
    pathwise=False,
)
family(
    "Geometric",
    mg.Geometric([0.3, 0.8]),
    total,
    lambda probs: np.sum((1 - probs) / probs + (1 - probs) * (2 - probs) / probs**2),
    lambda probs: st.geom(probs, loc=-1),
    pathwise=False,
)
family(
    "Geometric of logits",
    mg.Geometric(logits=[0.5, -1.0]),
    np.sum,
    lambda logits: np.sum(np.exp(-logits)),
    lambda logits: st.geom(sc.expit(logits), loc=-1),
    pathwise=False,
)
family(
    "Categorical",
    mg.Categorical([[1.0, 2.0, 3.0], [0.2, 0.2, 0.6]]),
    total,
    lambda probs: np.sum(probs @ [0.0, 2.0, 6.0] / probs.sum(-1)),
    pathwise=False,
)
family(
    "OneHotCategorical",
    mg.OneHotCategorical(logits=[0.1, 0.5, -0.3]),
    lambda z: z[0] + 2 * z[1] - 3 * z[2],
    lambda logits: sc.softmax(logits) @ [1.0, 2.0, -3.0],
    lambda logits: st.multinomial(1, sc.softmax(logits)),
    pathwise=False,
)
family(
    "Binomial",
    mg.Binomial(40, probs=[0.1, 0.6]),
    total,
    lambda probs: np.sum(40 * probs + (40 * probs) ** 2 + 40 * probs * (1 - probs)),
    lambda probs: st.binom(40, probs),
    pathwise=False,
)
family(
    "Poisson",
    mg.Poisson([0.4, 30.0]),
    total,
    lambda rate: np.sum(2 * rate + rate**2),
    lambda rate: st.poisson(rate),
    pathwise=False,
)


def moment(row: Family) -> float:
    """Return the exact moment."""
    return float(row.moment(**{path: np.asarray(x, np.float64) for path, x in row.q.params.items()}))


def gradient(row: Family) -> dict[str, Any]:
    """Return the exact gradient of the moment, by differences of fourth order; 0 where entries are not free."""
    params = {path: np.array(x, np.float64) for path, x in row.q.params.items()}
    found = {}
    for path, x in params.items():
        grad = np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            h = 1e-3 * max(1.0, abs(x[index]))
            near = []
            for k in (-2, -1, 1, 2):
                moved = x.copy()
                moved[index] += k * h
                near.append(float(row.moment(**{**params, path: moved})))
            grad[index] = (8 * (near[2] - near[1]) - (near[3] - near[0])) / (12 * h)
        found[path] = np.where(row.q.free[path], grad, 0.0) if path in row.q.free else grad
    return found


# --- of gamma variables ----------------------------------------------------------------------------------------------
A, B = np.array([0.3, 24.0]), np.array([0.7, 2.0])


def _beta_total(concentration1: Any, concentration0: Any) -> Any:
    mean = concentration1 / (concentration1 + concentration0)
    return np.sum(mean + mean * (concentration1 + 1) / (concentration1 + concentration0 + 1))


def _dirichlet_total(concentration: Any) -> Any:
    n = np.sum(concentration, axis=-1, keepdims=True)
    square = np.sum(concentration * (concentration + 1) / (n * (n + 1)))
    a, b, n = concentration[..., 0], concentration[..., 1], n[..., 0]
    return square + 2.0 * np.sum(a * (a + 1) * b / (n * (n + 1) * (n + 2)))


def _multivariate_t(df: Any, loc: Any, scale_tril: Any) -> Any:
    return np.sum(loc) + np.sum(loc**2) + np.trace(scale_tril @ scale_tril.T) * df / (df - 2)


def _student_mean(f: Callable[[Any], Any], df: Any, loc: Any, scale: Any) -> Any:
    return uniform_mean(lambda u, v: f(loc + scale * np.where(u < v, st.t.ppf(u, df), -st.t.ppf(v, df))))


family(
    "Gamma",
    mg.Gamma(A, B),
    total,
    lambda concentration, rate: np.sum(concentration / rate + concentration * (concentration + 1) / rate**2),
    lambda concentration, rate: st.gamma(concentration, scale=1 / rate),
)
family(
    "Gamma, log",
    mg.Gamma([0.2, 3.0], 2.0),
    lambda z: np.sum(np.log(z)),
    lambda concentration, rate: np.sum(sc.digamma(concentration) - np.log(rate)),
    lambda concentration, rate: st.gamma(concentration, scale=1 / rate),
)
family("Chi2", mg.Chi2([0.5, 40.0]), total, lambda df: np.sum(df + df * (df + 2)), st.chi2)
family(
    "InverseGamma",
    mg.InverseGamma([5.5, 30.0], B),
    total,
    lambda concentration, rate: np.sum(
        rate / (concentration - 1) + rate**2 / ((concentration - 1) * (concentration - 2))
    ),
    lambda concentration, rate: st.invgamma(concentration, scale=rate),
)
family(
    "Beta",
    mg.Beta(A, B),
    total,
    _beta_total,
    lambda concentration1, concentration0: st.beta(concentration1, concentration0),
)
family(
    "Dirichlet",
    mg.Dirichlet([[0.2, 1.0], [7.0, 20.0]]),
    lambda z: np.sum(np.square(z)) + 2.0 * np.sum(z[:, 0] * z[:, 0] * z[:, 1]),
    _dirichlet_total,
)
family(
    "StudentT",
    mg.StudentT([5.5, 40.0], LOC, SCALE),
    total,
    lambda df, loc, scale: np.sum(loc + loc**2 + scale**2 * df / (df - 2)),
    st.t,
)
family(
    "StudentT, heavy",
    mg.StudentT(0.8, 0.3, 0.6),
    np.arctan,
    lambda df, loc, scale: _student_mean(np.arctan, df, loc, scale),
    st.t,
)
family(
    "MultivariateStudentT",
    mg.MultivariateStudentT(9.0, [0.3, -0.5, 0.2], TRIL),
    total,
    _multivariate_t,
    lambda df, loc, scale_tril: st.multivariate_t(loc, scale_tril @ scale_tril.T, df),
)
family(
    "FisherSnedecor",
    mg.FisherSnedecor([3.0, 0.6], [14.0, 40.0]),
    total,
    lambda df1, df2: np.sum(df2 / (df2 - 2) + df2**2 * (df1 + 2) / (df1 * (df2 - 2) * (df2 - 4))),
    lambda df1, df2: st.f(df1, df2),
)
