"""Rows of ranges.py: positive families, by exp(-z/c) or a wave of log z."""

from __future__ import annotations

import mpmath as mp
import numpy as np
from ranges_rows import NORMAL_ENTROPY, SCALES, SHAPES, add, decades, decay

import mcgrad as mg


def gamma_moment(p, d, rate=None):
    a, r = (p["concentration"], p["rate"]) if "rate" in p else (p["df"] / 2, mp.mpf(0.5))
    return (1 + 1 / (d["c"] * r)) ** -a


def gamma_entropy(p):
    a, r = (p["concentration"], p["rate"]) if "rate" in p else (p["df"] / 2, mp.mpf(0.5))
    return a - mp.log(r) + mp.loggamma(a) + (1 - a) * mp.psi(0, a)


def inverse_gamma_moment(p, d):
    return (1 + d["c"] / p["rate"]) ** -p["concentration"]


def inverse_gamma_entropy(p):
    a = p["concentration"]
    return a + mp.log(p["rate"]) + mp.loggamma(a) - (1 + a) * mp.psi(0, a)


def decay_of_inverse(z, *, c):
    return np.exp(-c / z)


def inverse(x):
    return {"c": 1 / x}


add(
    "Gamma",
    "concentration",
    lambda x: mg.Gamma(x, 1.0),
    decay,
    lambda x: {"c": 1 + x},
    gamma_moment,
    gamma_entropy,
    SHAPES,
)
add(
    "Gamma",
    "1 / rate",
    lambda x: mg.Gamma(2.0, 1 / x),
    decay,
    lambda x: {"c": 2 * x},
    gamma_moment,
    gamma_entropy,
    SCALES,
)
add("Chi2", "df", mg.Chi2, decay, lambda x: {"c": 1 + x}, gamma_moment, gamma_entropy, SHAPES)
add(
    "InverseGamma",
    "concentration",
    lambda x: mg.InverseGamma(x, 1.0),
    decay_of_inverse,
    lambda x: {"c": 1 / (1 + x)},
    inverse_gamma_moment,
    inverse_gamma_entropy,
    SHAPES,
)
add(
    "InverseGamma",
    "rate",
    lambda x: mg.InverseGamma(2.0, x),
    decay_of_inverse,
    lambda x: {"c": x / 2},
    inverse_gamma_moment,
    inverse_gamma_entropy,
    SCALES,
)
add(
    "Exponential",
    "1 / rate",
    lambda x: mg.Exponential(1 / x),
    decay,
    lambda x: {"c": x},
    lambda p, d: 1 / (1 + 1 / (d["c"] * p["rate"])),
    lambda p: 1 - mp.log(p["rate"]),
    SCALES,
)
add(
    "HalfNormal",
    "scale",
    mg.HalfNormal,
    lambda z, *, c: np.exp(-0.5 * (z / c) ** 2),
    lambda x: {"c": x},
    lambda p, d: 1 / mp.sqrt(1 + (p["scale"] / d["c"]) ** 2),
    lambda p: NORMAL_ENTROPY - mp.log(2) + mp.log(p["scale"]),
    SCALES,
)
add(
    "HalfCauchy",
    "scale",
    mg.HalfCauchy,
    lambda z, *, c: 1 / (1 + (z / c) ** 2),
    lambda x: {"c": x},
    lambda p, d: 1 / (1 + p["scale"] / d["c"]),
    lambda p: mp.log(2 * mp.pi * p["scale"]),
    SCALES,
)


def log_wave(z, *, c, w):
    return np.sin(w * np.log(z / c) + 1.0)


def weibull_moment(p, d):
    t = 1j * d["w"]
    return mp.im(mp.expj(1) * (p["scale"] / d["c"]) ** t * mp.gamma(1 + t / p["concentration"]))


def weibull_entropy(p):
    k = p["concentration"]
    return mp.euler * (1 - 1 / k) + mp.log(p["scale"] / k) + 1


def pareto_moment(p, d):
    t = 1j * d["w"]
    return mp.im(mp.expj(1) * (p["scale"] / d["c"]) ** t * p["alpha"] / (p["alpha"] - t))


def pareto_entropy(p):
    return mp.log(p["scale"] / p["alpha"]) + 1 / p["alpha"] + 1


def lognormal_moment(p, d):
    w = d["w"]
    return mp.sin(w * (p["loc"] - mp.log(d["c"])) + 1) * mp.exp(-0.5 * (w * p["scale"]) ** 2)


for family, shape, moment, entropy in (
    ("Weibull", "concentration", weibull_moment, weibull_entropy),
    ("Pareto", "alpha", pareto_moment, pareto_entropy),
):
    make = lambda s, k, family=family, shape=shape: getattr(mg, family)(**{"scale": s, shape: k})  # noqa: E731
    add(
        family,
        shape,
        lambda x, make=make: make(1.0, x),
        log_wave,
        lambda x: {"c": 1.0, "w": x},
        moment,
        entropy,
        SHAPES,
    )
    add(
        family,
        "scale",
        lambda x, make=make: make(x, 2.0),
        log_wave,
        lambda x: {"c": x, "w": 2.0},
        moment,
        entropy,
        SCALES,
    )

add(
    "LogNormal",
    "scale",
    lambda x: mg.LogNormal(1.0, x),
    log_wave,
    lambda x: {"c": np.e, "w": 1 / x},
    lognormal_moment,
    lambda p: NORMAL_ENTROPY + mp.log(p["scale"]) + p["loc"],
    (decades(-6, 3), decades(-9, 3)),
)
add(
    "LogNormal",
    "exp(loc)",
    lambda x: mg.LogNormal(np.log(x) + 1.0, 0.5),
    log_wave,
    lambda x: {"c": x, "w": 2.0},
    lognormal_moment,
    lambda p: NORMAL_ENTROPY + mp.log(p["scale"]) + p["loc"],
    SCALES,
)


def fisher_moment(p, d):
    a, b, t = p["df1"] / 2, p["df2"] / 2, 1j * d["w"]
    mellin = (b / a / d["c"]) ** t * mp.exp(mp.loggamma(a + t) - mp.loggamma(a) + mp.loggamma(b - t) - mp.loggamma(b))
    return mp.im(mp.expj(1) * mellin)


def spread(x):
    """One over the standard deviation of the logarithm."""
    return {"c": 1.0, "w": float(1 / mp.sqrt(2 * mp.psi(1, x / 2)))}


add("FisherSnedecor", "df1 = df2", lambda x: mg.FisherSnedecor(x, x), log_wave, spread, fisher_moment, None, SHAPES)


def inverse_gaussian_moment(p, d):
    m, k = p["loc"], p["concentration"]
    return mp.exp(d["t"] * d["c"] + k / m * (1 - mp.sqrt(1 + 2 * m * m * d["t"] / k)))


add(
    "InverseGaussian",
    "concentration",
    lambda x: mg.InverseGaussian(1.0, x),
    lambda z, *, c, t: np.exp(-t * (z - c)),
    lambda x: {"c": float(x > 1), "t": x**0.5 if x > 1 else 1 / x},
    inverse_gaussian_moment,
    None,
    SHAPES,
)
add(
    "InverseGaussian",
    "loc = concentration",
    lambda x: mg.InverseGaussian(x, x),
    lambda z, *, c, t: np.exp(-t * (z - c)),
    lambda x: {"c": 0.0, "t": 1 / x},
    inverse_gaussian_moment,
    None,
    SCALES,
)
