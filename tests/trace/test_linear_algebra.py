"""Matrices of traced values: residuals, pivots, what has no factorisation, and expectations with closed forms."""

from __future__ import annotations

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.ir import build
from mcgrad.ir.interpret import interpret
from mcgrad.ir.program import Output, Program
from mcgrad.simplify.fixed_point import simplify
from mcgrad.trace.trace import trace

RNG = np.random.default_rng(11)


def at(f, *arrays):
    leaves = [build.input_(f"x{i}", np.shape(x)) for i, x in enumerate(arrays)]
    values = {leaf: np.asarray(x, float)[..., None] for leaf, x in zip(leaves, arrays, strict=True)}
    return interpret([trace(f, tuple(leaves), {})], values, "float64")[0][..., 0]


@pytest.mark.parametrize("n", [2, 4, 6, 13, 30])
def test_residuals_are_those_of_a_stable_method(n: int):
    a, b = RNG.normal(size=(n, n)), RNG.normal(size=n)
    a[:, 0] *= 1e-9  # without pivots the first column would ruin all digits
    x = at(np.linalg.solve, a, b)
    assert np.linalg.norm(a @ x - b) < 1e-13 * n * np.linalg.norm(a) * np.linalg.norm(x)
    s = a @ a.T + np.eye(n)
    tril = at(np.linalg.cholesky, s)
    assert np.linalg.norm(tril @ tril.T - s) < 1e-15 * n * np.linalg.norm(s)
    assert np.all(tril[np.triu_indices(n, 1)] == 0)
    np.testing.assert_allclose(at(lambda x: np.linalg.slogdet(x).logabsdet, s), np.linalg.slogdet(s)[1], rtol=1e-10)


@pytest.mark.parametrize("n", [2, 3, 5, 7])
def test_a_permutation_needs_its_pivots(n: int):
    p = np.eye(n)[RNG.permutation(n)]
    np.testing.assert_array_equal(at(np.linalg.inv, p), p.T)
    np.testing.assert_allclose(at(np.linalg.det, p), np.linalg.det(p))
    np.testing.assert_allclose(at(lambda x: np.linalg.slogdet(x)[0], p), np.linalg.slogdet(p)[0])


@pytest.mark.parametrize("n", [2, 3, 5, 7])
def test_singular_matrices(n: int):
    a = np.ones((n, n))
    assert at(np.linalg.det, a) == 0
    assert at(lambda x: np.linalg.slogdet(x).logabsdet, a) == -np.inf
    assert at(lambda x: np.linalg.slogdet(x).sign, a) == 0
    assert not np.isfinite(at(np.linalg.solve, a, np.arange(n))).all()
    assert np.isnan(at(np.linalg.cholesky, -a)).any()


@pytest.mark.parametrize("shape", [(0, 0), (2, 0, 0), (0, 3, 3)])
def test_empty_matrices(shape):
    a = np.zeros(shape)
    for f in (np.linalg.cholesky, np.linalg.inv, np.linalg.det):
        np.testing.assert_array_equal(at(f, a), f(a))


def test_shapes_that_numpy_refuses():
    for f in (np.linalg.cholesky, np.linalg.inv, np.linalg.det, np.linalg.slogdet):
        for shape in ((3,), (2, 3)):
            with pytest.raises(np.linalg.LinAlgError) as expected:
                f(np.zeros(shape))
            with pytest.raises(np.linalg.LinAlgError, match=str(expected.value)[-20:]):
                at(f, np.zeros(shape))
    with pytest.raises(ValueError, match="do not match"):
        at(np.linalg.solve, np.eye(3), np.ones(2))


@pytest.mark.parametrize("f", [np.linalg.cholesky, np.linalg.inv, np.linalg.slogdet, np.linalg.eigvalsh])
def test_equations_do_not_grow_with_the_rows(f):
    sizes = []
    for n in (12, 48):
        z = build.noise(0, "normal", (n, n))
        result = trace(lambda x: f(x)[-1], (z,), {})
        sizes.append(len(simplify(Program((Output("value", result),), "float64")).body()))
    assert sizes[0] == sizes[1] < 250


