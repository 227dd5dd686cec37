"""Discrete families, whose gradients are the business of other estimators than the pathwise one, and relaxed ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special as sc
import scipy.stats as st

import mcgrad as mg
from tests.families.table import family, total, uniform_mean


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
