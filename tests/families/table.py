"""The table of families, exact moments and their gradients, and what rows are made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special as sc

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
TRIL = np.array([[0.7, 0.0, 0.0], [-0.4, 1.3, 0.0], [0.2, 0.9, 0.5]])
