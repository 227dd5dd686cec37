"""Expectations with closed forms: value and gradient, every distribution and every way to hold parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import mcgrad as mg


@dataclass(frozen=True)
class ClosedForm:
    """E f(z, **params, **data), z ~ q, is `value`; its gradient is `grad`."""

    name: str
    q: mg.Distribution
    f: Callable[..., Any]
    value: float
    grad: dict[str, Any]
    params: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)


def _normal_exp() -> ClosedForm:
    a, loc, scale = 0.7, 0.3, 0.8
    value = math.exp(a * loc + 0.5 * (a * scale) ** 2)
    grad = {"loc": a * value, "scale": a**2 * scale * value, "a": value * (loc + a * scale**2)}
    return ClosedForm("normal_exp", mg.Normal(loc, scale), lambda z, *, a: np.exp(a * z), value, grad, {"a": a})


def _normal_sin() -> ClosedForm:
    loc, scale = 0.3, 1.2
    damping = math.exp(-(scale**2) / 2)
    grad = {"loc": damping * math.cos(loc), "scale": -scale * damping * math.sin(loc)}
    return ClosedForm("normal_sin", mg.Normal(loc, scale), np.sin, damping * math.sin(loc), grad)


def _normal_square() -> ClosedForm:
    loc, scale = np.array([0.5, -1.0, 2.0]), 0.6
    w = np.array([[1.0, 2.0, 0.5], [0.0, 1.0, -1.0]])
    value = float(np.sum(w * (loc**2 + scale**2)))
    grad = {"loc": 2 * w.sum(0) * loc, "scale": 2 * scale * w.sum()}
    return ClosedForm(
        "normal_square", mg.Normal(loc, scale), lambda z, *, w: np.sum(w * z**2), value, grad, data={"w": w}
    )


def _normal_matrix() -> ClosedForm:
    loc, scale = np.linspace(-1, 1, 6).reshape(2, 3), np.array([[0.5], [1.0]])
    value = float(np.sum(loc[0] * loc[1]))
    grad = {"loc": loc[::-1], "scale": np.zeros((2, 1))}
    return ClosedForm("normal_matrix", mg.Normal(loc, scale), lambda z: z[0] @ z[1], value, grad)


def _lognormal() -> ClosedForm:
    loc, scale = np.array([0.2, -0.3]), np.array([0.3, 0.4])
    means = np.exp(2 * loc + 2 * scale**2)
    grad = {"loc": 2 * means, "scale": 4 * scale * means}
    return ClosedForm("lognormal", mg.LogNormal(loc, scale), lambda z: np.sum(z**2), means.sum(), grad)


def _uniform() -> ClosedForm:
    low, high = np.array([-1.0, 0.5]), np.array([2.0, 0.75])
    grad = {"low": (high + 2 * low) / 3, "high": (2 * high + low) / 3}
    value = float(np.sum(high**2 + high * low + low**2) / 3)
    return ClosedForm("uniform", mg.Uniform(low, high), lambda z: np.sum(np.square(z)), value, grad)


def _multivariate(d: int) -> ClosedForm:
    rng = np.random.default_rng(d)
    loc, a = rng.standard_normal(d), rng.standard_normal((d, d))
    tril = np.tril(rng.standard_normal((d, d)) / d, -1) + np.diag(np.linspace(0.5, 1.0, d))
    value = float(np.trace(a @ tril @ tril.T) + loc @ a @ loc)
    grad = {"loc": (a + a.T) @ loc, "scale_tril": np.tril((a + a.T) @ tril)}
    return ClosedForm(
        f"multivariate{d}", mg.MultivariateNormal(loc, tril), lambda z, *, A: z @ A @ z, value, grad, data={"A": a}
    )


def _sinh() -> ClosedForm:
    a, b = 0.1, 0.5
    q = mg.Reparameterized(lambda eps, *, a, b: np.sinh(a + b * eps), params={"a": a, "b": b}, noise=mg.noise.normal())
    growth = math.exp(b**2 / 2)
    grad = {"a": math.cosh(a) * growth, "b": b * math.sinh(a) * growth}
    return ClosedForm("sinh", q, lambda z: z, math.sinh(a) * growth, grad)


def _exponential() -> ClosedForm:
    rate = np.array([0.5, 2.0])
    q = mg.Reparameterized(lambda u, *, rate: -np.log(u) / rate, params={"rate": rate}, noise=mg.noise.uniform(2))
    return ClosedForm("exponential", q, np.sum, float(np.sum(1 / rate)), {"rate": -1 / rate**2})


def _geometric_brownian() -> ClosedForm:
    """The mean over time of a price's expectation; volatility changes nothing in it."""
    steps, spot, vol, rate = 24, 100.0, 0.2, 0.05
    times = np.arange(1, steps + 1) / steps

    def f(z: Any, *, spot: Any, vol: Any, rate: Any) -> Any:
        return np.mean(spot * np.exp(np.cumsum((rate - vol**2 / 2) / steps + vol * np.sqrt(1 / steps) * z)))

    means = spot * np.exp(rate * times)
    zero = {"loc": np.full(steps, 0.0), "scale": np.full(steps, 0.0)}
    for k in range(
        steps
    ):  # of step k's noise: loc shifts all later log prices by vol sqrt(dt), scale adds its variance
        zero["loc"][k] = means[k:].sum() / steps * vol * math.sqrt(1 / steps)
        zero["scale"][k] = means[k:].sum() / steps * vol**2 / steps
    grad = {**zero, "spot": means.mean() / spot, "vol": 0.0, "rate": np.mean(times * means)}
    params = {"spot": spot, "vol": vol, "rate": rate}
    return ClosedForm("geometric_brownian", mg.Normal(np.zeros(steps), np.ones(steps)), f, means.mean(), grad, params)


