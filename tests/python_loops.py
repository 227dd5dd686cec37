"""Integrands with Python loops, and estimates of them rolled up beside unrolled."""

import numpy as np

import mcgrad as mg
from mcgrad.gradients.problem import Problem
from mcgrad.ir.fuse_loops import fuse_loops
from mcgrad.ir.program import toposort
from mcgrad.trace import trace

T = 40
Q = mg.Normal(np.linspace(-0.2, 0.3, T), 0.8)
MARKET = {"s": 1.1, "vol": 0.3}


def asian(z, s, vol):
    total = 0.0
    for t in range(T):
        s = s * np.exp(vol * z[t] / np.sqrt(T) - 0.5 * vol**2 / T)
        total += s
    return np.maximum(total / T - 1.0, 0.0)


def listed(z, s, vol):
    path = [s]
    for x in z:
        path.append(path[-1] * np.exp(vol * x / np.sqrt(T) - 0.5 * vol**2 / T))
    return np.mean(np.array(path[1:])) + np.max(np.stack(path)) + sum(path[::5])


def assigned(z, s, vol):
    path = np.log(s) + 0.0 * z
    for t in range(1, T):
        path[t] = path[t - 1] + vol * np.sin(z[t]) - 0.5 * vol**2 / T
    return np.mean(np.exp(path)) + path[-1]


def heston(z, s, vol):
    dt, x, v = 1 / T, np.log(s), 0.04
    for i in range(T // 2):
        w = np.maximum(v, 0.0)
        root = np.sqrt(w * dt)
        x = x + (0.03 - 0.5 * w) * dt + root * z[2 * i]
        v = v + 1.5 * (0.04 - w) * dt + vol * root * (-0.6 * z[2 * i] + 0.8 * z[2 * i + 1])
    return np.exp(x)


def times(z, s, vol):
    """Literals of each step, a drift that is 0 at first and folded there, and a running maximum."""
    x, top = 0.0, 0.0
    for t in range(T):
        x = x + vol * t / T * z[t] + np.exp(-s * t)
        top = np.maximum(top, x * s)
    return top - x


def backwards(z, s, vol):
    y, kept = 0.0, []
    for t in reversed(range(T)):
        y = np.tanh(s * y + vol * z[t])
        kept.append(y * y)
    return y + kept[3] + np.sum(np.array(kept) * np.linspace(0.0, 1.0, T))


def second_order(z, s, vol):
    """Two steps back, and elements that are two apart."""
    a, b = 0.1 * s, 0.2
    for t in range(T - 2):
        a, b = b, np.tanh(vol * a + 0.5 * b + z[t] * z[t + 2])
    return a + 2.0 * b


def nested(z, s, vol):
    x = [0.5 * s] * 3
    for t in range(T):
        for i in range(3):
            x[i] = np.tanh(x[i] + vol * z[t] * x[(i + 1) % 3])
    return x[0] + 2.0 * x[1] * x[2]


def branches(z, s, vol):
    """Booleans that are carried, zeros below branches."""
    alive, y = s > 0.0, s
    for t in range(T):
        y = np.where(z[t] > 0.0, y * np.sqrt(np.where(z[t] > 0.0, z[t], 1.0)) ** vol, y + 0.01 * s)
        alive = alive & (y < 30.0)
    return np.where(alive, y, 30.0)


def vectors(z, s, vol):
    rows, h = z.reshape(T // 2, 2), s * np.ones(2)
    turn = np.array([[0.9, 0.2], [-0.2, 0.9]])
    for row in rows:
        h = turn @ np.tanh(h + vol * row) + vol * np.exp(-(h**2)) / (1.0 + row[::-1] ** 2)
    return h[0] - h[1] ** 2


def separate(z, s, vol):
    """Iterations that do not need each other."""
    return sum([np.log1p((s + vol * z[t]) ** 2) for t in range(T)]) / T


def earlier(z, s, vol):
    """A loop over what another has put into a list, in which each iteration reads what no draw changes."""
    rates, x = [], vol
    for t in range(T):
        x = x + 0.1 * np.sin(z[t] + x) * x
        rates.append(np.exp(-x))
    y = s
    for t, rate in enumerate(rates):
        y = y * (1.0 - rate / T) + np.cos(s * t) * rate * rate
    return y


def scans(z, s, vol):
    """A scan in each iteration, and a Python loop in the step of a scan."""

    def step(h, x):
        for t in range(T):
            h = np.tanh(h + x * z[t] / T) + vol * np.sin(h)
        return h, h

    y = s
    for t in range(T):
        _, total = mg.scan(lambda c, x: (0.5 * c + np.sin(vol * x), c), y, z[:5], reduce="sum")
        y = np.tanh(total) + z[t]
    return mg.scan(step, y, np.ones(3))[0]


def reduced(z, s, vol):
    """Sums and extremes of lists, of what is computed of their elements, with others between."""
    path, other = [], np.linspace(0.5, 1.5, T)
    for t in range(T):
        s = s * np.exp(vol * z[t] / T) + 0.01 * np.sin(s) * vol
        path.append(s)
    path = np.array(path)
    weighted = np.sum(np.where(path > vol, path * other, 0.0) * np.cos(z)) + np.max(path - s * 0.5) / path[-1]
    return weighted + np.sum(np.exp(-np.concatenate([path, [1.0]]))) + np.min(np.stack([path, 2.0 * path], 1))


CASES = {f.__name__: f for f in (asian, listed, assigned, heston, times, backwards, second_order, nested, branches,
                                 vectors, separate, earlier, scans, reduced)}  # fmt: skip
STEPS = {"heston": [T // 2 - 1], "assigned": [T - 1], "second_order": [T - 3], "vectors": [T // 2],
         "separate": [],
         "scans": [3, T]}  # fmt: skip


def loops(f, q=Q, params=MARKET, data=None):
    """The lengths of the loops of a traced integrand, fused, and the number of equations, without those of bodies."""
    problem = Problem(f, q, {name: np.asarray(x) for name, x in params.items()}, data or {})
    order = list(toposort(fuse_loops([problem.value])))
    return sorted(var.attrs.length for var in order if var.op == "loop"), len(order)


def agree(monkeypatch, f, q=Q, n=50, rtol=1e-9, **options):
    """Rolled up and unrolled an estimate is the same."""
    options = {"params": MARKET, "wrt": ["s", "vol"], "dtype": "float64", "seed": 3, **options}
    backend = options.pop("backend", "numpy")
    ours = mg.estimate(f, q, n, backend=backend, **options)
    with monkeypatch.context() as patched:
        patched.setattr(trace, "rolled", lambda roots, made: list(roots))
        theirs = mg.estimate(f, q, n, backend="numpy", **options)
    np.testing.assert_allclose(ours.value, theirs.value, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(ours.stderr, theirs.stderr, rtol=1e-6, atol=rtol)
    for name in theirs.grad:
        np.testing.assert_allclose(ours.grad[name], theirs.grad[name], rtol=rtol, atol=rtol, err_msg=name)
    return ours
