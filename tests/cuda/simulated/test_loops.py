"""Loops over steps on GPUs: states in registers, what steps leave in rows, threads that share elements of a step."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.codegen.cuda import alone, blocks
from mcgrad.codegen.loops import lower
from tests.cuda.simulated.block_launches import agree, traced
from tests.test_integrand import GIVEN, value, value_and_grad

T = 5
RNG = np.random.default_rng(0)
MATRIX = RNG.standard_normal((20, 20)) / 6
SERIES = RNG.standard_normal((T, 3))
Q = mg.Normal(np.linspace(-0.4, 0.4, T), 0.7)
GIVEN_TO_PAIR = (1.5, GIVEN["data"]["X"], GIVEN["data"]["y"])
PAIR = mg.Integrand(value=value, value_and_grad=value_and_grad)


@pytest.fixture(autouse=True)
def _short_chunks(monkeypatch):
    monkeypatch.setattr(blocks, "MOST_TURNS", 2)


def asian(z, *, k):
    def step(s, x):
        s = s * np.exp(k * x - 0.1)
        return s, s

    return np.maximum(mg.scan(step, 1.0, z, reduce="mean")[1] - 0.9, 0.0)


def stacked(z, *, k):
    """Results of each step, read after the loop in another order, and pads among them."""

    def step(c, x):
        c = np.sin(c + k * x)
        return c, (c, x * c)

    last, (a, b) = mg.scan(step, 0.3, z)
    return last * np.sum(a[::-1] * b) + np.sum(np.concatenate([a[1:], b[:2]]) ** 2)


def nested(z, *, k):
    def inner(c, x):
        return c * k + np.tanh(x), c

    def step(c, x):
        c, y = mg.scan(inner, c, x * np.array([1.0, 0.5, -1.0]), reverse=True)
        return c, np.sum(y)

    last, y = mg.scan(step, 0.1, z)
    return last + np.sum(y**2)


def booleans(z, *, k):
    def step(c, x):
        alive, low = c
        low = np.minimum(low, x)
        return (alive & (low > -1.5), low), np.where(alive, k * x, 0.0)

    (alive, low), total = mg.scan(step, (True, 0.0), z, reduce="sum", reverse=True)
    return np.where(alive, total, low * k)


def wide(z, *, k):
    """A state of twenty numbers, and products with a matrix."""

    def step(c, x):
        c = np.tanh(MATRIX @ c + k * x)
        return c, c[::2]

    last, rows = mg.scan(step, np.linspace(-1.0, 1.0, 20), z)
    return np.sum(last) + np.sum(rows * rows[::-1])


def series(z, *, k):
    """Arguments by step that no draw changes, a carry that its steps exchange, sums and extremes of the output."""

    def step(c, x):
        a, b = c
        w, row = x
        return (b, 0.5 * a + k * w * np.sum(row)), {"sum": a * row, "max": b}

    (a, b), found = mg.scan(step, (0.1, 0.2), (z, SERIES), reduce={"sum": "sum", "max": "max"})
    return a * b + np.sum(found["sum"]) + found["max"]


def pendulum(z, *, k):
    """Parameters for which the way back costs less."""
    k = k * np.ones(4)

    def step(c, x):
        angle, speed = c
        speed = speed * k[0] - 0.1 * k[1] * np.sin(k[2] * angle) + k[3] * x * np.cos(angle)
        return (angle + 0.1 * speed, speed), None

    (angle, speed), _ = mg.scan(step, (0.3, 0.0), z)
    return angle * speed


def passage(z, *, k):
    """Each draw leaves the loop when it has gone far enough, some of them before the last step."""

    def step(c, x):
        return c[0] + k * x * x, c[1] * 0.9

    far, left = mg.while_loop(lambda c: c[0] < 0.8, step, (0.0, 1.0), xs=z)
    return far * left


def short(z, *, k):
    """Loops of one step and of none, and one whose carry ignores what it was."""
    one, y = mg.scan(lambda c, x: (c * k + x, c), z[0], z[1:2])
    none, _ = mg.scan(lambda c, x: (c + x, c), one, z[:0])
    last, _ = mg.scan(lambda c, x: (x * k, None), none, z)
    return none * last + np.sum(y)


CASES = {f.__name__: f for f in (asian, stacked, nested, booleans, wide, series, pendulum, passage, short)}


@pytest.mark.filterwarnings("ignore:the pathwise gradient")  # leaves a jump of `passage` out, here as there
@pytest.mark.parametrize(("rows", "dtype"), [(1, "float32"), (1, "float64"), (3, "float64")])
@pytest.mark.parametrize("name", CASES)
def test_values_and_derivatives(monkeypatch, name, rows, dtype):
    monkeypatch.setattr(lower, "SMALL_CONTRACTION", 1)
    program, inputs = traced(CASES[name], Q, dtype, params={"k": 0.8}, wrt=["k", "loc"], method={"k": "pathwise"})
    emitted, _, _ = agree(program, inputs, rows, 2, checked=rows == 1, n=11)
    assert "_end = at(t, " in emitted.source
    assert ("break" in emitted.source) == (name == "passage")


@pytest.mark.parametrize("name", ["stacked", "wide"])
def test_what_steps_leave_may_be_in_global_memory(monkeypatch, name):
    monkeypatch.setattr(alone, "SHARED", 0)
    monkeypatch.setattr(blocks, "SHARED", 0)
    monkeypatch.setattr(blocks, "GLOBAL_GROUPS", 2)
    program, inputs = traced(CASES[name], Q, "float32", params={"k": 0.8}, wrt=["k"])
    emitted, _, _ = agree(program, inputs, 0, 0, n=5)
    assert emitted.workspace > 0
    assert emitted.shared == 0


@pytest.mark.parametrize("rows", [1, 2])
def test_what_is_read_back_may_be_kept_in_segments(monkeypatch, rows):
    """A number of steps that no number of segments divides."""
    monkeypatch.setattr(blocks, "KEPT", 6)
    q = mg.Normal(np.linspace(-0.4, 0.4, 43), 0.7)
    program, inputs = traced(pendulum, q, "float64", params={"k": np.linspace(0.5, 1.0, 4)}, wrt=["k"])
    emitted, _, _ = agree(program, inputs, rows, 2, n=5)
    assert emitted.source.count("while n") > 3


@pytest.mark.parametrize("rows", [1, 2])
def test_users_functions_in_steps(rows):
    def f(z):
        def step(c, x):
            return c + 0.1 * PAIR(x * 0.5 + 0.1 * c, *GIVEN_TO_PAIR), None

        return mg.scan(step, 0.0, z)[0]

    program, inputs = traced(f, mg.Normal(np.full((3, 3), 0.2), 0.5), "float64")
    agree(program, inputs, rows, 2, n=7)


def test_a_state_of_few_numbers_is_in_registers():
    program, _ = traced(asian, Q, "float32", params={"k": 0.8}, wrt=["k"])
    emitted = blocks.emit(program)
    assert emitted.threads == alone.THREADS
    assert "load4(ws" not in emitted.source
    program, _ = traced(wide, Q, "float32", params={"k": 0.8}, wrt=["k"])
    assert blocks.emit(program).threads == blocks.THREADS


def test_what_cannot_be_kept_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setattr(alone, "MOST_ELEMENTS", 1000)
    program, _ = traced(stacked, Q, "float32", params={"k": 0.8}, wrt=["k"])
    with pytest.raises(mg.BackendError, match=r'keep \d+ numbers of each draw.*can keep 3: backend="cpu"'):
        blocks.emit(program)


def test_the_code_of_a_step_is_never_long():
    """Nests are unrolled while the code is short; longer ones stay loops, over fewer elements or all of them."""

    def basket(z, *, spot):
        def step(s, x):
            for _ in range(8):
                s = s * np.exp(0.1 * np.tanh(s) * x)
            return s, None

        return np.max(mg.scan(step, spot, z)[0])

    lines = {}
    for assets in (2, 8, 16):
        q = mg.Normal(np.zeros((3, assets)), 1.0)
        program, _ = traced(basket, q, "float32", params={"spot": np.ones(assets)}, wrt=[])
        lines[assets] = blocks.emit(program).source.count("\n")
    assert max(lines.values()) < 1.5 * 4 * alone.MOST_NODES
    assert lines[8] > 3 * lines[2]
