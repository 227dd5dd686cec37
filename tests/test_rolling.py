"""Python loops that roll up: the Program has a loop, and its values and gradients are those of the unrolled one."""

import math
import warnings

import numba
import numpy as np
import pytest

import mcgrad as mg
from mcgrad.gradients.problem import Problem
from mcgrad.ir.program import toposort
from mcgrad.trace import trace
from tests.python_loops import CASES, MARKET, STEPS, Q, T, agree, asian, assigned, backwards, loops


@numba.njit
def bend(z):
    return 0.9 * z[0] + 0.1 * math.sin(z[0])


@numba.njit
def bend_and_grad(z, grad):
    grad[0] = 0.9 + 0.1 * math.cos(z[0])
    return 0.9 * z[0] + 0.1 * math.sin(z[0])


@pytest.mark.filterwarnings("ignore::mcgrad.JumpWarning")
@pytest.mark.parametrize("f", CASES.values(), ids=CASES)
def test_loops_roll_up_and_mean_the_same(monkeypatch, f):
    lengths, equations = loops(f)
    assert lengths == STEPS.get(f.__name__, [T])
    assert equations < 70  # unrolled, more than 300
    agree(monkeypatch, f, wrt=["s", "vol", "loc"] if f.__name__ in ("asian", "backwards") else ["s", "vol"])


@pytest.mark.parametrize("f", [asian, assigned, backwards], ids=lambda f: f.__name__)
def test_compiled(monkeypatch, f):
    agree(monkeypatch, f, backend="cpu", n=200, rtol=1e-7)


def test_the_program_is_that_of_scan():
    def scanned(z, s, vol):
        def step(carry, x):
            total, s = carry
            s = s * np.exp(vol * x / np.sqrt(T) - 0.5 * vol**2 / T)
            return (total + s, s), None

        (total, _), _ = mg.scan(step, (0.0, s), z)
        return np.maximum(total / T - 1.0, 0.0)

    made = [mg.Estimator(f, Q, params=MARKET, wrt=["s", "vol"]).program for f in (asian, scanned)]
    ops = [sorted((var.op, var.shape) for var in program.all_equations()) for program in made]
    assert ops[0] == ops[1]


@pytest.mark.parametrize("method", ["score", "difference", "measure_valued"])
def test_methods(monkeypatch, method):
    agree(monkeypatch, asian, method=method, wrt=["loc"] if method != "difference" else ["loc", "vol"], n=20)


def test_short_loops_stay():
    """What compiles at once is as it was."""

    def f(z, s, vol):
        for t in range(15):
            s = s * np.exp(vol * z[t] - 0.5 * vol**2) + np.tanh(s)
        for t in range(T):
            s = s + z[t] / (1.0 + s)
        return s

    assert loops(f)[0] == []


def test_jumps_name_their_line(monkeypatch):
    def f(z, s, vol):
        count = 0.0
        for t in range(T):
            s = s + vol * z[t]
            count = count + np.where(s > 1.0, 1.0, 0.0)  # the line
        return count + s

    assert loops(f)[0] == [T]
    with pytest.warns(mg.JumpWarning) as caught:
        mg.estimate(f, Q, 100, params=MARKET, wrt=["vol"], method="pathwise", backend="numpy")
    assert [w.lineno for w in caught] == [f.__code__.co_firstlineno + 4]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mg.JumpWarning)
        agree(monkeypatch, f, n=20, method={"vol": "difference", "s": "difference"})


def test_values_with_several_numbers(monkeypatch):
    def f(z, s, vol):
        x, marks = s, {}
        for t in range(T):
            x = x * np.exp(vol * z[t] / T)
            if t % 10 == 9:
                marks[f"after{t}"] = x
        return {**marks, "last": np.stack([x, x**2])}

    assert loops(f)[0] == [T]
    problem = Problem(f, Q, {name: np.asarray(x) for name, x in MARKET.items()}, {})
    with monkeypatch.context() as patched:
        patched.setattr(trace, "rolled", lambda roots, made: list(roots))
        other = Problem(f, Q, {name: np.asarray(x) for name, x in MARKET.items()}, {})
    assert problem.shapes == other.shapes
    found = [mg.estimate(f, Q, 50, params=MARKET, wrt=["s"], dtype="float64", backend="numpy")]
    monkeypatch.setattr(trace, "rolled", lambda roots, made: list(roots))
    found.append(mg.estimate(f, Q, 50, params=MARKET, wrt=["s"], dtype="float64", backend="numpy"))
    for name in found[0].value:
        np.testing.assert_allclose(found[0].value[name], found[1].value[name], rtol=1e-12)
        np.testing.assert_allclose(found[0].grad["s"][name], found[1].grad["s"][name], rtol=1e-12)


