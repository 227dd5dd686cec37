"""Indices that differ from draw to draw: closed forms, tables of any size, loops, rows of a batch, emitted code."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.codegen.cpu.by_element import emit_by_element
from mcgrad.codegen.cpu.chunk import emit
from mcgrad.codegen.cuda.choose import emit as emit_cuda
from mcgrad.toolchain import ptx

RNG = np.random.default_rng(0)
P = np.array([[0.9, 0.1, 0.0], [0.2, 0.5, 0.3], [0.3, 0.0, 0.7]])
UNIFORM = mg.Uniform(np.zeros(6), 1.0)


def z_score(got, want, stderr):
    return np.max(np.abs(np.asarray(got) - want) / stderr)


def regimes(u, *, mu, P):
    """The sum of the means of the states of a Markov chain."""

    def step(state, u):
        state = np.searchsorted(np.cumsum(P[state])[:-1], u)
        return state, mu[state]

    return mg.scan(step, 0, u, reduce="sum")[1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_regimes_of_a_markov_chain(dtype):
    mu = np.array([0.3, -1.0, 2.0])
    visits = sum(np.linalg.matrix_power(P, k)[0] for k in range(1, 7))
    given = {"params": {"mu": mu}, "data": {"P": P}, "wrt": ["mu"], "seed": 1, "dtype": dtype}
    est = mg.estimate(regimes, UNIFORM, 4000, backend="cpu", **given)
    assert z_score(est.value, visits @ mu, est.stderr) < 4.5
    assert z_score(est.grad["mu"], visits, est.grad_stderr["mu"]) < 4.5
    reference = mg.estimate(regimes, UNIFORM, 4000, backend="numpy", **given)
    np.testing.assert_allclose(est.grad["mu"], reference.grad["mu"], rtol=1e-5)
    u = RNG.random(6)
    state, total = 0, 0.0
    for x in u:  # on plain arrays it is a Python loop, whose carry is an integer
        state = int(np.searchsorted(np.cumsum(P[state])[:-1], x))
        total += mu[state]
    assert regimes(u, mu=mu, P=P) == pytest.approx(total)


TABLE = np.arange(6.0) ** 2


def filled(k):
    """A table that f makes itself."""
    table = np.zeros(6)
    for i in range(6):
        table[i] = i**2
    return table[k]


@pytest.mark.parametrize(
    "read",
    [
        lambda k: np.take(TABLE, k),
        lambda k: np.take(TABLE.astype(int), k),
        lambda k: np.take(a=list(TABLE), indices=k, axis=0),
        lambda k: np.take(TABLE, [k[0], k[2], 3]),
        lambda k: np.take(TABLE, np.take(np.arange(6)[::-1], k)),  # an index from a table of integers
        lambda k: mg.scan(lambda total, i: (total + np.take(TABLE, i) * k[i], None), 0.0, np.arange(3))[0],
        filled,
        lambda k: mg.at(np.zeros(6) + 0.0 * k[0], slice(None)).set(TABLE)[[k[0], k[2], 3]],
    ],
)
def test_tables_that_are_no_arguments(read):
    """np.take reads lists and NumPy arrays of f's own at traced indices, and what it gives is what NumPy gives."""

    def f(z, *, w):
        return w * np.sum(read(z.astype(int)) * np.array([1.0, 2.0, 3.0]))

    q, given = mg.Uniform(np.zeros(3), 6.0), {"params": {"w": 2.0}, "wrt": ["w"], "seed": 3}
    est = mg.estimate(f, q, 200, backend="numpy", **given)
    assert est.value == pytest.approx(np.mean([f(z, w=2.0) for z in q.sample(200, seed=3)]))
    assert est.grad["w"] == pytest.approx(est.value / 2)


def test_a_bootstrap_of_a_table():
    table = RNG.normal(size=300)
    q = mg.Uniform(np.zeros(5), 300.0)
    est = mg.estimate(lambda z, w, x: w * np.sum(x[z.astype(int)]), q, 20_000, params={"w": 2.0}, data={"x": table},
                      wrt=["w"], seed=2, backend="cpu")  # fmt: skip
    assert z_score(est.grad["w"], 5 * table.mean(), est.grad_stderr["w"]) < 4.5
    spread = np.sqrt(5) * table.std()
    assert est.grad_stderr["w"] * np.sqrt(20_000) == pytest.approx(spread, rel=0.05)


def surface(z, *, level, vols, grid):
    """A path whose volatility is read from a table, each step in its own row, at the place of the path."""

    def step(y, x):
        e, row, t = x
        k = np.clip(np.floor((y - grid[0]) / (grid[1] - grid[0])), 0, len(grid) - 2).astype(int)
        weight = (y - grid[k]) / (grid[k + 1] - grid[k])
        sigma = level * (row[k] * (1 - weight) + row[k + 1] * weight)
        return y + sigma * (e + z["jumps"][t]), None

    return mg.scan(step, 0.0, (z["eps"], vols, np.arange(len(vols))))[0]


