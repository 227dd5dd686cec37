"""Orders of convergence of schemes, against exact paths."""

import numpy as np

import mcgrad as mg
from tests.sde.steps import CORRELATION


def strong_errors(scheme, exact, drift, diffusion, paths=2000):
    """Mean distances from exact ends of paths of time 1, by 8, 16, 32 and 64 steps of the same motions."""
    z = np.random.default_rng(5).standard_normal((64, paths))
    ends, found = exact(z.sum(0) / 8.0), []
    for steps in (8, 16, 32, 64):
        coarse = z.reshape(steps, 64 // steps, paths).sum(1) / np.sqrt(64 // steps)
        last = scheme(drift, diffusion, np.ones(paths), np.linspace(0.0, 1.0, steps + 1), coarse, reduce="last")
        found.append(np.abs(last - ends).mean())
    return np.array(found)


def order(errors):
    return -np.polyfit(np.log2([8, 16, 32, 64]), np.log2(errors), 1)[0]


def gbm_end(w):
    return np.exp(0.1 - 0.5 * 0.6**2 + 0.6 * w)


def test_strong_orders():
    rate, vol = (lambda t, x: 0.1 * x), (lambda t, x: 0.6 * x)
    assert abs(order(strong_errors(mg.sde.euler, gbm_end, rate, vol)) - 0.5) < 0.1
    assert abs(order(strong_errors(mg.sde.milstein, gbm_end, rate, vol)) - 1.0) < 0.1
    ito = strong_errors(mg.sde.heun, gbm_end, lambda t, x: (0.1 - 0.5 * 0.6**2) * x, vol)
    assert abs(order(ito) - 1.0) < 0.1


def test_milstein_with_motions_that_commute():
    """One number driven by two correlated motions, dx = x (0.4, 0.5) . dW: its order is that of one motion."""
    rows, z = np.array([0.4, 0.5]), np.random.default_rng(6).standard_normal((64, 2))
    L = np.linalg.cholesky(CORRELATION)
    errors = []
    for steps in (16, 64):
        coarse = z.reshape(steps, 64 // steps, 2).sum(1) / np.sqrt(64 // steps)
        last = mg.sde.milstein(None, lambda t, x: x * rows, 1.0, np.linspace(0.0, 1.0, steps + 1), coarse,
                               correlation=-0.6, commutative=True, reduce="last")  # fmt: skip
        exact = np.exp(rows @ (L @ z.sum(0)) / 8.0 - 0.5 * rows @ CORRELATION @ rows)
        errors.append(abs(last - exact))
    euler = mg.sde.euler(None, lambda t, x: x * rows, 1.0, np.linspace(0.0, 1.0, 65), z, correlation=-0.6,
                         reduce="last")  # fmt: skip
    assert errors[1] < errors[0] / 2.5
    assert errors[1] < abs(euler - exact) / 4
