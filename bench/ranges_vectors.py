"""Rows of ranges.py: angles, directions and vectors."""

from __future__ import annotations

import mpmath as mp
import numpy as np
from ranges_rows import NORMAL_ENTROPY, SCALES, SHAPES, add, decades

import mcgrad as mg

# --- angles and directions -----------------------------------------------------------------------------------


def hill(z, *, c, t):
    return np.exp(-2.0 * t * np.sin(0.5 * (z - c)) ** 2)


def von_mises_moment(p, d):
    k, t, c = p["concentration"], d["t"], d["c"] - p["loc"]
    return mp.exp(-t) * mp.besseli(0, mp.sqrt((k + t * mp.cos(c)) ** 2 + (t * mp.sin(c)) ** 2)) / mp.besseli(0, k)


def von_mises_entropy(p):
    k = p["concentration"]
    return mp.log(2 * mp.pi * mp.besseli(0, k)) - k * mp.besseli(1, k) / mp.besseli(0, k)


def beside(x):
    t = max(x, 1.0)
    return {"c": 0.7 / t**0.5, "t": t}


add(
    "VonMises",
    "concentration",
    lambda x: mg.VonMises(1e-3, x),
    hill,
    beside,
    von_mises_moment,
    von_mises_entropy,
    SHAPES,
)


def fisher_hill(z, *, c, t):
    return np.exp(-0.5 * t * (z[0] ** 2 + (z[1] - np.sin(c)) ** 2 + (z[2] - np.cos(c)) ** 2))


def von_mises_fisher_moment(p, d):
    m, k, t, c = p["mean_direction"], p["concentration"], d["t"], d["c"]
    m = m / mp.sqrt(sum(x * x for x in m))
    r = mp.sqrt((k * m[0]) ** 2 + (k * m[1] + t * mp.sin(c)) ** 2 + (k * m[2] + t * mp.cos(c)) ** 2)
    return mp.exp(-t) * mp.sinh(r) / r * k / mp.sinh(k)


add(
    "VonMisesFisher",
    "concentration",
    lambda x: mg.VonMisesFisher([1e-4, 2e-4, 1.0], x),
    fisher_hill,
    beside,
    von_mises_fisher_moment,
    None,
    SHAPES,
)

# --- vectors: waves of a projection --------------------------------------------------------------------------
W = np.array([1.0, -1.0])


def projected(z, *, c, s):
    return np.sin((z[0] - z[1] - c) / s + 1.0)


def normal_wave(mean, variance, d):
    return mp.sin((mean - d["c"]) / d["s"] + 1) * mp.exp(-variance / d["s"] ** 2 / 2)


def rows_of(p, name):
    m = p[name]
    return sum((m[0, j] - m[1, j]) ** 2 for j in range(m.shape[1]))


def multivariate_moment(p, d):
    return normal_wave(p["loc"][0] - p["loc"][1], rows_of(p, "scale_tril"), d)


def multivariate_entropy(p):
    return 2 * NORMAL_ENTROPY + mp.log(p["scale_tril"][0, 0] * p["scale_tril"][1, 1])


def low_rank_moment(p, d):
    return normal_wave(p["loc"][0] - p["loc"][1], rows_of(p, "cov_factor") + sum(p["cov_diag"]), d)


def low_rank_entropy(p):
    (f, g), (d, e) = p["cov_factor"][:, 0], p["cov_diag"]
    return 2 * NORMAL_ENTROPY + mp.log(f * f * e + g * g * d + d * e) / 2


def close(x):
    """A second row that is x from the first."""
    return np.array([[1.0, 0.0], [1.0 - 0.3 * x, x]])


at_loc = lambda x: {"c": x, "s": x}  # noqa: E731
near_one = ([1.0, *[10.0**-k for k in range(1, 7)]][::-1], [1.0, *[10.0**-k for k in range(1, 13)]][::-1])
add(
    "MultivariateNormal",
    "scale_tril = loc",
    lambda x: mg.MultivariateNormal([2 * x, x], x * close(0.5)),
    projected,
    at_loc,
    multivariate_moment,
    multivariate_entropy,
    SCALES,
)
add(
    "MultivariateNormal",
    "distance of rows",
    lambda x: mg.MultivariateNormal([x, 0.5 * x], close(x)),
    projected,
    lambda x: {"c": 0.5 * x, "s": x},
    multivariate_moment,
    multivariate_entropy,
    near_one,
)
add(
    "LowRankMultivariateNormal",
    "cov_diag",
    lambda x: mg.LowRankMultivariateNormal([x**0.5, 0.5 * x**0.5], ONES, [x, 2 * x]),
    projected,
    lambda x: {"c": 0.5 * x**0.5, "s": x**0.5},
    low_rank_moment,
    low_rank_entropy,
    (decades(-10, 4), decades(-14, 4)),
)
ONES = np.ones((2, 1))


def matrix_moment(p, d):
    row, column = p["scale_row"], p["scale_column"]
    variance = rows_of(p, "scale_row") * column[0, 0] ** 2
    return normal_wave(p["loc"][0, 0] - p["loc"][1, 0], variance, d) + 0 * row[0, 0]


add(
    "MatrixNormal",
    "scale_row = loc",
    lambda x: mg.MatrixNormal([[2 * x, x], [x, x]], x * close(0.5), close(0.5)),
    lambda z, *, c, s: np.sin((z[0, 0] - z[1, 0] - c) / s + 1.0),
    at_loc,
    matrix_moment,
    None,
    SCALES,
)
