"""What cannot be traced yet is refused with the call, the line and what to write instead, which is right."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import scipy.special as sc

from mcgrad.errors import TraceError
from mcgrad.ir import build
from mcgrad.trace.array_functions import FUNCTIONS, resolve
from mcgrad.trace.remedies import FUNCTIONS as REMEDIES
from mcgrad.trace.scipy_special import FUNCTIONS as SPECIAL_FUNCTIONS, UFUNCS as SPECIAL_UFUNCS
from mcgrad.trace.trace import trace
from mcgrad.trace.ufuncs import UFUNCS

X = np.linspace(-2.0, 2.0, 3)
GRID = np.arange(3.0)
LATER = [  # the call, and words of the remedy
    (lambda z: np.argpartition(z, 1), "np.argpartition", "np.argsort"),
    (lambda z: z.argpartition(1), ".argpartition", "np.argsort"),
    (lambda z: z.sort(), ".sort", "np.sort"),
    (lambda z: np.nanmedian(z), "np.nanmedian", "np.median"),
    (lambda z: np.quantile(z, 0.1, method="weibull"), "np.quantile with method='weibull'", "midpoint"),
    (lambda z: np.nanargmin(z), "np.nanargmin", "np.argmin"),
    (lambda z: np.round(z), "np.round", "np.floor(z + 0.5)"),
    (lambda z: z.round(), ".round", "np.floor(z + 0.5)"),
    (lambda z: np.rint(z), "np.rint", "np.floor(z + 0.5)"),
    (lambda z: sc.gamma(z), "scipy.special.gamma", "np.exp(scipy.special.gammaln(z))"),
    (lambda z: sc.erfinv(z), "scipy.special.erfinv", "scipy.special.ndtri"),
    (lambda z: np.linalg.eigvals(np.outer(z, z)), "np.linalg.eigvals", "np.linalg.eigvalsh"),
    (lambda z: np.linalg.qr(np.outer(z, z)), "np.linalg.qr", "np.linalg.cholesky(x.T @ x).T"),
    (lambda z: np.linalg.pinv(np.outer(z, z)), "np.linalg.pinv", "np.linalg.solve(a.T @ a, a.T @ b)"),
    (lambda z: np.linspace(z[0], z[1], 4), "np.linspace", "np.linspace(0.0, 1.0, n)"),
    (lambda z: np.histogram(z), "np.histogram", "each bin"),
    (lambda z: np.correlate(z, X), "np.correlate", "np.convolve"),
    (lambda z: np.isclose(z, X), "np.isclose", "np.abs"),
    (lambda z: np.cov(z[:, None]), "np.cov", "center"),
    (lambda z: np.gradient(z), "np.gradient", "np.diff"),
    (lambda z: np.insert(z, 0, 1.0), "np.insert", "np.concatenate"),
    (lambda z: np.apply_along_axis(np.sum, 0, z), "np.apply_along_axis", "np.stack"),
    (lambda z: np.nansum(z), "np.nansum", "np.where"),
    (lambda z: np.fft.fft(z), "np.fft.fft", "matrix of sines"),
]


@pytest.mark.parametrize(("f", "call", "remedy"), LATER, ids=[call for _, call, _ in LATER])
def test_refused_with_what_to_write_instead(f, call, remedy):
    with pytest.raises(TraceError) as caught:
        trace(f, (build.noise(0, "normal", (3,)),), {})
    assert call in caught.value.message
    assert remedy in caught.value.message
    assert "not among the supported" not in caught.value.message
    assert (caught.value.filename, call.rpartition(".")[2].partition("(")[0] in caught.value.line) == (__file__, True)


def test_the_table_names_what_exists_and_is_not_supported():
    supported = {*(name.rpartition(".")[2] for name in FUNCTIONS), *UFUNCS, *SPECIAL_FUNCTIONS, *SPECIAL_UFUNCS}
    gone = {"round_", "softplus"}  # of older NumPy, and of newer SciPy
    missing = []
    for name in REMEDIES:
        places = (resolve(name), resolve(f"linalg.{name}"), resolve(f"fft.{name}"), getattr(sc, name, None))
        if all(place is None for place in places) and name not in gone:
            missing.append(name)
    assert missing == []
    assert sorted(supported & (REMEDIES.keys() - {"log1p"})) == []


def test_remedies_call_only_what_is_supported():
    supported = {*FUNCTIONS, *UFUNCS}
    named = {name for text in REMEDIES.values() for name in re.findall(r"\bnp\.(\w+)\(", text)}
    assert named - supported - {"abs", "arange", "linspace"} == set()


def test_remedies_are_right():
    rng = np.random.default_rng(0)
    a, b, x = rng.normal(size=(3, 3))
    rows = rng.normal(size=(2, 9))
    centered = rows - rows.mean(1, keepdims=True)
    np.testing.assert_allclose(centered @ centered.T / 8, np.cov(rows))
    y = rng.normal(size=9)
    for size, mode in itertools.product(range(1, 10), ("full", "same", "valid")):
        w = rng.normal(size=size)
        np.testing.assert_allclose(np.convolve(y, w[::-1], mode), np.correlate(y, w, mode))
    np.testing.assert_allclose((y[2:] - y[:-2]) / 2, np.gradient(y)[1:-1])
    np.testing.assert_allclose(a[0] + (b[0] - a[0]) * np.linspace(0.0, 1.0, 5), np.linspace(a[0], b[0], 5))
    u = np.array([0.3, -0.7])
    np.testing.assert_allclose(sc.ndtri((u + 1) / 2) / np.sqrt(2), sc.erfinv(u))
    np.testing.assert_allclose(-sc.ndtri((1 - u) / 2) / np.sqrt(2), sc.erfcinv(1 - u))
    np.testing.assert_allclose(np.exp(sc.gammaln(2.5)), sc.gamma(2.5))
    np.testing.assert_allclose(np.where(np.abs(x) <= 0.5, x**2 / 2, 0.5 * (np.abs(x) - 0.25)), sc.huber(0.5, x))
    np.testing.assert_allclose(np.expm1(x) / x, sc.exprel(x))
