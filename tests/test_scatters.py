"""Gradients in tables of which a draw reads a few elements: as scatters on the CPU, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.cpu import CpuKernel
from mcgrad.codegen.cpu.chunk import emit
from mcgrad.codegen.loops.scatters import with_scatters

N = 400
U = mg.Uniform(0.0, 1.0)
RNG = np.random.default_rng(0)
W = RNG.normal(size=N)
ROWS = RNG.normal(size=(N, 3))


def index(z, n=N):
    return (n * z).astype(int)


def several(z, *, w):
    """Five elements, two of which are one in some draws."""
    k = index(z[:5])
    return np.sum(w[k] * z[:5]) + w[index(z[0])] ** 2


def embedded(z, *, w):
    """Rows of a matrix, at numbers that differ by row."""
    return np.sum(np.tanh(w[index(z[:2])]) * np.array([1.0, 2.0, 3.0]))


CASES = {
    "one": (lambda z, *, w: w[index(z)] ** 2, U, W),
    "linear": (lambda z, *, w: w[index(z)], U, W),
    "of a function": (lambda z, *, w: np.log(np.sum(np.exp(w)[index(z[:2])])), mg.Uniform(np.zeros(2), 1.0), W),
    "several": (several, mg.Uniform(np.zeros(6), 1.0), W),
    "the same twice": (lambda z, *, w: w[index(z)] * np.sin(w[index(z)]) + w[index(z**2)], U, W),
    "rows": (embedded, mg.Uniform(np.zeros(2), 1.0), ROWS),
    "a column": (lambda z, *, w: w[index(z), 1] ** 2, U, ROWS),
    "two indices": (lambda z, *, w: w[index(z[0]), index(z[1], 3)] ** 2, mg.Uniform(np.zeros(2), 1.0), ROWS),
    "one of a hundred": (lambda z, *, w: np.sum(np.where(np.arange(N) == np.floor(N * z), w, 0.0)) ** 2, U, W),
    "negative": (lambda z, *, w: np.exp(-w[-1 - index(z)]), U, W),
    "few draws meet it": (lambda z, *, w: np.where(z > 0.99, w[index(z)] ** 2, 0.0), U, W),
    "no index": (lambda z, *, w: np.where(z > 0.1, w[index(1.1 * z - 0.1)] ** 2, 0.5), U, W),
}


@pytest.mark.parametrize(
    ("name", "dtype"), [*((name, "float64") for name in CASES), ("several", "float32"), ("of a function", "float32")]
)
@pytest.mark.filterwarnings("ignore::mcgrad.JumpWarning")
def test_moments_are_the_references(name, dtype):
    f, q, w = CASES[name]
    made = {
        backend: mg.Estimator(f, q, params={"w": w}, wrt=["w"], backend=backend, dtype=dtype)
        for backend in ("cpu", "numpy")
    }
    assert with_scatters(made["cpu"].program).outputs[1].var.op == "scatter"
    assert "add_hits(" in emit(made["cpu"].program).source
    ours, reference = (estimator(3000, seed=1) for estimator in made.values())
    tight = {"rtol": 2e-4, "atol": 2e-6} if dtype == "float32" else {"rtol": 1e-10, "atol": 1e-13}
    np.testing.assert_allclose(ours.value, reference.value, **tight)
    np.testing.assert_allclose(ours.grad["w"], reference.grad["w"], **tight)
    np.testing.assert_allclose(ours.grad_stderr["w"], reference.grad_stderr["w"], **tight)


def test_a_gradient_is_the_closed_form():
    est = mg.estimate(CASES["one"][0], U, 400_000, params={"w": W}, wrt=["w"], backend="cpu", seed=3)
    exact = 2 * W / N
    z = (est.grad["w"] - exact) / est.grad_stderr["w"]
    assert np.max(np.abs(z)) < 5
    assert abs(np.mean(z**2) - 1) < 5 * np.sqrt(2 / N)
    spread = np.abs(2 * W) * np.sqrt((1 / N) * (1 - 1 / N))
    np.testing.assert_allclose(est.grad_stderr["w"] * np.sqrt(400_000), spread, rtol=0.15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_all_draws_read_alike_has_no_error(dtype):
    """And means far from zero lose no digits of their deviations."""

    def f(z, *, w):
        return 3.0 * w[np.floor(0.5 * z).astype(int) + 7] + (1e4 + z) * w[np.floor(0.5 * z).astype(int) + 100]

    est = mg.estimate(f, U, 10_000, params={"w": W}, wrt=["w"], backend="cpu", dtype=dtype, seed=1)
    assert est.grad["w"][7] == 3.0
    assert est.grad_stderr["w"][7] == 0.0
    assert est.grad_stderr["w"][100] == pytest.approx(np.sqrt(1 / 12 / 10_000), rel=0.05)
    assert np.count_nonzero(est.grad["w"]) == 2


def test_draws_that_are_not_finite_are_left_out_of_all_elements():
    def f(z, *, w):
        return np.log(z - 0.05) * w[index(z)]

    given = {"params": {"w": W}, "wrt": ["w"], "seed": 2, "nonfinite": "omit"}
    ours, reference = (mg.estimate(f, U, 5000, backend=name, **given) for name in ("cpu", "numpy"))
    assert 100 < ours.nonfinite == reference.nonfinite
    np.testing.assert_allclose(ours.grad["w"], reference.grad["w"], rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(ours.grad_stderr["w"], reference.grad_stderr["w"], rtol=1e-10, atol=1e-13)
    assert np.isnan(mg.estimate(f, U, 5000, backend="cpu", params={"w": W}, wrt=["w"], seed=2).grad["w"]).any()


def test_bits_depend_on_no_threads_and_no_ranges():
    one, three = (mg.Estimator(several, mg.Uniform(np.zeros(6), 1.0), params={"w": W}, wrt=["w"], backend="cpu",
                               threads=threads)(300_000, seed=1) for threads in (1, 3))  # fmt: skip
    assert one.grad["w"].tobytes() == three.grad["w"].tobytes()
    assert one.grad_stderr["w"].tobytes() == three.grad_stderr["w"].tobytes()


def test_counts_begin_anew_before_float32_cannot_count():
    """By the kernel itself, whose workspace says that so many draws were counted already, without any hits."""
    numba = pytest.importorskip("numba")
    from mcgrad.kernels import scatters

    add_hits, add_misses = scatters.add_hits, scatters.add_misses

    @numba.njit
    def add(ws, lanes, tail, size, shift, sums, squares):
        add_hits(ws, 0, lanes, 1, lanes, 2 * lanes, tail, size, shift, sums, squares, 0)
        counted = ws[tail]
        add_misses(ws, tail, size, shift, sums, squares, 0)
        return counted

    lanes, size, before = 8, 5, float(scatters.COUNTED)
    elements, places = RNG.normal(size=lanes).astype(np.float32), np.array([0, 1, 1, 4, 0, 2, 2, 2], np.float32)
    ws = np.concatenate([elements, places, np.ones(lanes, np.float32), [before], np.zeros(size)]).astype(np.float32)
    shift, sums, squares = np.full(size, 0.5, np.float32), np.zeros(size), np.zeros(size)
    tail = 3 * lanes
    assert add(ws, lanes, tail, size, shift, sums, squares) == lanes  # of those before, what they have is in the sums
    arrays = np.where(places == np.arange(size)[:, None], elements, 0.0).astype(np.float64) - 0.5
    np.testing.assert_allclose(sums, arrays.sum(axis=1) - 0.5 * before, rtol=1e-12)
    np.testing.assert_allclose(squares, np.square(arrays).sum(axis=1) + 0.25 * before, rtol=1e-12)


def test_work_counts_the_elements_that_a_draw_has():
    program = mg.Estimator(CASES["one"][0], U, params={"w": np.zeros(10_000)}, wrt=["w"], backend="numpy").program
    assert program.work() > 10_000
    assert CpuKernel(program).work < 200


def test_fractions_are_at_no_place():
    """A comparison of numbers that are not whole with 0, 1, 2 ... holds for none."""

    def f(z, *, w):
        return np.sum(np.where(np.arange(N) == np.floor(2 * N * z) / 2, w, 0.0))

    ours, reference = (mg.estimate(f, U, 2000, params={"w": W}, wrt=["w"], backend=name, seed=1)
                       for name in ("cpu", "numpy"))  # fmt: skip
    np.testing.assert_allclose(ours.grad["w"], reference.grad["w"], rtol=1e-12)
