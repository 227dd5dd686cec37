"""Loops in segments compute what loops over all steps do, in rows that grow with the root of the number of steps."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.numpy import NumpyKernel
from mcgrad.codegen.cpu import chunk
from mcgrad.codegen.loops import layout, schedule
from mcgrad.codegen.loops.segments import segmented
from tests.emit.plain import plain_backend  # noqa: F401 - a fixture
from tests.emit.test_plain import agree

PARAMS = {"w": np.linspace(-0.5, 0.6, 9).reshape(3, 3), "b": np.array([0.1, -0.4, 0.2])}


def network(z, w, b, reverse=False):
    """Of each step only a sum is read."""

    def step(h, x):
        h = np.tanh(w @ h + b * x)
        return h, np.sum(h**2)

    h, total = mg.scan(step, np.ones(3), z, reduce="sum", reverse=reverse)
    return h[0] + total


def backwards(z, w, b):
    return network(z, w, b, reverse=True)


def path(z, w, b):
    """All steps are read, in another order, and so are those of a second loop, which reads the first one's."""

    def step(carry, x):
        h, n = carry
        return (np.tanh(w @ h + b * x), n + 1.0), h[0] * x

    (h, _), ys = mg.scan(step, (np.ones(3), 0.0), z)
    s, _ = mg.scan(lambda s, y: (np.sin(s + y * b[0]), None), h[1], ys)
    return s + np.sum(ys * np.linspace(-1.0, 1.0, len(z)))


def inner(z, w, b):
    """A loop in each step."""

    def step(h, x):
        d, _ = mg.scan(lambda d, y: (np.sin(d * b[0] + y * x), None), h[0], np.array([0.4, -0.2, 1.1]))
        return np.tanh(w @ h + d), None

    return np.sum(mg.scan(step, np.ones(3), z)[0])


def long_inside(z, w, b):
    """Loops of many steps in the steps of another."""

    def step(h, x):
        h, _ = mg.scan(lambda h, y: (np.tanh(w @ h + b * x * y), None), h, np.linspace(-1.0, 1.0, 36))
        return h, None

    return np.sum(mg.scan(step, np.ones(3), z)[0])


def program_of(f, steps, wrt):
    q = mg.Normal(np.zeros(steps), 1.0)
    made = mg.Estimator(f, q, params=PARAMS, wrt=wrt, backend="numpy", dtype="float64", method="pathwise")
    return made.program, made.inputs.values({})


def lengths(program):
    return [var.attrs.length for var in program.body() if var.op == "loop"]


CASES = [
    (network, 36, ["w"]), (network, 37, ["w", "loc"]), (backwards, 37, ["w", "scale"]), (backwards, 36, ["loc", "b"]),
    (path, 36, ["w", "loc"]), (path, 31, ["w", "b"]), (inner, 36, ["w", "b"]), (long_inside, 3, ["w", "scale"]),
]  # fmt: skip


@pytest.mark.parametrize(("f", "steps", "wrt"), CASES)
def test_the_same_bits(f, steps, wrt):
    program, inputs = program_of(f, steps, wrt)
    cut = segmented(program, 50)
    assert 6 in lengths(cut) or f is long_inside
    assert sum(var.op == "loop" for var in cut.all_equations()) > 3
    found, want = (NumpyKernel(each).bind(inputs).samples(1, 0, 5) for each in (cut, program))
    np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize(("f", "steps", "wrt"), [CASES[1], CASES[3], CASES[4], CASES[6], CASES[7]])
def test_emitted_source(f, steps, wrt, plain_backend, monkeypatch):  # noqa: F811
    monkeypatch.setattr(schedule, "LONG", 0)  # noise is made again in each loop that reads it
    program, inputs = program_of(f, steps, wrt)
    agree(plain_backend, segmented(program, 50), inputs, (3, 20))


def test_rows_grow_with_the_root_of_the_number_of_steps():
    rows = []
    for steps in (25_000, 100_000):
        program, _ = program_of(network, steps, ["w", "b"])
        rows.append(chunk.emit(program).rows)
    assert rows[1] < 8 * np.sqrt(100_000)  # of three carries: those of all steps are 300,000 numbers, and noise 100,000
    assert rows[1] < 2.2 * rows[0]


def test_long_loops_in_loops():
    program, _ = program_of(long_inside, 3, ["w", "b"])
    assert chunk.emit(segmented(program, 50)).rows < chunk.emit(program).rows - 30


def test_few_steps_and_gradients_with_few_parameters_keep_none():
    program, _ = program_of(network, 500, ["w"])
    assert segmented(program, layout.STEP_ROWS) is program
    made = mg.Estimator(lambda z, a: mg.scan(lambda s, x: (s + np.sin(a * x), None), 0.0, z)[0],
                        mg.Normal(np.zeros(10_000), 1.0), params={"a": 0.3}, wrt=["a"], backend="numpy")  # fmt: skip
    assert chunk.emit(made.program).rows < 20
