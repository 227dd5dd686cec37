"""Rows of ranges.py: intervals and simplices, bounds, tails."""

from __future__ import annotations

import mpmath as mp
import numpy as np
from ranges_rows import NORMAL_ENTROPY, SCALES, SHAPES, add, decades, wave

import mcgrad as mg

# --- (0, 1) and simplices ------------------------------------------------------------------------------------


def square(z):
    return z * z


def nothing(x):
    return {}


def beta_moment(p, d):
    a, b = p["concentration1"], p["concentration0"]
    return a * (a + 1) / ((a + b) * (a + b + 1))


def beta_entropy(p):
    a, b = p["concentration1"], p["concentration0"]
    whole = mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b)
    return whole - (a - 1) * mp.psi(0, a) - (b - 1) * mp.psi(0, b) + (a + b - 2) * mp.psi(0, a + b)


def kumaraswamy_moment(p, d):
    return p["concentration0"] * mp.beta(1 + d["c"] / p["concentration1"], p["concentration0"])


def kumaraswamy_entropy(p):
    a, b = p["concentration1"], p["concentration0"]
    return 1 - 1 / b + (1 - 1 / a) * (mp.psi(0, b + 1) + mp.euler) - mp.log(a * b)


def dirichlet_moment(p, d):
    a = p["concentration"]
    n = sum(a)
    return a[0] * (a[0] + 1 + 2 * a[1]) / (n * (n + 1))


def dirichlet_entropy(p):
    a = p["concentration"]
    n = sum(a)
    logs = sum(mp.loggamma(x) - (x - 1) * mp.psi(0, x) for x in a)
    return logs - mp.loggamma(n) + (n - len(a)) * mp.psi(0, n)


power = lambda z, *, c: z**c  # noqa: E731
add("Beta", "both", lambda x: mg.Beta(x, x), square, nothing, beta_moment, beta_entropy, SHAPES)
add("Beta", "concentration1", lambda x: mg.Beta(x, 2.0), square, nothing, beta_moment, beta_entropy, SHAPES)
add(
    "Kumaraswamy",
    "both",
    lambda x: mg.Kumaraswamy(x, x),
    power,
    lambda x: {"c": x},
    kumaraswamy_moment,
    kumaraswamy_entropy,
    SHAPES,
)
add(
    "Dirichlet",
    "concentration",
    lambda x: mg.Dirichlet(x * np.arange(1.0, 4.0)),
    lambda z: z[0] * z[0] + 2 * z[0] * z[1],
    nothing,
    dirichlet_moment,
    dirichlet_entropy,
    SHAPES,
)

NODES = [mp.mpf(k) / 8 for k in range(-40 * 8, 40 * 8 + 1)]


def slope(y):
    """Of expit**2."""
    return 2 * mp.exp(-y) / (1 + mp.exp(-y)) ** 3


SLOPES = [slope(y) / 8 for y in NODES]


def squared(survival):
    """E expit(x)**2 = the integral of the slope of it times P(x > y)."""
    return sum(weight * survival(y) for weight, y in zip(SLOPES, NODES, strict=True))


def logit_normal_moment(p, d):
    loc, scale = (np.ravel(p[k])[0] for k in ("loc", "scale"))
    return squared(lambda y: mp.erfc((y - loc) / scale / mp.sqrt(2)) / 2)


def first(z):
    return z[0] * z[0]


WIDE = (decades(-1, 6), decades(-1, 6))
add("LogitNormal", "scale", lambda x: mg.LogitNormal(1.0, x), square, nothing, logit_normal_moment, None, WIDE)
for family in ("LogisticNormal", "SoftmaxNormal"):
    make = lambda x, family=family: getattr(mg, family)([1.0], [x])  # noqa: E731
    add(family, "scale", make, first, nothing, logit_normal_moment, None, WIDE)


def relaxed_moment(p, d):
    t = p["temperature"]
    shift = p["logits"] if np.ndim(p["logits"]) == 0 else p["logits"][0] - p["logits"][1]
    return squared(lambda y: 1 / (1 + mp.exp(t * y - shift)))


COLD = (decades(-6, 1), decades(-6, 1))
ODDS = ([-60.0, -30.0, -10.0, -3.0, 1.0, 3.0, 10.0, 30.0, 60.0],) * 2
one_hot = mg.RelaxedOneHotCategorical
add(
    "RelaxedBernoulli",
    "temperature",
    lambda x: mg.RelaxedBernoulli(x, logits=1.0),
    square,
    nothing,
    relaxed_moment,
    None,
    COLD,
)
add(
    "RelaxedBernoulli",
    "logits",
    lambda x: mg.RelaxedBernoulli(0.5, logits=x),
    square,
    nothing,
    relaxed_moment,
    None,
    ODDS,
)
add(
    "RelaxedOneHotCategorical",
    "temperature",
    lambda x: one_hot(x, logits=[1.0, 0.5]),
    first,
    nothing,
    relaxed_moment,
    None,
    COLD,
)

# --- bounds --------------------------------------------------------------------------------------------------


