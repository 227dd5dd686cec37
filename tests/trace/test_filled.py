"""Arrays that f makes by np.empty and the like, and fills with traced values: what NumPy makes of them."""

import copy

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.errors import TraceError
from mcgrad.ir import build
from mcgrad.ir.interpret import Interpreter
from mcgrad.trace.trace import trace

Z = np.array([0.3, -1.2, 0.7])


def traced(f):
    """What a traced function makes of Z."""
    z = build.noise(0, "normal", Z.shape)
    result = trace(f, (z,), {})
    (value,) = Interpreter([result])({z: Z[:, None]})
    return value[..., 0]


def path(z):
    p = np.empty(4)
    p[0] = 1.0
    for t in range(3):
        p[t + 1] = p[t] * np.exp(z[t])
    return p.mean() + p[-1] * len(p) + sum(x for x in p)


def matrix(z):
    a = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            a[i, j] = z[i] * z[j] + (i == j)
    a[1] += z
    a[:, 2] *= 2.0
    return a.T @ z + a[0] + np.linalg.det(a) + a.sum(axis=0)


def total(z):
    t = np.zeros(3)
    t += z
    t -= 2.0
    u = np.add(t, z, out=t)
    return t * u


def likes(z):
    a, b, c = np.zeros_like(z), np.full_like(z, 2.0), np.ones(3)
    a[1:] = z[:2]
    b[z > 0.0] = 0.0
    c[0] = z[2]
    d = c.copy()
    d[1] = z[1]
    e = copy.deepcopy(d)
    e[2] = 5.0
    return np.stack([a, b, c, d, e]) + np.array([a, c][1])


def numbers(z):
    """Without traced values it is an array of NumPy's: it may be a size, and an index, and be changed."""
    a = np.zeros(3)
    a[1] = 2.0
    a += 1.0
    np.copyto(a[:1], 4.0)
    n = int(a[1])
    return z[: n - 1] * a[:2] + a.shape[0] + np.arange(n)[:2] + float(a.max()) + a.reshape(3, 1)[0, 0]


def parts(z):
    """Rows and slices are written to before the array itself is, in place, through one another, and by traced index."""
    a, b, c = np.zeros((2, 3)), np.ones((3, 4)), np.zeros((2, 2, 2))
    first = a[0]
    a[:, 1:] += z[:2]
    a[1][0] = z[2]
    first[1] *= 3.0
    a[0] -= 1.0
    for i, row in enumerate(b):
        row[i] = z[i]
    tail = b[1:, 1:]
    tail[0] += z
    tail *= 2.0
    b[2][np.where(z[0] > 0.0, 1, 2)] = 7.0
    c[0][1][0] = z[1]
    c[1, :][:, 1] = z[:2]
    return np.concatenate([a.ravel(), first, b.ravel(), tail.ravel(), c.ravel(), 2.0 * first])


def rows_of_a_draw(z):
    """Of arrays that are traced from the beginning, too."""
    a = np.outer(z, z)
    a[0][1] = 5.0
    row = a[1]
    row[:2] = z[1:]
    row[2] += 1.0
    return a @ z + row


@pytest.mark.parametrize("f", [path, matrix, total, likes, numbers, parts, rows_of_a_draw], ids=lambda f: f.__name__)
def test_values_are_those_of_numpy(f):
    np.testing.assert_allclose(traced(f), f(Z.copy()), rtol=1e-12)


def test_what_is_reshaped_is_not_filled():
    """It does not follow: it may not be written, and what it shows of the array after that is NaN."""

    def through(z):
        a = np.zeros((2, 3))
        a.reshape(3, 2)[1] = z[0]
        return a

    with pytest.raises(TraceError, match="storing a traced value in a NumPy array"):
        traced(through)

    def stale(z):
        a = np.zeros((2, 2))
        flat = a.ravel()
        a[0] = z[0]
        return flat[:3] + z

    assert np.isnan(traced(stale)).all()


def test_results_and_arguments():
    """It is a value as others: as what f returns, in a dict, and as what scan begins with."""

    def f(z):
        a = np.empty(2)
        a[0], a[1] = z[0], z[1]
        last, _ = mg.scan(lambda c, x: (0.5 * c + x, None), a, z)
        return {"a": a, "last": last}

    est = mg.estimate(f, mg.Normal(Z, 1e-9), 4, backend="numpy", dtype="float64", seed=0)
    np.testing.assert_allclose(est.value["a"], Z[:2], atol=1e-7)
    np.testing.assert_allclose(est.value["last"], f(Z)["last"], atol=1e-7)
