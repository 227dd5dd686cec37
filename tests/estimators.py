"""Compiled estimators that several tests share: one for every kind of step that a kernel is made of."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

import mcgrad as mg

RNG = np.random.default_rng(5)
X = RNG.standard_normal((40, 7))
Y = (RNG.random(40) < 0.4).astype(float)
TRIL = np.tril(RNG.standard_normal((12, 12)) / 12, -1) + np.diag(np.linspace(0.5, 1.0, 12))


def wave(z: Any) -> Any:
    return np.sin(z) * np.exp(-(z**2) / 10)


def rosenbrock(z: Any) -> Any:
    return -np.sum((z[1:] - z[:-1] ** 2) ** 2 + 0.01 * (1 - z[:-1]) ** 2)


def log_joint(z: Any, *, tau: Any, X: Any, y: Any) -> Any:
    logits = X @ z
    return np.sum(y * logits - np.logaddexp(0, logits)) - 0.5 * tau * np.sum(z**2)


def asian_call(z: Any, *, spot: Any, vol: Any, rate: Any) -> Any:
    dt = 1 / len(z)
    path = spot * np.exp(np.cumsum((rate - vol**2 / 2) * dt + vol * np.sqrt(dt) * z))
    return np.exp(-rate) * np.maximum(np.mean(path) - 100.0, 0)


def ripple(z: Any) -> Any:
    return np.sum(-0.5 * z**2 + 0.1 * np.cos(z))


PROBLEMS: dict[str, dict[str, Any]] = {
    "scalar": {"f": wave, "q": mg.Normal(0.3, 1.2)},
    "vector": {"f": rosenbrock, "q": mg.Normal(np.linspace(-0.5, 0.5, 10), np.linspace(0.3, 0.8, 10))},
    "product": {
        "f": log_joint,
        "q": mg.Normal(np.linspace(-0.3, 0.3, 7), np.linspace(0.1, 0.4, 7)),
        "params": {"tau": 1.0},
        "data": {"X": X, "y": Y},
    },
    "scan": {
        "f": asian_call,
        "q": mg.Normal(np.zeros(20), np.ones(20)),
        "params": {"spot": 100.0, "vol": 0.2, "rate": 0.05},
        "wrt": ("spot", "vol", "rate"),
    },
    "outer": {"f": ripple, "q": mg.MultivariateNormal(np.linspace(-1, 1, 12), TRIL)},
}
KINDS = [("scalar", "float32"), ("scalar", "float64"), ("vector", "float32"), ("product", "float64"),
         ("scan", "float32"), ("outer", "float64")]  # fmt: skip


@cache
def estimator(name: str, dtype: str = "float64", backend: str = "cpu", threads: int = 2) -> mg.Estimator:
    """Return the estimator of a problem, compiled once in a session."""
    return mg.Estimator(**PROBLEMS[name], dtype=dtype, backend=backend, threads=threads)
