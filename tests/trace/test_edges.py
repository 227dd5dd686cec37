"""Values at the edge of a function's domain, and arrays without elements, are NumPy's and SciPy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special as sc

from mcgrad.ir import build
from mcgrad.ir.interpret import interpret
from mcgrad.trace.trace import trace

NAN, INF = np.nan, np.inf


def traced(function: Callable[..., Any], *args: Any) -> np.ndarray[Any, Any]:
    arrays = [np.asarray(x, float) for x in args]
    leaves = [build.noise(i, "normal", x.shape) for i, x in enumerate(arrays)]
    values = {leaf: x[..., None] for leaf, x in zip(leaves, arrays, strict=True)}
    return interpret([trace(function, tuple(leaves), {})], values, "float64")[0][..., 0]


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (sc.xlogy, ([0, 0, 0, 0, 1, 0], [0, -1, INF, NAN, 0, 1])),
        (lambda y: sc.xlogy([0.0, 1.0, 0.0], y), ([0, 0, NAN],)),
        (sc.xlog1py, ([0, 0, 0, 0, 1, 0], [-1, -2, INF, NAN, -1, 1])),
        (sc.entr, ([0, -1, 1, NAN],)),
        (sc.logit, ([0, 1, 0.5],)),
        (sc.log_expit, ([-800, 800, 0],)),
        (sc.logsumexp, ([-INF, -INF],)),
        (sc.logsumexp, ([INF, 0],)),
        (sc.logsumexp, ([1e308, 1e308],)),
        (sc.logsumexp, ([-1e5, -1e5 - 1],)),
        (sc.softmax, ([-INF, 0, 1],)),
        (sc.log_softmax, ([1000, 0, -1000],)),
        (np.sinc, ([0, 1],)),
        (np.fmax, ([NAN, 1, NAN], [1, NAN, NAN])),
        (np.fmin, ([NAN, 1, NAN], [1, NAN, NAN])),
        (np.maximum, ([NAN, 1], [1, NAN])),
        (lambda x: np.heaviside(x, 0.5), ([-1, 0, 1, NAN, INF],)),
        (lambda x: np.clip(x, 0, 1), ([NAN, -INF, INF],)),
        (lambda x: np.isinf(x) | np.isnan(x), ([NAN, -INF, 0],)),
        (lambda x: x**INF, ([-2, -0.5, 0, 0.5, 1, 2, INF, NAN],)),
        (lambda x: x**-INF, ([-2, -0.5, 0, 0.5, 1, 2, INF, NAN],)),
        (lambda x: x**NAN, ([0, 0.5, 1, INF, NAN],)),
        (lambda x: x % 3, ([-4, -3, 0, 4],)),
        (lambda x: x // 3, ([-4, -3, 0, 4],)),
        (lambda x: np.sum(x[:0]) + np.prod(x[:0]), ([1, 2],)),
        (lambda x: np.diff(x[:0]), ([1, 2],)),
        (lambda x: np.cumsum(x[:0]), ([1, 2],)),
        (lambda x: np.concatenate([x[:0], x[2:]]), ([1, 2],)),
        (lambda x: np.split(x, [0])[0], ([1, 2],)),
        (lambda x: x[:, :0] @ x[:0], ([[1, 2], [3, 4]],)),
        (lambda x: x[0, :0] @ x[0, :0], ([[1, 2], [3, 4]],)),
        (lambda x: np.pad(x[:0], 2), ([1, 2],)),
        (lambda x: np.roll(x[:0], 1), ([1, 2],)),
        (lambda x: np.any(x[:0]) | np.all(x[:0]), ([1, 2],)),
    ],
)
def test_equals_numpy(function: Callable[..., Any], args: Any):
    with np.errstate(all="ignore"):
        expected = np.asarray(function(*(np.asarray(x, float) for x in args)))
    found = traced(function, *args)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("function", [np.max, np.min, lambda x: x.max(0)])
def test_extremes_of_nothing_raise_as_in_numpy(function: Callable[..., Any]):
    with pytest.raises(ValueError, match="zero-size array"):
        function(np.zeros(0))
    with pytest.raises(ValueError, match="zero-size array"):
        traced(function, np.zeros(0))