@pytest.mark.filterwarnings("ignore::mcgrad.JumpWarning")  # it is linear between knots, and so continuous
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_table_for_each_step_of_a_path(dtype):
    vols, grid = np.broadcast_to(0.3, (8, 40)), np.linspace(-2.0, 2.0, 40)
    q = mg.Joint(eps=mg.Normal(np.zeros(8), 1.0), jumps=mg.Normal(np.full(8, 0.5), 1e-3))
    data = {"vols": vols, "grid": grid}
    est = mg.estimate(surface, q, 2000, params={"level": 1.5}, data=data, wrt=["level"], seed=1, dtype=dtype)
    assert z_score(est.grad["level"], 8 * 0.3 * 0.5, est.grad_stderr["level"]) < 4.5  # all knots have one volatility
    data["vols"] = RNG.uniform(0.1, 0.5, (8, 40))
    both = [
        mg.estimate(surface, q, 500, params={"level": 1.5}, data=data, wrt=["level"], seed=1, dtype=dtype, backend=name)
        for name in ("cpu", "numpy")
    ]
    assert both[0].grad["level"] == pytest.approx(both[1].grad["level"], rel=1e-4 if dtype == "float32" else 1e-12)
    z = {"eps": np.sin(np.arange(8.0)), "jumps": 0.1 * np.cos(np.arange(8.0))}
    y = 0.0
    for t in range(8):
        sigma = 1.5 * np.interp(y, grid, data["vols"][t])
        y += sigma * (z["eps"][t] + z["jumps"][t])
    assert surface(z, level=1.5, **data) == pytest.approx(y)


def test_a_counter_that_indexes_is_what_the_array_is_as_xs():
    q = mg.Normal(np.zeros(9), 1.0)
    counted = mg.Estimator(
        lambda z: mg.scan(lambda c, t: (0.9 * c + z[t + 1] * z[t], None), 0.0, np.arange(8))[0], q, backend="cpu"
    )
    given = mg.Estimator(
        lambda z: mg.scan(lambda c, x: (0.9 * c + x[1] * x[0], None), 0.0, (z[:-1], z[1:]))[0], q, backend="cpu"
    )
    assert not any(var.op == "gather" for var in counted.program.all_equations())
    assert counted(1000, seed=3).grad["loc"].tobytes() == given(1000, seed=3).grad["loc"].tobytes()


def test_a_count_of_visits_is_written_by_index():
    def visits(u):
        def step(count, x):
            k = np.floor(4 * x).astype(int)
            count = count.copy()
            count[k] += 1.0
            return count, None

        return np.max(mg.scan(step, np.zeros(4), u)[0])

    found = [mg.estimate(visits, UNIFORM, 500, seed=1, backend=name, wrt=[]).value for name in ("cpu", "numpy")]
    assert found[0] == pytest.approx(found[1], rel=1e-12)
    rows = RNG.random((2000, 6))
    want = np.mean([np.bincount((4 * u).astype(int)).max() for u in rows])
    assert found[0] == pytest.approx(want, abs=0.15)


@pytest.mark.filterwarnings("ignore::mcgrad.JumpWarning")
@pytest.mark.parametrize("first", [lambda z: 0, lambda z: np.copysign(-1, z[0])], ids=["int", "whole"])
def test_a_carry_that_is_whole_at_first_is_cut_off_where_it_indexes(first):
    table = np.array([0.3, 0.9, -0.4])

    def f(z, *, w):
        def step(c, x):
            k = np.asarray(4 * np.abs(c)).astype(int) % 3
            return np.tanh(w * x + c) + w * np.take(table, k), k

        last, ks = mg.scan(step, first(z), z)
        return last + np.sum(ks)

    q = mg.Normal(np.zeros(5), 1.0)
    est = mg.estimate(f, q, 8, seed=2, params={"w": 0.7}, wrt="w", backend="numpy", dtype="float64")
    z = q.sample(8, seed=2, dtype="float64")
    assert est.value == pytest.approx(np.mean([f(x, w=0.7) for x in z]), rel=1e-12)
    slope = np.mean([(f(x, w=0.7 + 1e-5) - f(x, w=0.7 - 1e-5)) / 2e-5 for x in z])
    assert est.grad["w"] == pytest.approx(slope, rel=1e-7)


def chosen(z, *, w, x):
    """Elements of what draws change and of a table, by an index that is no index in a few draws."""
    path = np.cumsum(np.exp(0.1 * z))
    k = np.floor(7 * np.abs(z[:4])).astype(int)
    return np.sum(path[k] * w) + np.sum(x[k]) * w + np.max(x[k[0]])


