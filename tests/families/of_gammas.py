"""Families whose draws are made of gamma variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special as sc
import scipy.stats as st

import mcgrad as mg
from tests.families.table import LOC, SCALE, TRIL, family, total, uniform_mean

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