def test_not_positive_definite_is_counted():
    def f(z):
        return np.sum(np.linalg.cholesky(np.array([[1.0, z], [z, 1.0]])))

    e = mg.estimate(f, mg.Uniform(-1.25, 1.25), n=4000, seed=1, backend="numpy")
    assert abs(e.nonfinite / 4000 - 0.2) < 5 * np.sqrt(0.2 * 0.8 / 4000)


def test_the_volume_of_a_random_parallelepiped():
    """E det(Z)^2 = n! sigma^(2n) for a matrix of independent normals of deviation sigma."""
    e = mg.estimate(lambda z: np.linalg.det(z) ** 2, mg.Normal(np.zeros((3, 3)), 1.1), n=40_000, seed=3)
    want = 6 * 1.1**6
    assert abs(e.value - want) < 5 * e.stderr
    assert abs(e.grad["scale"] - 6 * want / 1.1) < 5 * e.grad_stderr["scale"]


def test_a_gaussian_process_on_both_backends():
    """The log density of data whose kernel's length is drawn, against the formula by determinant and inverse."""
    t, y = np.linspace(0, 1, 3), np.sin(np.arange(3.0))

    def f(length, noise):
        k = np.exp(-0.5 * ((t[:, None] - t) / length) ** 2) + noise * np.eye(3)
        tril = np.linalg.cholesky(k)
        w = np.linalg.solve(k, y)
        return -0.5 * y @ w - np.sum(np.log(np.diagonal(tril)))

    def by_formula(length, noise):
        k = np.exp(-0.5 * ((t[:, None] - t) / length) ** 2) + noise * np.eye(3)
        inverse = np.linalg.inv(k)
        slope = 0.5 * (y @ inverse @ inverse @ y - np.trace(inverse))
        return -0.5 * y @ inverse @ y - 0.5 * np.linalg.slogdet(k)[1], slope

    given = {"params": {"noise": 0.3}, "wrt": ["noise", "loc"], "n": 64, "seed": 4, "dtype": "float64"}
    reference, compiled = (mg.estimate(f, mg.LogNormal(-1.0, 0.2), backend=name, **given) for name in ("numpy", "cpu"))
    np.testing.assert_allclose(compiled.value, reference.value, rtol=1e-10)
    for name in ("noise", "loc"):
        np.testing.assert_allclose(compiled.grad[name], reference.grad[name], rtol=1e-9)
    value, slope = by_formula(0.35, 0.3)
    one = mg.estimate(f, mg.Normal(0.35, 1e-12), backend="numpy", **given)
    np.testing.assert_allclose([one.value, one.grad["noise"]], [value, slope], rtol=1e-8)


@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize("n", [3, 4, 6])
def test_the_derivative_of_a_determinant_that_is_zero_is_that_of_its_minors_or_not_a_number(n: int, drawn: bool):
    rng = np.random.default_rng(n)
    of_column, of_last = rng.normal(size=(2, n, n))
    of_column[:, 0] = 0.0  # the first pivot is zero
    of_last[-1] = of_last[0]  # the last pivot is
    q = mg.Normal(np.zeros(1), 1.0)
    for a in (of_column, of_last):
        e = mg.estimate(
            lambda z, a: np.linalg.det(a + 0 * z[0] if drawn else a) + 0 * z[0],
            *(q, 128),
            params={"a": a},
            backend="numpy",
        )
        minors = np.array(
            [[(-1) ** (i + j) * np.linalg.det(np.delete(np.delete(a, i, 0), j, 1)) for j in range(n)] for i in range(n)]
        )
        assert abs(e.value) < 1e-14
        if n > 3 and drawn and a is of_column:
            assert np.isnan(e.grad["a"][:, 0]).all()  # the other minors have the zero column
        else:
            np.testing.assert_allclose(e.grad["a"], minors, atol=1e-12)
