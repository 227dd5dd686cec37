"""Matrices of more than a few rows: loops mean what NumPy means, in either dtype, and what they are used for."""

from __future__ import annotations

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.differentiate.modes import forward, reverse
from mcgrad.ir import build
from mcgrad.ir.interpret import interpret
from mcgrad.ir.program import Output, Program, toposort
from mcgrad.simplify.fixed_point import simplify

RNG = np.random.default_rng(5)
DRAWS = 6
OPS = ("cholesky", "det", "cofactors", "slogdet", "solve", "solve_triangular")


def as_loops(var, leaves, dtype):
    """The value of a Var after `simplify` has made loops of its matrices, and before."""
    (output,) = simplify(Program((Output("value", var),), dtype)).outputs
    assert not any(each.op in ("cholesky", "det", "eigvalsh", "solve") for each in toposort([output.var]))
    (after,), (before,) = (interpret([each], leaves, dtype) for each in (output.var, var))
    scale = 1.0 if output.scale is None else interpret([output.scale], {}, dtype)[0]
    return after * scale, before


def of_rows(op, n, batch, dtype):
    """A function of matrices that are far from singular, with pivots anywhere."""
    a = RNG.normal(size=(*batch, n, n, DRAWS)) + 2 * n**0.5 * np.eye(n)[RNG.permutation(n)][..., None]
    if op == "cholesky":
        a = np.einsum("...ijd,...kjd->...ikd", a, a)
    if op == "solve_triangular":
        a = np.tril(a.T).T + 3 * n**0.5 * np.eye(n)[..., None]
    if op in ("det", "cofactors", "slogdet"):
        a /= n**0.5
    x = build.noise(0, "normal", (*batch, n, n))
    leaves = {x: a.astype(dtype)}
    if op not in ("solve", "solve_triangular"):
        return [build.matrices(op, x)], leaves
    b = build.noise(1, "normal", (*batch, n, 2))
    leaves[b] = RNG.normal(size=(*batch, n, 2, DRAWS)).astype(dtype)
    return [build.solve(op, x, b, transposed) for transposed in (False, True)], leaves


@pytest.mark.parametrize(("dtype", "accuracy"), [("float64", 1e-12), ("float32", 5e-4)])
@pytest.mark.parametrize("n", [1, 2, 5, 9, 20, 40])
@pytest.mark.parametrize("op", OPS)
def test_loops_over_rows_are_numpys_functions(op, n, dtype, accuracy):
    for batch in ((), (2,))[: 1 if n > 20 else 2]:
        functions, leaves = of_rows(op, n, batch, dtype)
        for var in functions:
            after, before = as_loops(var, leaves, dtype)
            np.testing.assert_allclose(after, before, rtol=0, atol=accuracy * np.abs(before).max())