def _hierarchical() -> ClosedForm:
    group, w = np.array([2, 0, 0, 1, 2]), np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    loc, scale = np.array([0.5, -1.0, 1.5]), np.array([0.3, 0.6, 0.9])
    totals = np.bincount(group, w)
    grad = {"loc": 2 * totals * loc, "scale": 2 * totals * scale}
    return ClosedForm(
        "hierarchical", mg.Normal(loc, scale), lambda z, *, group, w: np.sum(w * z[group] ** 2),
        float(totals @ (loc**2 + scale**2)), grad, data={"group": group, "w": w},
    )  # fmt: skip


CLOSED_FORMS = [
    *(_normal_exp(), _normal_sin(), _normal_square(), _normal_matrix(), _lognormal(), _uniform(), _multivariate(3)),
    *(_multivariate(12), _sinh(), _exponential(), _geometric_brownian(), _hierarchical()),
]


def joint(*names: str) -> ClosedForm:
    """Some of them side by side, as parts of one Joint, in pairs of nested Joints; f is the sum."""
    forms = [form for form in CLOSED_FORMS if form.name in names]
    parts: dict[str, dict[str, ClosedForm]] = {}
    for i, form in enumerate(forms):
        parts.setdefault(f"pair{i // 2}", {})[form.name] = form
    q = mg.Joint(**{pair: mg.Joint(**{name: form.q for name, form in two.items()}) for pair, two in parts.items()})
    params = {f"{form.name}_{key}": x for form in forms for key, x in form.params.items()}
    data = {f"{form.name}_{key}": x for form in forms for key, x in form.data.items()}

    def f(z: Any, **given: Any) -> Any:
        return sum(
            form.f(z[pair][name], **{key: given[f"{name}_{key}"] for key in (*form.params, *form.data)})
            for pair, two in parts.items()
            for name, form in two.items()
        )

    grad: dict[str, Any] = {}
    for pair, two in parts.items():
        for name, form in two.items():
            own = {key: g for key, g in form.grad.items() if key not in form.params}
            grad.setdefault(pair, {})[name] = own
            grad |= {f"{name}_{key}": form.grad[key] for key in form.params}
    return ClosedForm("joint", q, f, sum(form.value for form in forms), grad, params, data)
