"""Cross entropies -E_q log p across families, from moments of q and from forms for single pairs.

With the entropy of q they make a divergence: -H(q) - E_q log p.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mcgrad.distributions.base import Distribution
from mcgrad.distributions.beta import Beta
from mcgrad.distributions.divergence_forms import Form, Params
from mcgrad.distributions.gumbel import Gumbel
from mcgrad.distributions.laplace import Laplace
from mcgrad.distributions.normal import Normal
from mcgrad.distributions.uniform import Uniform, mean_of_log
from mcgrad.functions.special import erf, gammaln


def cross_entropy(q: Distribution, p: Distribution) -> Form | None:
    """Return -E_q log p, element by element, or None where it is not here; where p is positive, for q's above zero."""
    single = PAIRS.get((type(q), type(p)))
    stated = p.divergence_forms.cross_entropy
    if single is not None or stated is None:
        return single
    statistics = [getattr(q.divergence_forms, name) for name in stated.needs]
    if None in statistics:
        return None
    return lambda q_params, p_params: stated.form(p_params, *(statistic(q_params) for statistic in statistics))


def _laplace_of_normal(q: Params, p: Params) -> Any:
    m = (q["loc"] - p["loc"]) / q["scale"]
    apart = math.sqrt(2 / math.pi) * np.exp(-0.5 * np.square(m)) + m * erf(m * math.sqrt(0.5))
    return q["scale"] / p["scale"] * apart + np.log(2.0 * p["scale"])


def _gumbel_of_normal(q: Params, p: Params) -> Any:
    shift = (q["loc"] - p["loc"]) / p["scale"]
    return shift + np.exp(0.5 * np.square(q["scale"] / p["scale"]) - shift) + np.log(p["scale"])


def _beta_of_uniform(q: Params, p: Params) -> Any:
    a, b, low, high = p["concentration1"], p["concentration0"], q["low"], q["high"]
    normalizer = gammaln(a) + gammaln(b) - gammaln(a + b)
    return normalizer - (a - 1.0) * mean_of_log(low, high) - (b - 1.0) * mean_of_log(1.0 - high, 1.0 - low)


PAIRS: dict[tuple[type[Distribution], type[Distribution]], Form] = {
    (Normal, Laplace): _laplace_of_normal,
    (Normal, Gumbel): _gumbel_of_normal,
    (Uniform, Beta): _beta_of_uniform,
}