def symmetric_matrices(n):
    """Random ones, and those whose eigenvalues are equal, close to each other, or of very different size."""
    b = RNG.normal(size=(n, n))
    orthogonal, steps = np.linalg.qr(b)[0], np.arange(n)
    sizes = 10.0 ** -(steps * 12 / n)
    return [
        b + b.T,
        np.ones((n, n)),
        np.exp(-0.5 * ((steps[:, None] - steps) / 5) ** 2),
        1 / (steps[:, None] + steps + 1),
        np.eye(n, k=1) + np.eye(n, k=-1),
        np.diag(np.abs(steps - n // 2)) + np.eye(n, k=1) + np.eye(n, k=-1),
        (orthogonal * np.sign(np.sin(steps + 0.5))) @ orthogonal.T,
        (orthogonal * (1 + 1e-7 * steps)) @ orthogonal.T,
        np.sqrt(sizes[:, None] * sizes) * (b + b.T),
        np.zeros((n, n)),
        1e15 * (b + b.T),
        1e-15 * (b + b.T),
    ]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [2, 3, 9, 20, 40])
def test_eigenvalues_are_right_to_a_few_units_of_the_largest(n, dtype):
    a = np.stack(symmetric_matrices(n), -1).astype(dtype)
    x = build.noise(0, "normal", (n, n))
    values, _ = as_loops(build.matrices("eigvalsh", x), {x: a}, dtype)
    vectors, _ = as_loops(build.matrices("eigenvectors", x), {x: a}, dtype)
    for i in range(a.shape[-1]):
        matrix, v, w = (each[..., i].astype(float) for each in (a, vectors, values))
        eps = float(np.finfo(dtype).eps)
        unit = eps * max(np.abs(np.linalg.eigvalsh(matrix)).max(), 1e-300)
        assert np.abs(w - np.linalg.eigvalsh(matrix)).max() < (4 + n) * unit
        assert np.abs(v @ np.diag(w) @ v.T - matrix).max() < (8 + n) * unit
        assert np.abs(v.T @ v - np.eye(n)).max() < (8 + n) * eps


def test_qr_steps_are_enough_for_many_matrices():
    b = RNG.normal(size=(12, 12, 4000))
    x = build.noise(0, "normal", (12, 12))
    values, want = as_loops(build.matrices("eigvalsh", x), {x: b + b.transpose(1, 0, 2)}, "float64")
    np.testing.assert_allclose(values, want, rtol=0, atol=1e-12)


def test_what_is_not_finite_gives_no_eigenvalue():
    a = np.stack([np.eye(5)] * 2, -1)
    a[2, 1] = [np.nan, np.inf]
    x = build.noise(0, "normal", (5, 5))
    for op in ("eigvalsh", "eigenvectors"):
        assert np.isnan(as_loops(build.matrices(op, x), {x: a}, "float64")[0]).all()


@pytest.mark.parametrize("mode", [forward, reverse])
def test_second_derivatives(mode):
    """Of log det K, -tr(K^-1 A K^-1 A) along A, by a derivative of a derivative."""
    k, direction = np.cov(RNG.normal(size=(6, 20))) + np.eye(6), np.diag(np.arange(6.0)) + 0.1
    t = build.input_("t", ())
    a = build.apply("add", k, build.apply("multiply", t, direction))
    tril = build.matrices("cholesky", a)
    both = build.matrices("slogdet", a)
    logarithms = {
        "slogdet": build.reduce("sum", build.slice_(both, [(1, 2, 1)]), (0,)),
        "cholesky": build.apply(
            "multiply", build.reduce("sum", build.apply("log", build.take(tril, np.arange(6) * 7)), (0,)), 2.0
        ),
        "eigvalsh": build.reduce("sum", build.apply("log", build.matrices("eigvalsh", a)), (0,)),
        "det": build.apply("log", build.matrices("det", a)),
    }
    inverse = np.linalg.inv(k)
    for name, value in logarithms.items():
        (slope,) = reverse(value, [t])
        (curvature,) = mode(slope, [t])
        first, second = (float(x[0]) for x in interpret([slope, curvature], {t: np.zeros(1)}, "float64"))
        assert first == pytest.approx(np.trace(inverse @ direction), rel=1e-10), name
        assert second == pytest.approx(-np.trace(inverse @ direction @ inverse @ direction), rel=1e-9), name


def test_a_branch_that_is_not_taken_adds_nothing():
    def f(z, *, scale):
        a = np.eye(6) * z * scale  # not positive definite where z < 0
        return np.where(z > 0, np.sum(np.linalg.cholesky(a)), 0.0)

    e = mg.estimate(f, mg.Uniform(-1.0, 1.0), 4000, params={"scale": 2.0}, wrt=["scale"], backend="numpy", seed=2)
    assert e.nonfinite == 0
    assert abs(e.grad["scale"] - e.value / 4) < 1e-9  # of 6 sqrt(scale z), half of it over scale


# --- uses ------------------------------------------------------------------------------------------------------------
def both_backends(f, q, n, **given):
    """The estimate of the compiled loops, which has to be that of the reference."""
    ours, reference = (
        mg.estimate(f, q, n, backend=name, dtype="float64", seed=3, **given) for name in ("cpu", "numpy")
    )
    np.testing.assert_allclose(ours.value, reference.value, rtol=1e-9)
    for name, grad in reference.grad.items():
        np.testing.assert_allclose(ours.grad[name], grad, rtol=1e-7, atol=1e-9 * np.abs(grad).max())
    return ours


def test_the_likelihood_of_a_gaussian_process_of_twenty_points():
    t = np.linspace(0.0, 3.0, 20)
    y = np.sin(2.0 * t)

    def covariance(z, noise):
        return np.exp(-0.5 * ((t[:, None] - t) / z) ** 2) + noise * np.eye(20)

    def f(z, *, noise):
        factor = np.linalg.cholesky(covariance(z, noise))
        white = np.linalg.solve(factor, y)
        return -0.5 * white @ white - np.sum(np.log(np.diagonal(factor)))

    both_backends(f, mg.LogNormal(-0.5, 0.2), 40, params={"noise": 0.1}, wrt=["noise", "loc"])
    one = mg.estimate(f, mg.Normal(0.6, 1e-12), 64, params={"noise": 0.1}, wrt=["noise"], backend="numpy")
    inverse = np.linalg.inv(covariance(0.6, 0.1))
    weights = inverse @ y
    assert one.value == pytest.approx(-0.5 * y @ weights + 0.5 * np.linalg.slogdet(inverse)[1], rel=1e-9)
    assert one.grad["noise"] == pytest.approx(0.5 * (weights @ weights - np.trace(inverse)), rel=1e-8)


@pytest.mark.parametrize("rows", [2, 4])
def test_a_kalman_filter_in_a_loop(rows):
    """The log likelihood of a random walk seen in noise, filtered, is that of all observations as one normal vector."""
    steps, half = 6, rows // 2
    move = np.eye(rows) + np.eye(rows, k=half) * 0.5
    see = np.eye(half, rows)

    def f(z, *, spread):
        def step(carry, x):
            mean, cov = carry
            mean, cov = move @ mean, move @ cov @ move.T + spread * np.eye(rows)
            total = see @ cov @ see.T + 0.3 * np.eye(half)
            miss = x - see @ mean
            gain = np.linalg.solve(total, see @ cov).T
            value = -0.5 * (miss @ np.linalg.solve(total, miss) + np.linalg.slogdet(total)[1])
            return (mean + gain @ miss, cov - gain @ see @ cov), value

        _, found = mg.scan(step, (np.zeros(rows), np.eye(rows)), z.reshape(steps, half), reduce="sum")
        return found

    given = {"params": {"spread": 0.2}, "wrt": ["spread"]}
    z = RNG.normal(size=steps * half)
    found = mg.estimate(f, mg.Normal(z, 1e-12), 64, backend="numpy", **given)

    def by_normal(spread):
        cov, through = np.eye(rows), [np.eye(rows)]
        blocks = np.zeros((steps, steps, half, half))
        states = []
        for _ in range(steps):
            cov = move @ cov @ move.T + spread * np.eye(rows)
            states.append(cov)
            through.append(move @ through[-1])
        for i in range(steps):
            for j in range(i + 1):
                blocks[i, j] = see @ through[i - j] @ states[j] @ see.T
                blocks[j, i] = blocks[i, j].T
        whole = blocks.transpose(0, 2, 1, 3).reshape(steps * half, -1) + 0.3 * np.eye(steps * half)
        return -0.5 * (z @ np.linalg.solve(whole, z) + np.linalg.slogdet(whole)[1])

    assert found.value == pytest.approx(by_normal(0.2), rel=1e-8)
    assert found.grad["spread"] == pytest.approx((by_normal(0.2001) - by_normal(0.1999)) / 2e-4, rel=1e-6)
    if rows == 4:
        both_backends(f, mg.Normal(z, 0.1), 20, **given)


def test_correlated_assets_whose_correlation_is_a_parameter():
    """E of a product of two of six lognormal assets, exp(rho vol^2), for correlation rho."""

    def f(z, *, rho):
        correlation = rho * np.ones((6, 6)) + (1 - rho) * np.eye(6)
        path = 0.3 * np.linalg.cholesky(correlation) @ z - 0.045
        return np.exp(path[4] + path[5])

    e = mg.estimate(f, mg.Normal(np.zeros(6), 1.0), 40_000, params={"rho": 0.5}, wrt=["rho"], seed=4, backend="numpy")
    assert abs(e.value - np.exp(0.045)) < 5 * e.stderr
    assert abs(e.grad["rho"] - 0.09 * np.exp(0.045)) < 5 * e.grad_stderr["rho"]


def test_expected_improvement_of_four_candidates():
    """Acquisition of a batch (Wilson et al. 2017): the covariance of the posterior moves with the candidates."""
    seen = np.linspace(0.0, 1.0, 9)
    y = np.sin(6.0 * seen)

    def kernel(a, b):
        return np.exp(-0.5 * ((a[:, None] - b) / 0.2) ** 2)

    def f(z, *, x):
        weights = np.linalg.solve(kernel(seen, seen) + 1e-4 * np.eye(9), kernel(seen, x))
        mean, cov = weights.T @ y, kernel(x, x) - weights.T @ kernel(seen, x)
        return np.maximum(np.max(mean + np.linalg.cholesky(cov + 1e-6 * np.eye(4)) @ z) - 0.9, 0.0)

    x = np.array([0.18, 0.31, 0.44, 0.7])
    q = mg.Normal(np.zeros(4), 1.0)
    given = {"seed": 5, "backend": "numpy", "dtype": "float64"}
    e = mg.estimate(f, q, 2000, params={"x": x}, wrt=["x"], **given)
    moved = [
        mg.estimate(
            f, q, 2000, params={"x": x + s * 1e-5 * np.eye(4)[2]}, wrt=[], seed=5, backend="numpy", dtype="float64"
        )
        for s in (1, -1)
    ]
    assert e.value > 0.01
    assert e.grad["x"][2] == pytest.approx((moved[0].value - moved[1].value) / 2e-5, rel=1e-3, abs=1e-5)
