"""Loops over steps, to count what a step takes on a GPU: integrands with `mg.scan`, distributions and parameters."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import mcgrad as mg

DAYS, STEPS, CUSTOMERS, LONG, LAYERS = 252, 50, 200, 10_000, 1_000


@dataclass(frozen=True)
class LoopProblem:
    """grad of E_{z ~ q} f(z, **params) with respect to all params; f runs a loop of some steps."""

    name: str
    f: Callable[..., Any]
    distribution: Any
    params: dict[str, Any]
    steps: int
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def wrt(self):
        """What the gradient is in."""
        return tuple(self.params)


def distribution(problem):
    """The q of any problem."""
    if isinstance(problem, LoopProblem):
        return problem.distribution
    return mg.MultivariateNormal(**problem.q) if "scale_tril" in problem.q else mg.Normal(**problem.q)


def asian_call(z, spot, vol):
    """Value, delta and vega of an option on the mean price."""

    def step(s, x):
        s = s * np.exp(vol * x / np.sqrt(DAYS) - 0.5 * vol**2 / DAYS)
        return s, s

    _, mean = mg.scan(step, spot, z, reduce="mean")
    return np.maximum(mean - 100.0, 0.0)


def heston_call(z, spot, rate, kappa, theta, xi, rho):
    """A call under a stochastic variance, by Euler's scheme with full truncation, and six Greeks."""
    dt = 1.0 / STEPS

    def step(state, x):
        s, v = state
        w, u = x
        positive = np.maximum(v, 0.0)
        root = np.sqrt(positive * dt)
        s = s + (rate - 0.5 * positive) * dt + root * w
        v = v + kappa * (theta - positive) * dt + xi * root * (rho * w + np.sqrt(1.0 - rho**2) * u)
        return (s, v), None

    (s, _), _ = mg.scan(step, (np.log(spot), theta), (z[:, 0], z[:, 1]))
    return np.exp(-rate) * np.maximum(np.exp(s) - 100.0, 0.0)


def last_wait(z, arrivals, services):
    """Lindley's recursion."""

    def step(wait, x):
        gap, service = x
        return np.maximum(wait + service / services - gap / arrivals, 0.0), None

    return mg.scan(step, 0.0, (z["gap"], z["service"]))[0]


def double_well(z, height, noise):
    """A particle in the potential height (x^2 - 1)^2, by Euler's scheme."""
    h = 0.01

    def step(x, w):
        return x - h * 4.0 * height * x * (x**2 - 1.0) + noise * np.sqrt(h) * w, None

    x, _ = mg.scan(step, -1.0, z)
    return x**2


def neural_path(z, a):
    """A drift and a diffusion of ten parameters, the mean square along the path: differentiated in reverse."""

    def step(x, w):
        drift = a[0] * x + a[1] * np.sin(a[2] * x) + a[3] * np.exp(-a[4] * x**2) + a[5]
        diffusion = a[6] + a[7] / (1.0 + a[8] * x**2)
        return x + 0.02 * drift + 0.1 * diffusion * w + 0.001 * a[9], x**2

    last, mean = mg.scan(step, 0.5, z, reduce="mean")
    return last + mean


def loop_problems():
    """The loops, by name."""
    ones = np.ones(CUSTOMERS)
    waits = mg.Joint(gap=mg.Exponential(ones), service=mg.Exponential(ones))
    heston = {"spot": 100.0, "rate": 0.03, "kappa": 2.0, "theta": 0.04, "xi": 0.3, "rho": -0.7}
    weights = np.array([-1.0, 0.3, 0.5, 0.2, 0.1, 0.05, 0.4, 0.3, 0.2, 0.1])
    found = [
        LoopProblem("scan_asian", asian_call, _normals(DAYS), {"spot": 100.0, "vol": 0.2}, DAYS),
        LoopProblem("scan_heston", heston_call, _normals((STEPS, 2)), heston, STEPS),
        LoopProblem("scan_queue", last_wait, waits, {"arrivals": 0.5, "services": 1.0}, CUSTOMERS),
        LoopProblem("scan_well", double_well, _normals(LONG), {"height": 1.0, "noise": 0.7}, LONG),
        LoopProblem("scan_reverse", neural_path, _normals(LAYERS), {"a": weights}, LAYERS),
    ]
    return {problem.name: problem for problem in found}


def _normals(shape):
    return mg.Normal(np.zeros(shape), 1.0)
