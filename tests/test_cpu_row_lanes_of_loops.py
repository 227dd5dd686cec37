"""Loops where lanes carry rows of a batch: each row has the moments that it has alone, in every kind of loop."""

import warnings
from functools import lru_cache

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.cpu_row_lanes import CpuRowLanes
from mcgrad.backends.registry import BACKENDS
from mcgrad.backends.row_by_row import RowByRow
from mcgrad.codegen.cpu.row_lanes import emit_rows
from mcgrad.codegen.loops.layout import L2_BYTES
from mcgrad.ir.program import Level
from mcgrad.ir.spaces import param

from .test_cpu_rows import check

ROWS, STEPS = 70, 6  # more than a block has
RTOL = {"float32": 3e-4, "float64": 1e-10}


def reverse(z, start, w, a, b, x):
    """A state with a start by row, which reads a matrix that rows share, and numbers by row and step."""

    def step(carry, given):
        h, total = carry
        noise, of_row = given
        h = np.tanh(w @ h + a * noise + b * of_row)
        return (h, total + a * np.sum(h)), np.sum(h * h)

    (h, total), squares = mg.scan(step, (start, 0.0), (z, x))
    return total * h[0] + np.sum(squares)


def nested(z, start, w, a, b, x):
    """Loops in steps of loops, of which one reads what is by row alone: no draw changes what it computes."""
    fixed, _ = mg.scan(lambda c, k: (np.cos(c @ x[:2] + k) * x[:2], None), start[:2], x)

    def step(c, given):
        noise, k = given
        inner, out = mg.scan(lambda d, y: (np.sin(d * a) + y * noise, d), c, x, reduce="sum")
        return np.cos(inner + np.sum(fixed)) + w[0, 0] * b, out * k

    last, outputs = mg.scan(step, a * b, (z, np.arange(STEPS)), reverse=True)
    return np.sum(outputs) + last


def stopping(z, start, w, a, b, x):
    """Draws leave the loop at different times, those of some rows after more steps than others."""

    def body(carry, given):
        s, n, total = carry
        noise, of_row = given
        return s + np.exp(0.3 * a * noise) + 0.1 * of_row, n + 1.0, total + w[1, 0] * np.sin(b * s)

    s, _, total = mg.while_loop(lambda carry: carry[0] < 2.0, body, (start[0] * 0.3, 0.0, 0.0), xs=(z, x))
    return total + s * w[0, 0]


RNG = np.random.default_rng(0)
BY_ROW = {
    "start": RNG.normal(size=(ROWS, 4)),
    "a": RNG.normal(size=ROWS) * 0.5 + 0.4,
    "x": RNG.normal(size=(ROWS, STEPS)),
}
SHARED = {"w": RNG.normal(size=(4, 4)) / 2.0, "b": np.array(0.6)}
LOC = 0.3 * RNG.normal(size=(ROWS, STEPS))
NUMBERS = np.random.default_rng(2).integers(2**28, size=ROWS)
WRT = {reverse: ["loc", "start", "w", "b"], nested: ["a", "b"], stopping: ["a", "b"]}


@lru_cache
def kernel(f, dtype):
    """The compiled Program, and values for its inputs."""
    params = {"a": BY_ROW["a"], "start": BY_ROW["start"], **SHARED}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mg.JumpWarning)
        made = mg.Estimator(
            f, mg.Normal(LOC, 0.8, batch_ndim=1), params=params, batched_params=["a", "start"],
            data={"x": BY_ROW["x"]}, batched_data="x", wrt=WRT[f], dtype=dtype, backend="numpy", method="pathwise",
        )  # fmt: skip
    return BACKENDS["cpu"].compile(made.program), made.inputs.values({})


def bound(f, dtype, rows=slice(None), others=None):
    """The kernel with the inputs of some rows."""
    compiled, values = kernel(f, dtype)
    by_row = {var.attrs for var in compiled.program.equations() if var.op == "input" and var.level is Level.ROW}
    values = {name: np.asarray(x)[rows] if name in by_row else x for name, x in values.items()} | (others or {})
    ours = compiled.bind_rows(values, NUMBERS[rows])
    assert isinstance(ours.chosen(0, 11), CpuRowLanes)
    reference = RowByRow(compiled.program, BACKENDS["numpy"].compile(compiled.program), values, NUMBERS[rows])
    return ours, reference


