"""Rows of ranges.py: mixtures, maps of draws, joints, and discrete families."""

from __future__ import annotations

import mpmath as mp
import numpy as np
from ranges_positive import log_wave
from ranges_rows import NORMAL_ENTROPY, SCALES, add, decades, decay, wave

import mcgrad as mg

# --- made of others ------------------------------------------------------------------------------------------


def normal_mean(loc, scale, d):
    return mp.sin((loc - d["c"]) / d["s"] + 1) * mp.exp(-((scale / d["s"]) ** 2) / 2)


def mixture_moment(p, d):
    loc, scale, w = p["components.loc"], p["components.scale"], p["probs"]
    return sum(w[k] * normal_mean(loc[k], scale[k], d) for k in range(2)) / sum(w)


def mixture(loc, scale, rare):
    return mg.MixtureSameFamily(mg.Normal(loc, scale), probs=[rare, 1 - rare])


unit = lambda x: {"c": 1.0, "s": 1.0}  # noqa: E731
around = lambda x: {"c": x, "s": x}  # noqa: E731
add(
    "MixtureSameFamily",
    "scale = loc",
    lambda x: mixture([x, 2 * x], [x, x], 0.3),
    wave,
    around,
    mixture_moment,
    None,
    SCALES,
)
add(
    "MixtureSameFamily",
    "weight",
    lambda x: mixture([1.0, 2.0], [1.0, 1.0], x),
    wave,
    unit,
    mixture_moment,
    None,
    (decades(-9, -1), decades(-9, -1)),
)
add(
    "MixtureSameFamily",
    "distance, in scales",
    lambda x: mixture([1.0, 1.0 + x], [1.0, 1.0], 0.3),
    wave,
    lambda x: {"c": 1.0, "s": max(x, 1.0)},
    mixture_moment,
    None,
    ([1.0, 3.0, 6.0, 10.0, 20.0],) * 2,
)


def exponential_of_normal(p, d):
    return mp.sin(d["w"] * (p["loc"] - mp.log(d["c"])) + 1) * mp.exp(-0.5 * (d["w"] * p["scale"]) ** 2)


add(
    "Transformed by Exp",
    "exp(loc)",
    lambda x: mg.Normal(np.log(x) + 1.0, 0.5).transformed(mg.bijections.Exp()),
    log_wave,
    lambda x: {"c": x, "w": 2.0},
    exponential_of_normal,
    lambda p: NORMAL_ENTROPY + mp.log(p["scale"]) + p["loc"],
    SCALES,
)


def joint_moment(p, d):
    return normal_mean(p["a.loc"], p["a.scale"], d) / (1 + 1 / p["b.rate"])


add(
    "Joint of Normal and Exponential",
    "scale",
    lambda x: mg.Joint(a=mg.Normal(x, x), b=mg.Exponential(2.0)),
    lambda z, *, c, s: np.sin((z["a"] - c) / s + 1.0) * np.exp(-z["b"]),
    around,
    joint_moment,
    lambda p: NORMAL_ENTROPY + mp.log(p["a.scale"]) + 1 - mp.log(p["b.rate"]),
    SCALES,
)

# --- discrete ------------------------------------------------------------------------------------------------
CHANCES = (
    [*decades(-9, -1), 0.5, *(1 - x for x in decades(-6, -1)[::-1])],
    [*decades(-9, -1), 0.5, *(1 - x for x in decades(-9, -1)[::-1])],
)
LOGITS = ([-90.0, -30.0, -10.0, -3.0, 0.5, 3.0, 10.0, 30.0, 90.0],) * 2


def nothing(x):
    return {}


def chance(p):
    return p["probs"] if "probs" in p else 1 / (1 + mp.exp(-p["logits"]))


add(
    "Bernoulli",
    "probs",
    mg.Bernoulli,
    lambda z: z + 1.0,
    nothing,
    lambda p, d: chance(p) + 1,
    None,
    CHANCES,
    discrete=True,
)
add(
    "Bernoulli",
    "logits",
    lambda x: mg.Bernoulli(logits=x),
    lambda z: z + 1.0,
    nothing,
    lambda p, d: chance(p) + 1,
    None,
    LOGITS,
    discrete=True,
)


def categorical_moment(p, d):
    w = p["probs"]
    return 1 + (w[1] + 3 * w[2]) / sum(w)


rare = (decades(-9, 0), decades(-9, 0))
add(
    "Categorical",
    "smallest probs",
    lambda x: mg.Categorical([1.0, x, x]),
    lambda z: 1 + z * (z + 1) / 2,
    nothing,
    categorical_moment,
    None,
    rare,
    discrete=True,
)
add(
    "OneHotCategorical",
    "smallest probs",
    lambda x: mg.OneHotCategorical([1.0, x, x]),
    lambda z: 1 + z[1] + 3 * z[2],
    nothing,
    categorical_moment,
    None,
    rare,
    discrete=True,
)


def shifted_decay(z, *, c, t):
    return np.exp(-t * (z - c))


def binomial_moment(p, d):
    return mp.exp(d["t"] * d["c"]) * (1 + chance(p) * mp.expm1(-d["t"])) ** 40


def poisson_moment(p, d):
    return mp.exp(d["t"] * d["c"] + p["rate"] * mp.expm1(-d["t"]))


add(
    "Binomial of 40",
    "probs",
    lambda x: mg.Binomial(40, x),
    shifted_decay,
    lambda x: {"c": 40 * x, "t": 0.3},
    binomial_moment,
    None,
    CHANCES,
    discrete=True,
)
add(
    "Poisson",
    "rate",
    mg.Poisson,
    shifted_decay,
    lambda x: {"c": x, "t": min(1.0, x**-0.5)},
    poisson_moment,
    None,
    (decades(-9, 3), decades(-9, 3)),
    discrete=True,
    anew=True,
)


def geometric_moment(p, d):
    failure = 1 - chance(p)
    return chance(p) / (1 - failure * mp.exp(-1 / d["c"]))


add("Geometric", "probs", mg.Geometric, decay, lambda x: {"c": 1 / x}, geometric_moment, None, CHANCES, discrete=True)
