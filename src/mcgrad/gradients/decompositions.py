"""How the derivative of a density in a parameter is a constant times the difference of two densities, by family.

A rule is plain NumPy: ``rule(z, u, **params) -> (constant, positive, negative)`` for a draw z of q, and a uniform u of
its shape, independent of z. What comes back is coupled: the two draws share what they can, so that the difference of f
is small. Where one of the two densities is q itself, its draw is z, which is evaluated anyway.

Mohamed et al. 2020, table 1 and section 6.3; Heidergott, Vazquez-Abad and Volk-Makarewicz 2008; Pflug 1989.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from mcgrad import distributions
from mcgrad.distributions.base import Distribution

Decomposition = Callable[..., tuple[Any, Any, Any]]

SQRT_2PI = math.sqrt(2 * math.pi)


def _rayleigh(u: Any) -> Any:
    """Weibull of shape 2 and scale sqrt 2."""
    return np.sqrt(-2.0 * np.log(u))


def _maxwell(n: Any, u: Any) -> Any:
    """Double-sided Maxwell whose product with a uniform is the standard normal n.

    Of three independent normals, n = r cos(a) with r Maxwell and cos(a) uniform on (-1, 1) (Archimedes); the other two
    add -2 log u to its square.
    """
    return np.where(n < 0, -1.0, 1.0) * np.sqrt(np.square(n) - 2.0 * np.log(u))


def _normal_loc(z: Any, u: Any, *, loc: Any, scale: Any) -> Any:
    step = scale * _rayleigh(u)
    return 1.0 / (SQRT_2PI * scale), loc + step, loc - step


def _normal_scale(z: Any, u: Any, *, loc: Any, scale: Any) -> Any:
    return 1.0 / scale, loc + scale * _maxwell((z - loc) / scale, u), z


def _lognormal_loc(z: Any, u: Any, *, loc: Any, scale: Any) -> Any:
    step = scale * _rayleigh(u)
    return 1.0 / (SQRT_2PI * scale), np.exp(loc + step), np.exp(loc - step)


def _lognormal_scale(z: Any, u: Any, *, loc: Any, scale: Any) -> Any:
    return 1.0 / scale, np.exp(loc + scale * _maxwell((np.log(z) - loc) / scale, u)), z


def _half_normal_scale(z: Any, u: Any, *, scale: Any) -> Any:
    return 1.0 / scale, scale * _maxwell(z / scale, u), z


def _uniform_low(z: Any, u: Any, *, low: Any, high: Any) -> Any:
    return 1.0 / (high - low), z, low + 0.0 * z


def _uniform_high(z: Any, u: Any, *, low: Any, high: Any) -> Any:
    return 1.0 / (high - low), high + 0.0 * z, z


def _exponential_rate(z: Any, u: Any, *, rate: Any) -> Any:
    return 1.0 / rate, z, z - np.log(u) / rate


def _gamma_rate(z: Any, u: Any, *, concentration: Any, rate: Any) -> Any:
    return concentration / rate, z, z - np.log(u) / rate


def _inverse_gamma_rate(z: Any, u: Any, *, concentration: Any, rate: Any) -> Any:
    return concentration / rate, z, 1.0 / (1.0 / z - np.log(u) / rate)


def _weibull_scale(z: Any, u: Any, *, concentration: Any, scale: Any) -> Any:
    power = np.power(z / scale, concentration) - np.log(u)
    return concentration / scale, scale * np.power(power, 1.0 / concentration), z


def _laplace_loc(z: Any, u: Any, *, loc: Any, scale: Any) -> Any:
    step = -scale * np.log(u)
    return 0.5 / scale, loc + step, loc - step


def _laplace_scale(z: Any, u: Any, *, loc: Any, scale: Any) -> Any:
    step = -scale * np.log(u)
    return 1.0 / scale, z + np.where(z < loc, -step, step), z


def _poisson_rate(z: Any, u: Any, *, rate: Any) -> Any:
    return 1.0 + 0.0 * rate, z + 1.0, z


def _bernoulli_probs(z: Any, u: Any, *, probs: Any) -> Any:
    return 1.0 + 0.0 * probs, 1.0 + 0.0 * z, 0.0 * z


def _bernoulli_logits(z: Any, u: Any, *, logits: Any) -> Any:
    return _slope(logits), 1.0 + 0.0 * z, 0.0 * z


def _binomial_probs(z: Any, u: Any, *, probs: Any, total_count: int) -> Any:
    others = _without_one(z, u, total_count)
    return total_count + 0.0 * probs, others + 1.0, others


def _binomial_logits(z: Any, u: Any, *, logits: Any, total_count: int) -> Any:
    others = _without_one(z, u, total_count)
    return total_count * _slope(logits), others + 1.0, others


def _without_one(z: Any, u: Any, total_count: int) -> Any:
    """Successes in all trials but one, chosen at random."""
    return z - np.where(u * total_count < z, 1.0, 0.0)


def _geometric_probs(z: Any, u: Any, *, probs: Any) -> Any:
    return 1.0 / probs, z, z + 1.0 + np.floor(np.log(u) / np.log1p(-probs))


def _geometric_logits(z: Any, u: Any, *, logits: Any) -> Any:
    return np.exp(-np.logaddexp(0.0, logits)), z, z + 1.0 + np.floor(-np.log(u) / np.logaddexp(0.0, logits))


def _slope(logits: Any) -> Any:
    """Derivative of a probability in its log odds."""
    return np.exp(-np.logaddexp(0.0, logits) - np.logaddexp(0.0, -logits))


RULES: dict[str, dict[str, Decomposition]] = {
    "Normal": {"loc": _normal_loc, "scale": _normal_scale},
    "LogNormal": {"loc": _lognormal_loc, "scale": _lognormal_scale},
    "HalfNormal": {"scale": _half_normal_scale},
    "Uniform": {"low": _uniform_low, "high": _uniform_high},
    "Exponential": {"rate": _exponential_rate},
    "Gamma": {"rate": _gamma_rate},
    "InverseGamma": {"rate": _inverse_gamma_rate},
    "Weibull": {"scale": _weibull_scale},
    "Laplace": {"loc": _laplace_loc, "scale": _laplace_scale},
    "Poisson": {"rate": _poisson_rate},
    "Bernoulli": {"probs": _bernoulli_probs, "logits": _bernoulli_logits},
    "Binomial": {"probs": _binomial_probs, "logits": _binomial_logits},
    "Geometric": {"probs": _geometric_probs, "logits": _geometric_logits},
}


def decomposition(q: Distribution, parameter: str) -> Decomposition | None:
    """Return the rule for a parameter of q, or None where none is known."""
    name = type(q).__name__
    if getattr(distributions, name, None) is not type(q):
        return None
    rule = RULES.get(name, {}).get(parameter)
    if rule is not None and isinstance(q, distributions.Binomial):
        return partial(rule, total_count=q.total_count)
    return rule


def known() -> list[str]:
    """Return the parameters that have a rule, such as Normal.loc."""
    return [f"{name}.{path}" for name, rules in RULES.items() if hasattr(distributions, name) for path in rules]