@pytest.mark.parametrize(
    ("f", "dtype"), [(reverse, "float32"), (reverse, "float64"), (nested, "float64"), (stopping, "float32")]
)
def test_rows_are_those_of_a_loop_over_rows(f, dtype):
    ours, reference = bound(f, dtype)
    for start, n in [(0, 1 if f is reverse else 3), (5, 11)]:  # one draw has a function of its own in float32
        found, wanted = (x.partial(3, start, start + n, (0, ROWS), False) for x in (ours, reference))
        assert np.isfinite(wanted.means).all()
        check(found, wanted, RTOL[dtype])


def test_the_kinds_of_loops_are_those_that_are_meant():
    loops = {f: [v.attrs for v in kernel(f, "float64")[0].program.all_equations() if v.op == "loop"] for f in WRT}
    assert [loop.reverse for loop in loops[reverse]] == [False, True]
    assert any(var.op == "loop" for loop in loops[nested] for var in loop.body.equations)
    assert [loop.running is not None for loop in loops[stopping]] == [True]
    source = kernel(stopping, "float32")[0].row_lanes.emitted.source
    assert source.count("break  # no draw of the block goes on") == 1


@pytest.mark.parametrize(("f", "dtype"), [(reverse, "float32"), (nested, "float64"), (stopping, "float32")])
def test_the_bits_of_a_row_depend_on_no_other_row(f, dtype):
    """Nor on when the others of its block leave a loop."""
    n = 11
    together = bound(f, dtype)[0].partial(3, 0, n, (0, ROWS), False)
    order = np.random.default_rng(2).permutation(ROWS)
    permuted = bound(f, dtype, order)[0].partial(3, 0, n, (0, ROWS), False)
    parts = [bound(f, dtype)[0].partial(3, 0, n, part, False) for part in [(0, 1), (1, 50), (50, ROWS)]]
    for name in ("means", "norms"):
        np.testing.assert_array_equal(getattr(permuted, name), getattr(together, name)[order])
        np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(together, name))


def test_rows_with_draws_that_overrun_do_not_change_others():
    start = BY_ROW["start"].copy()
    start[[23, 40], 0] = -16.0, -50.0  # of which some draws, and all, do not get to the end
    ours, reference = bound(stopping, "float32", others={param("start"): start})
    found, wanted = (x.partial(3, 0, 11, (0, ROWS), False) for x in (ours, reference))
    assert 0 < found.nonfinite[23] < found.nonfinite[40] == 11
    check(found, wanted, RTOL["float32"])
    fine = np.setdiff1d(np.arange(ROWS), [23, 40])
    without = bound(stopping, "float32")[0].partial(3, 0, 11, (0, ROWS), False)
    np.testing.assert_array_equal(found.means[fine], without.means[fine])


def test_steps_of_which_many_are_kept_stay_in_the_cache():
    """Those of segments are, where the carries of all would not fit."""

    def f(z, s0, w):
        def step(s, x):
            return np.tanh(w @ s) + s0 * x, None

        return np.sum(mg.scan(step, np.ones(3), z)[0])

    rows, lines = [], []
    for steps in (2_000, 8_000):
        made = mg.Estimator(
            f, mg.Normal(np.zeros(steps), 1.0), params={"s0": np.ones(9), "w": np.ones((3, 3))}, batched_params="s0",
            wrt=["w", "s0"], backend="numpy",
        )  # fmt: skip
        emitted = emit_rows(made.program, "batch")
        assert emitted.rows * emitted.lanes * 4 <= L2_BYTES
        rows.append(emitted.rows)
        lines.append(len(emitted.source.splitlines()))
    assert rows[1] < 3 * rows[0] < 3 * 2_000
    assert lines[0] == lines[1]