def test_data_by_step_and_several_draws(monkeypatch):
    def f(z, s, vol, rates):
        x = s
        for t in range(T):
            x = x + rates[t] * x / T + vol * np.sin(z["a"][t]) * z["b"][t, 0] - z["b"][t, 1] / T
        return x

    q = mg.Joint(a=Q, b=mg.Normal(np.zeros((T, 2)), 1.0))
    data = {"rates": np.linspace(0.0, 1.0, T)}
    assert loops(f, q, data=data)[0] == [T]
    agree(monkeypatch, f, q, data=data)


def test_transforms(monkeypatch):
    """A transform of the user's, whose steps are a Python loop."""

    def walk(x, scale):
        path = []
        for t in range(T):
            before = path[-1] if path else 0.0
            path.append(scale * x[t] + 0.9 * before + 0.1 * np.sin(before))
        return np.stack(path)

    q = mg.Reparameterized(walk, params={"scale": np.asarray(0.5)}, noise=mg.noise.normal(T))
    found = toposort([Problem(lambda z: np.sum(z**2), q, {}, {}).value])
    assert [var.attrs.length for var in found if var.op == "loop"] == [T - 1]  # the first step has no sine
    agree(monkeypatch, lambda z: np.sum(z**2), q, params={}, wrt=["scale"])


@pytest.mark.filterwarnings("ignore::mcgrad.JumpWarning")
def test_rows_of_a_batch(monkeypatch):
    def f(z, vol):
        s = 1.0
        for t in range(T):
            s = s * np.exp(vol * z[t] / T) + np.tanh(s) / T
        return s

    q = mg.Normal(np.linspace(-0.2, 0.3, 3 * T).reshape(3, T), 0.8, batch_ndim=1)
    options = {"params": {"vol": np.array([0.1, 0.2, 0.3])}, "batched_params": "vol", "wrt": ["vol", "loc"]}
    assert agree(monkeypatch, f, q, **options).grad["vol"].shape == (3,)


RANDOM = [
    lambda u, v: u + v,
    lambda u, v: u * np.tanh(v),
    lambda u, v: np.sin(u) - v,
    lambda u, v: np.maximum(u, v),
    lambda u, v: np.where(u > v, u, 0.5 * v),
    lambda u, v: np.exp(-(u**2)),
    lambda u, v: u / (1.0 + v**2),
    lambda u, v: 0.3 * u,
]


def random_step(rng, state):
    """A step of random equations: (carries, x, literal, parameter) -> (carries, output)."""
    plan = [(RANDOM[rng.integers(len(RANDOM))], rng.integers(0, 1 << 30, 2)) for _ in range(rng.integers(4, 12))]
    takes = rng.integers(0, 1 << 30, state + 1)

    def step(carries, x, t, a):
        values = [*carries, *x, a, 0.1 * a * x[0], a * t]
        for function, (i, j) in plan:
            values.append(function(values[i % len(values)], values[j % len(values)]))
        made = values[len(carries) :]
        return [np.tanh(made[i % len(made)]) for i in takes[:-1]], made[takes[-1] % len(made)]

    return step


