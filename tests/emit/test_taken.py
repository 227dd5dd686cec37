"""Loops back over a loop that draws leave run only the steps that some draw of the block has taken."""

import warnings

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.codegen.cpu import chunk
from mcgrad.codegen.loops.lower import lower
from mcgrad.codegen.loops.taken import loops_back
from mcgrad.ir.build import reduce
from mcgrad.ir.interpret import IMPL
from mcgrad.ir.program import Output, Program
from tests.emit.plain import plain_backend  # noqa: F401 - a fixture
from tests.emit.test_plain import agree

W, B = np.linspace(-0.4, 0.5, 9).reshape(3, 3), np.array([0.1, -0.2, 0.3])
MOST = 900


def network(z, *, w, b):
    """A recurrent cell that runs until its state is large, or as long as the draw says."""

    def body(carry):
        x, n = carry
        return 1.2 * np.tanh(w @ x + b) + 0.3 * z, n + 1.0

    x, n = mg.while_loop(lambda c: (np.sum(c[0] ** 2) < 2.0) & (c[1] < 6.0 + z[0]), body, (0.1 * z, 0.0), MOST)
    return np.sum(x**2) + 0.0 * n


def read_by_step(z, *, w, b):
    """Each step its own random number, of which the gradient in loc is by step, too."""

    def body(s, x):
        return s + np.exp(0.3 * x) * np.sum(w) + b[0] * s * x

    return mg.while_loop(lambda s: s < 2.0, body, 0.1 * np.sum(b), xs=z)


def in_a_scan(z, *, w, b):
    """A loop that draws leave in each step of another."""

    def step(total, x):
        y = mg.while_loop(lambda y: np.sum(y) < 1.5, lambda y: 0.9 * y + np.tanh(w @ y + b + 1.0), x * np.ones(3), 40)
        return total + np.sum(y**2), None

    return mg.scan(step, 0.0, z)[0]


def twice(z, *, w, b):
    """Two loops, of which the second begins where the first ends; what the first carries is read after it, too."""
    grows = lambda y: 1.1 * y + np.exp(0.1 * w @ y + b)  # noqa: E731
    first = mg.while_loop(lambda y: np.sum(y) < 4.0, grows, 0.1 * z, 60)
    second = mg.while_loop(lambda y: np.sum(y) < 9.0, grows, first, 60)
    return np.sum(first * second)


FUNCTIONS = {f.__name__: f for f in (network, read_by_step, in_a_scan, twice)}
SIZES = {"read_by_step": 30}


def made(name, backend="numpy", **given):
    wrt = ["w", "b", "loc"] if name == "read_by_step" else ["w", "b"]
    q = mg.Normal(np.zeros(SIZES.get(name, 3)), 0.7)
    params = {"params": {"w": W, "b": B}, "wrt": wrt, "method": "pathwise", **given}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mg.JumpWarning)
        return mg.Estimator(FUNCTIONS[name], q, backend=backend, **params)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_are_those_of_all_steps(name, plain_backend):  # noqa: F811
    estimator = made(name)
    agree(plain_backend, estimator.program, estimator.inputs.values({}), (3, 20))


@pytest.mark.parametrize(("name", "expected"), [("network", 1), ("read_by_step", 1), ("twice", 2)])
def test_loops_back_are_found(name, expected):
    assert len(loops_back(lower(made(name).program))) == expected


def test_as_many_steps_run_back_as_forth(plain_backend, monkeypatch):  # noqa: F811
    calls, tanh = [], IMPL["tanh"]
    estimator = made("network", "cpu", threads=1)
    steps = [_steps(z) for z in estimator.q.sample(16, seed=1)]
    monkeypatch.setitem(IMPL, "tanh", lambda var, x: calls.append(1) or tanh(var, x))
    estimator(16, seed=1)
    taken = sum(max(steps[first : first + 8]) for first in (0, 8)) + 2  # and in each block the step that finds the end
    assert 4 < max(steps) < 15
    assert len(calls) == 2 * 3 * 8 * taken  # of tanh, there and back, of 3 elements in 8 lanes


def _steps(z):
    """Steps of one draw, by plain arrays."""
    count = []

    def body(carry):
        count.append(1)
        return 1.2 * np.tanh(W @ carry[0] + B) + 0.3 * z, carry[1] + 1.0

    mg.while_loop(lambda c: (np.sum(c[0] ** 2) < 2.0) & (c[1] < 6.0 + z[0]), body, (0.1 * z, 0.0), MOST)
    return len(count)


def test_what_else_reads_the_steps_has_the_loop_run_whole():
    program = lower(made("network").program)
    (ahead,) = loops_back(program).values()
    stacked = [var for var in program.body() if var.op == "part" and var.args[0] is ahead and var.attrs.start > 4]
    assert stacked
    sums = reduce("sum", stacked[-1], range(len(stacked[-1].shape)))
    assert not loops_back(Program((*program.outputs, Output("sum", sums)), program.dtype))


def test_steps_that_may_be_left_are_kept_in_memory_that_is_not_touched():
    rows = chunk.emit(made("network").program).rows
    assert rows > MOST * 4  # not in segments, of which each would run


def test_rows_of_a_batch():
    q = mg.Normal(np.linspace(-0.3, 0.3, 36).reshape(12, 3), np.full((12, 3), 0.7), batch_ndim=1)
    given = {"params": {"w": W, "b": B}, "wrt": ["w", "b"], "method": "pathwise", "n": 8, "seed": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mg.JumpWarning)
        ours, reference = (mg.estimate(network, q, backend=name, **given) for name in ("cpu", "numpy"))
    for path in ("w", "b"):
        np.testing.assert_allclose(ours.grad[path], reference.grad[path], rtol=1e-10, atol=1e-13)