def test_what_is_no_index_is_counted_and_the_rest_is_the_references():
    q, table = mg.Normal(np.zeros(20), 1.0), RNG.normal(size=20)
    given = {"params": {"w": 1.5}, "data": {"x": table}, "wrt": ["w"], "seed": 4, "nonfinite": "omit"}
    ours, reference = (mg.estimate(chosen, q, 3000, backend=name, **given) for name in ("cpu", "numpy"))
    assert 0 < ours.nonfinite == reference.nonfinite < 100
    assert ours.grad["w"] == pytest.approx(reference.grad["w"], rel=1e-12)


@pytest.mark.parametrize("n", [3, 300])
def test_tables_by_row_of_a_batch(n):
    """In lanes that carry rows, or row by row."""
    tables = RNG.normal(size=(6, 24))
    q = mg.Uniform(np.zeros(3), 24.0)

    def f(z, w):
        return np.sum(w[np.floor(z).astype(int)] ** 2)

    made = [
        mg.Estimator(f, q, params={"w": tables}, batched_params="w", wrt=["w"], backend=name)(n, seed=1)
        for name in ("cpu", "numpy")
    ]
    np.testing.assert_allclose(made[0].value, made[1].value, rtol=1e-12)
    np.testing.assert_allclose(made[0].grad["w"], made[1].grad["w"], rtol=1e-12, atol=1e-14)


def program(size, dtype="float32", by_draw=False):
    """A table of so many elements, or so many that draws change, and eight indices."""

    def f(z, *, w, x):
        k = np.floor(np.abs(z[:8])).astype(int)
        return np.sum((np.exp(z) if by_draw else x)[k] * w)

    q = mg.Normal(np.zeros(size if by_draw else 8), 1.0)
    data = {"x": np.ones(size)}
    return mg.Estimator(f, q, params={"w": 1.0}, data=data, wrt=["w"], backend="numpy", dtype=dtype).program


def test_a_few_elements_are_compared_and_more_are_loaded():
    assert "gather" not in emit(program(16)).source
    source = emit(program(17)).source
    assert re.search(r"gather_constants\(c, \d+, 1, 17, ", source)
    assert emit(program(5000)).source.replace("5000", "17") == source  # which is as long for any table
    by_draw = program(17, by_draw=True)
    assert "gather_rows(ws" in emit(by_draw).source
    assert emit_by_element(by_draw) is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_code_for_gpus(dtype):
    pytest.importorskip("numba_cuda")
    emitted = emit_cuda(program(300, dtype, by_draw=True))
    assert "gather_elements(ws" in emitted.source
    code = ptx.ptx(emitted.source, "kernel", (9, 0), []).text
    assert "cvt.rzi.s32.f" in code
    assert "gather_elements(c" in emit_cuda(program(300, dtype)).source


JUMPING = {
    "astype": lambda z, w: w[(3 * z).astype(int)],
    "floor": lambda z, w: np.take(w, np.floor(3 * z).astype(int)),
    "searchsorted": lambda z, w: w[np.searchsorted([0.3, 0.6], z)],
    "search": lambda z, w: w[np.floor(np.searchsorted(np.linspace(0, 1, 50) ** 2, z) / 20).astype(int)],
    "digitize": lambda z, w: w[np.digitize(z, [0.3, 0.6])],
    "take": lambda z, w: np.take(w, np.searchsorted([0.3, 0.6], z)),
    "sorted": lambda z, w: np.searchsorted([0.3, 0.6], z) * w[0],
    "argmax": lambda z, w: w[np.argmax(np.stack([z, 0.5 + 0 * z]))],
    "argsort": lambda z, w: np.take(w, np.stack([z, 0.5 + 0 * z]).argsort())[0],
}


@pytest.mark.parametrize("name", JUMPING)
def test_an_index_that_a_parameter_moves_is_a_jump(name):
    with pytest.warns(mg.JumpWarning, match=r"is zero for every draw in low, high, .*test_gathers\.py"):
        mg.estimate(JUMPING[name], mg.Uniform(0.1, 0.9), 100, params={"w": [1.0, 2.0, 3.0]}, method="pathwise",
                    backend="numpy")  # fmt: skip


EVEN = np.linspace(0.0, 1.0, 50)


@pytest.mark.parametrize("knots", [EVEN, EVEN**2, np.array([0.0, 0.2, 1.0])])
def test_interpolation_does_not_jump(knots):
    values = np.cos(3 * knots)

    def f(z, *, k):
        return np.interp(z * k, knots, values)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        est = mg.estimate(f, mg.Uniform(0.1, 0.9), 4000, params={"k": 0.8}, wrt=["k"], backend="cpu", seed=1)
    points = np.linspace(0.1, 0.9, 200_001)
    high, low = (np.mean(np.interp(points * (0.8 + s), knots, values)) for s in (1e-4, -1e-4))
    want = (high - low) / 2e-4
    assert z_score(est.grad["k"], want, est.grad_stderr["k"]) < 4.5