def area(a, b):
    """Of the standard normal between a and b, on the side where it keeps digits."""
    return (mp.erfc(a / mp.sqrt(2)) - mp.erfc(b / mp.sqrt(2))) / 2 if a > 0 else mp.ncdf(b) - mp.ncdf(a)


def truncated_moment(p, d):
    with mp.workdps(120):
        s, t = p["scale"], p["scale"] / d["s"]
        a = (p["low"] - p["loc"]) / s
        b = (p["high"] - p["loc"]) / s if "high" in p else mp.inf
        return mp.exp(t * (d["c"] - p["loc"]) / s + t * t / 2) * area(a + t, b + t) / area(a, b)


def truncated_entropy(p):
    with mp.workdps(120):
        a = (p["low"] - p["loc"]) / p["scale"]
        b = (p["high"] - p["loc"]) / p["scale"] if "high" in p else mp.inf
        whole = area(a, b)
        ends = a * mp.npdf(a) - (0 if b == mp.inf else b * mp.npdf(b))
        return NORMAL_ENTROPY + mp.log(p["scale"] * whole) + ends / (2 * whole)


def decay_from(z, *, c, s):
    return np.exp(-(z - c) / s)


truncated = mg.TruncatedNormal
rows = (
    (
        "low, in scales",
        lambda x: truncated(0.5, 1.0, low=x),
        lambda x: {"c": x, "s": 1 / x},
        (decades(0, 6), decades(0, 9)),
    ),
    (
        "width, in scales",
        lambda x: truncated(0.3, 1.0, 1.0, 1.0 + x),
        lambda x: {"c": 1.0, "s": x},
        (decades(-6, 1), decades(-12, 1)),
    ),
    ("scale", lambda x: truncated(0.3 * x, x, -0.5 * x, 2 * x), lambda x: {"c": x, "s": x}, SCALES),
)
for swept, make, data, points in rows:
    add("TruncatedNormal", swept, make, decay_from, data, truncated_moment, truncated_entropy, points)

EXPONENTIALS = [mp.exp(mp.mpf(k) / 16) for k in range(-50 * 16, int(4.8 * 16))]


def generalized_pareto_moment(p, d):
    k = p["concentration"]

    def one(e):
        stretched = mp.expm1(k * e) / k
        return e * mp.exp(-e - (p["loc"] - d["c"] + p["scale"] * stretched) / d["s"])

    return sum(one(e) for e in EXPONENTIALS) / 16


generalized = mg.GeneralizedPareto
tails = [-10.0, -3.0, -0.3, -1e-3, -1e-6, 1e-6, 1e-3, 0.3, 1.0, 3.0, 10.0]
add(
    "GeneralizedPareto",
    "concentration",
    lambda x: generalized(0.5, 1.0, x),
    decay_from,
    lambda x: {"c": 0.5, "s": 1.0},
    generalized_pareto_moment,
    lambda p: mp.log(p["scale"]) + p["concentration"] + 1,
    (tails, tails),
)
add(
    "GeneralizedPareto",
    "scale = loc",
    lambda x: generalized(x, x, 0.3),
    decay_from,
    lambda x: {"c": x, "s": x},
    generalized_pareto_moment,
    lambda p: mp.log(p["scale"]) + p["concentration"] + 1,
    (SCALES[0][::2], SCALES[1][::2]),
)

NORMALS = [mp.mpf(k) / 16 for k in range(-10 * 16, 10 * 16 + 1)]


def bent(p, x):
    return (
        2
        * p["scale"]
        / mp.sinh(p["tailweight"] * mp.asinh(2))
        * mp.sinh((mp.asinh(x) + p["skewness"]) * p["tailweight"])
    )


def sinh_arcsinh_moment(p, d):
    return sum(mp.npdf(x) * mp.sin((p["loc"] - d["c"] + bent(p, x)) / d["s"] + 1) for x in NORMALS) / 16


def sinh_arcsinh(loc, scale, skewness, tailweight):
    return mg.SinhArcsinh(loc, scale, skewness, tailweight)


def about_middle(q):
    p = {k: mp.mpf(float(v)) for k, v in q.params.items()}
    middle, step = bent(p, 0), bent(p, mp.mpf(1) / 2) - bent(p, 0)
    return {"c": float(p["loc"] + middle), "s": float(2 * step)}


for swept, make, points in (
    ("scale = loc", lambda x: sinh_arcsinh(x, x, 0.3, 0.8), (SCALES[0][::2], SCALES[1][::2])),
    ("skewness", lambda x: sinh_arcsinh(1.0, 1.0, x, 0.8), ([-100.0, -30.0, -10.0, -1.0, 1.0, 10.0, 30.0, 100.0],) * 2),
    ("tailweight", lambda x: sinh_arcsinh(1.0, 1.0, 0.3, x), (decades(-6, 0), decades(-6, 0))),
):
    add("SinhArcsinh", swept, make, wave, lambda x, make=make: about_middle(make(x)), sinh_arcsinh_moment, None, points)