@pytest.mark.parametrize("seed", range(12))
def test_random_steps(monkeypatch, seed):
    """Rolled up, unrolled, and written as a scan: the same values and gradients."""
    rng = np.random.default_rng(seed)
    state, parts = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    step, weights = random_step(rng, state), rng.standard_normal(T)
    begin = [0.0 if rng.random() < 0.3 else None for _ in range(state)]
    use_outputs, backwards = rng.random() < 0.5, rng.random() < 0.3

    def start(s):
        return [0.2 * (i + 1) * s if b is None else b for i, b in enumerate(begin)]

    def f(z, s, vol):
        carries, outputs = start(s), []
        for t in reversed(range(T)) if backwards else range(T):
            carries, y = step(carries, [z[t, i] for i in range(parts)], weights[t], vol)
            outputs.append(y)
        result = sum(carries)
        return result + np.mean(np.stack(outputs) ** 2) if use_outputs else result + outputs[-1]

    def scanned(z, s, vol):
        def one(carries, x):
            after, y = step(list(carries), [x[0][i] for i in range(parts)], x[1], vol)
            return tuple(c + 0.0 * vol for c in after), y

        first = tuple(c + 0.0 * s for c in start(s))
        carries, ys = mg.scan(one, first, (z, weights), reverse=backwards)
        return sum(carries) + (np.mean(ys**2) if use_outputs else ys[0 if backwards else -1])

    q = mg.Normal(0.2 * np.ones((T, parts)), 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mg.JumpWarning)
        ours = agree(monkeypatch, f, q, n=20, method="pathwise", rtol=1e-8)
        other = mg.estimate(scanned, q, 20, params=MARKET, wrt=["s", "vol"], dtype="float64", seed=3, backend="numpy",
                            method="pathwise")  # fmt: skip
    np.testing.assert_allclose(ours.value, other.value, rtol=1e-8)
    for name in ours.grad:
        np.testing.assert_allclose(ours.grad[name], other.grad[name], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_loops_of_frameworks(monkeypatch, library):
    module = pytest.importorskip(library)
    functions = module if library == "torch" else pytest.importorskip("jax.numpy")

    def f(z, s, vol):
        path = []
        for t in range(T):
            s = s * functions.exp(vol * z[t] / T - 0.5 * vol**2) + functions.tanh(s) / T
            path.append(s)
        return functions.stack(path).mean()

    f = mg.from_torch(f) if library == "torch" else mg.from_jax(f)
    assert loops(f)[0] == [T]
    agree(monkeypatch, f)


def test_pairs_in_iterations(monkeypatch):
    pair = mg.Integrand(value=bend, value_and_grad=bend_and_grad)

    def f(z, s, vol):
        for t in range(T):
            s = pair(s) * np.exp(vol * z[t] / T) + np.tanh(s) * vol / (1.0 + s**2)
        return s

    assert loops(f)[0] == [T]
    agree(monkeypatch, f)


def test_arrays_that_are_filled(monkeypatch):
    def f(z, s, vol):
        path, seen = np.empty(T + 1), np.zeros(2)
        path[0] = s
        for t in range(T):
            path[t + 1] = path[t] * (1.0 + vol * z[t] / T) + np.sin(path[t]) / T
            seen += path[t + 1] * np.array([1.0, 0.5])
        return np.mean(path) + path[-1] + np.sum(seen)

    lengths, equations = loops(f)
    assert (lengths, equations < 40) == ([T], True)
    agree(monkeypatch, f)


def test_few_long_iterations_roll_up(monkeypatch):
    """Twelve months of 21 days, as two loops and as one that does more at the end of a month."""
    days = mg.Normal(np.zeros(252), 1.0)

    def moved(z, s, vol, t):
        return s * np.exp(vol * z[t] / 16 - 0.5 * vol**2 / 252)

    def two(z, s, vol):
        total = 0.0
        for month in range(12):
            for day in range(21):
                s = moved(z, s, vol, 21 * month + day)
            total = total + s
        return np.maximum(total / 12 - 1.0, 0.0)

    def one(z, s, vol):
        total = 0.0
        for t in range(252):
            s = moved(z, s, vol, t)
            if t % 21 == 20:
                total = total + s
        return np.maximum(total / 12 - 1.0, 0.0)

    for f in (two, one):
        with warnings.catch_warnings():
            warnings.simplefilter("error", mg.UnrolledWarning)
            (steps,), equations = loops(f, days)
        assert steps == 11  # the sum begins in the first month
        assert equations < 400  # unrolled, more than a thousand
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", mg.UnrolledWarning)  # of what it is compared with
            agree(monkeypatch, f, days, n=10)


def test_loops_that_stay_say_so():
    def f(z, s, vol):
        for t in range(100):
            s = s * np.exp(vol * z[t % T]) + np.tanh(s) if t != 17 and t % 9 else np.sin(s)
            s = s / (1.0 + s**2) + np.cos(s) * vol + np.expm1(-s * s) - 0.1 * np.arctan(s)
            if t % 7 == 0 or t % 5 == 1:
                s = np.log1p(s * s)
        return s

    with pytest.warns(mg.UnrolledWarning, match=r"(?s)stays unrolled.*Turn \d+ computes .*mg\.scan") as caught:
        assert loops(f)[0] == []
    assert caught[0].lineno == f.__code__.co_firstlineno + 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mg.UnrolledWarning)
        long = mg.Estimator(f, Q, params=MARKET, wrt=["s", "vol"], backend="numpy")
    assert "mg.scan makes one" in long.explain()
    assert "mg.scan" not in mg.Estimator(asian, Q, params=MARKET, wrt=["s"], backend="numpy").explain()
