"""Normal vectors and matrices, their images on the simplex, and directions."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special as sc
import scipy.stats as st

import mcgrad as mg
from tests.families.table import TRIL, family, normal_mean

COLUMN = np.array([[0.8, 0.0], [0.3, 0.6]])
FACTOR = np.array([[0.5, -0.2], [0.1, 0.7], [-0.6, 0.3]])
W3 = np.array([1.0, 2.0, -1.0])
M32 = np.array([[1.0, 1.0], [0.0, 0.0], [0.0, -1.0]])
family(
    "LowRankMultivariateNormal",
    mg.LowRankMultivariateNormal([0.3, -0.5, 0.2], FACTOR, [0.5, 0.9, 1.2]),
    lambda z: np.sum(z) + np.square(z[0] + 2 * z[1] - z[2]),
    lambda loc, cov_factor, cov_diag: (
        np.sum(loc) + (W3 @ loc) ** 2 + W3 @ (cov_factor @ cov_factor.T + np.diag(cov_diag)) @ W3
    ),
    lambda loc, cov_factor, cov_diag: st.multivariate_normal(loc, cov_factor @ cov_factor.T + np.diag(cov_diag)),
)
family(
    "MatrixNormal",
    mg.MatrixNormal(np.linspace(-1, 1, 6).reshape(3, 2), TRIL, COLUMN),
    lambda z: np.square(np.sum(z[0]) - z[2, 1]),
    lambda loc, scale_row, scale_column: (np.sum(M32 * loc)) ** 2 + np.sum(np.square(scale_row.T @ M32 @ scale_column)),
    lambda loc, scale_row, scale_column: st.matrix_normal(loc, scale_row @ scale_row.T, scale_column @ scale_column.T),
)


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
