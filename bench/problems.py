"""The six workloads: an integrand of one draw in plain NumPy, a distribution, parameters, data and a job size."""

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

STRIKE, HORIZON, STEPS = 100.0, 1.0, 252  # of the Asian option: the call's strike, years to expiry, fixings
DATA_FILE = Path(__file__).parent.parent / "examples" / "breast_cancer" / "wdbc.csv"


@dataclass(frozen=True)
class Problem:
    """grad of E_{z ~ q} f(z, **params, **data) with respect to `wrt`."""

    name: str
    f: Callable
    q: dict  # loc and scale (Normal) or loc and scale_tril (MultivariateNormal)
    wrt: tuple[str, ...]
    draws: dict  # dtype -> draws a call, about a tenth of a second of a fast kernel
    params: dict = field(default_factory=dict)
    data: dict = field(default_factory=dict)
    note: str = ""

    @property
    def noise(self):
        """How many normals a draw takes."""
        return int(np.size(self.q["loc"]))

    @property
    def gradients(self):
        """How many numbers the gradient has."""
        sizes = {name: np.size(v) for name, v in (self.q | self.params).items()}
        sizes["scale_tril"] = self.noise * (self.noise + 1) // 2
        return sum(sizes[name] for name in self.wrt)

    def cast(self, dtype):
        """q, params and data as arrays of dtype."""
        return tuple({k: np.asarray(v, dtype) for k, v in part.items()} for part in (self.q, self.params, self.data))


def wave(z):
    return np.sin(z) * np.exp(-(z**2) / 10)


def rosenbrock(z):
    return -np.sum((z[1:] - z[:-1] ** 2) ** 2 + 0.01 * (1 - z[:-1]) ** 2)


def log_joint(z, tau, X, y):
    logits = X @ z
    return np.sum(y * logits - np.logaddexp(0, logits)) - 0.5 * tau * np.sum(z**2)


def asian_call(z, spot, vol, rate):
    dt = HORIZON / STEPS
    path = spot * np.exp(np.cumsum((rate - vol**2 / 2) * dt + vol * np.sqrt(dt) * z))
    return np.exp(-rate * HORIZON) * np.maximum(np.mean(path) - STRIKE, 0)


def ripple(z):
    return np.sum(-0.5 * z**2 + 0.1 * np.cos(z))


def chain(d, draws):
    q = {"loc": np.linspace(-0.5, 0.5, d), "scale": np.linspace(0.3, 0.8, d)}
    return Problem(f"chain{d}" if d > 10 else f"rosenbrock{d}", rosenbrock, q, ("loc", "scale"), draws)


def breast_cancer():
    """X (569 x 31, standardised, an intercept first) and y; random numbers of that shape where the file is missing."""
    if not DATA_FILE.exists():
        rng = np.random.default_rng(0)
        X = np.column_stack([np.ones(569), rng.standard_normal((569, 30))])
        return X, (rng.random(569) < 0.37).astype(float), "random stand-in for the breast cancer data"
    with DATA_FILE.open(newline="") as file:
        rows = [row for row in csv.reader(file) if row and not row[0].startswith("#")]
    label = rows[0].index("diagnosis")
    y = np.array([row[label] in ("M", "1", "malignant") for row in rows[1:]], float)
    X = np.array([row[:label] + row[label + 1 :] for row in rows[1:]], float)[:, -30:]
    X = (X - X.mean(0)) / X.std(0)
    return np.column_stack([np.ones(len(X)), X]), y, ""


def logistic():
    X, y, note = breast_cancer()
    q = {"loc": np.linspace(-0.3, 0.3, 31), "scale": np.linspace(0.1, 0.4, 31)}
    draws = {"float32": 2**17, "float64": 2**16}
    return Problem("logistic", log_joint, q, ("loc", "scale", "tau"), draws, {"tau": 1.0}, {"X": X, "y": y}, note)


def asian():
    q = {"loc": np.zeros(STEPS), "scale": np.ones(STEPS)}
    params = {"spot": 100.0, "vol": 0.2, "rate": 0.05}
    return Problem("asian", asian_call, q, tuple(params), {"float32": 2**18, "float64": 2**17}, params)


def fullcov(d):
    tril = np.tril(np.random.default_rng(1).standard_normal((d, d)) / d, -1) + np.diag(np.linspace(0.5, 1, d))
    q = {"loc": np.linspace(-1, 1, d), "scale_tril": tril}
    return Problem(f"fullcov{d}", ripple, q, ("loc", "scale_tril"), {"float32": 2**19, "float64": 2**18})


def problems():
    """The workloads by name."""
    scalar = Problem("scalar", wave, {"loc": 0.3, "scale": 1.2}, ("loc", "scale"), {"float32": 2**26, "float64": 2**25})
    every = (
        scalar,
        chain(10, {"float32": 2**23, "float64": 2**22}),
        chain(100, {"float32": 2**20, "float64": 2**19}),
        logistic(),
        asian(),
        fullcov(50),
    )
    return {p.name: p for p in every}
