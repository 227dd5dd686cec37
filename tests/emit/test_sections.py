"""Long functions are divided into sections: the same numbers, from functions of a bounded number of loops."""

import ast

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.codegen.cpu import chunk, sections
from mcgrad.codegen.loops.loop_tree import Leave, Loop, Section, walk
from tests.emit.plain import plain_backend  # noqa: F401 - a fixture
from tests.emit.test_plain import GROUPS, agree
from tests.ops.problems import pack


@pytest.fixture
def all_in_sections(monkeypatch):
    """Divide every function, after each loop."""
    for name, value in (("LONG", 0), ("MOST", 1), ("FEWEST", 1)):
        monkeypatch.setattr(sections, name, value)


def filtered(z, *, ys):
    """The log likelihood of a Kalman filter of two states: a loop of many nests."""

    def step(carry, y):
        mean, cov, total = carry
        a = np.array([[1.0, 0.1], [0.0, 1.0]]) * np.exp(-0.1 * z[0])
        mean, cov = a @ mean, a @ cov @ a.T + np.exp(z[1]) * np.eye(2)
        s = cov + np.eye(2)
        gain, error = np.linalg.solve(s, cov).T, y - mean
        total = total - 0.5 * (error @ np.linalg.solve(s, error) + np.linalg.slogdet(s)[1])
        return (mean + gain @ error, cov - gain @ s @ gain.T, total), None

    return mg.scan(step, (np.zeros(2), np.eye(2), 0.0), ys)[0][2]


def until(z):
    """A loop that draws leave, with nests and another loop in each step."""

    def body(carry):
        x, n = carry
        x = x + np.cumsum(z) * 0.3
        return x + mg.scan(lambda c, y: (c + 0.01 * y, None), 0.0, z)[0], n + 1.0

    return np.sum(mg.while_loop(lambda carry: np.max(carry[0]) < 1.0, body, (np.zeros(3), 0.0), 30)[0])


def product(z, *, x):
    """A product by BLAS."""
    return np.sum(np.tanh(x @ z))


FILTER = (filtered, mg.Normal(np.zeros(2), 0.3), {"data": {"ys": np.linspace(-1.0, 1.0, 12).reshape(6, 2)}})
CASES = {
    "a filter": FILTER,
    "a loop that draws leave": (until, mg.Normal(np.full(3, 0.5), 0.2), {"method": "score"}),
    "a matrix product": (product, mg.Normal(np.zeros(8), 1.0), {"data": {"x": np.ones((20, 8))}}),
}


@pytest.mark.usefixtures("all_in_sections")
@pytest.mark.parametrize("group", GROUPS[::9], ids=lambda group: f"{group[0].id}..{group[-1].id}")
def test_sections_are_given_what_they_read(group, plain_backend):  # noqa: F811
    packed = pack(group, "float64", "forward")
    agree(plain_backend, packed.program, packed.inputs, (13, 21))


@pytest.mark.usefixtures("all_in_sections", "plain_backend")
@pytest.mark.parametrize("case", CASES)
def test_loops_and_products_in_sections(case):
    f, q, given = CASES[case]
    ours, reference = (mg.Estimator(f, q, backend=name, threads=1, **given) for name in ("cpu", "numpy"))
    assert "def section1(" in chunk.emit(ours.program).source
    got, want = ours(40, seed=3), reference(40, seed=3)
    np.testing.assert_allclose(got.value, want.value, rtol=1e-12)
    for name, grad in want.grad.items():
        np.testing.assert_allclose(got.grad[name], grad, rtol=1e-10, err_msg=name)


def test_a_loop_that_draws_leave_looks_for_its_end_itself():
    leave = Leave(None, 0, 1)
    step = tuple(Loop(f"i{k}", 3, "element", (Loop("w", None, "lane", ()),)) for k in range(30))
    (loop,) = sections._divided((Loop("n0", 5, "serial", (*step, leave)),))
    assert [type(node) for node in loop.body] == [Section, Section, Section, Leave]
    assert all(sections.loops(node.body) <= sections.MOST + 1 for node in loop.body[:-1])
    assert [node for node in walk(loop.body) if isinstance(node, Loop)] == [*walk(step)]


def test_short_functions_stay_whole_and_long_ones_do_not():
    sizes = {}
    for steps in (1, 15):
        made = mg.Estimator(repeated, mg.Normal(np.zeros(3), 1.0), data={"steps": np.arange(steps)}, backend="numpy")
        module = ast.parse(chunk.emit(made.program).source)
        functions = [node for node in module.body if isinstance(node, ast.FunctionDef)]
        sizes[steps] = [sum(isinstance(node, ast.For) for node in ast.walk(function)) for function in functions]
    assert len(sizes[1]) == 1
    assert len(sizes[15]) > 3
    assert max(sizes[15]) < sections.LONG


def repeated(z, *, steps):
    """Cumulative sums one after the other, each along a loop of its own."""
    for step in steps:
        z = np.tanh(np.cumsum(z * np.sum(z)) + np.max(z) + float(step) ** 2)
    return np.sum(z)


def test_machine_code_in_sections_gives_the_same_bits(monkeypatch):
    given = (repeated, mg.Normal(np.zeros(3), 1.0))
    whole = mg.Estimator(*given, data={"steps": np.arange(2)}, backend="cpu")(1000, seed=1)
    for name, value in (("LONG", 0), ("MOST", 3), ("FEWEST", 1)):
        monkeypatch.setattr(sections, name, value)
    divided = mg.Estimator(*given, data={"steps": np.arange(2)}, backend="cpu")
    assert "def section1(" in chunk.emit(divided.program).source
    estimate = divided(1000, seed=1)
    assert (estimate.value, estimate.stderr) == (whole.value, whole.stderr)
    assert all(np.array_equal(estimate.grad[name], whole.grad[name]) for name in whole.grad)


def test_lanes_that_carry_rows_give_the_same_bits_in_sections(monkeypatch):
    q = mg.Normal(np.linspace(-1.0, 1.0, 60).reshape(20, 3), np.ones((20, 3)), batch_ndim=1)
    f = lambda z: repeated(z, steps=np.arange(1))  # noqa: E731
    given = {"n": 16, "seed": 1, "backend": "cpu"}
    whole = mg.estimate(f, q, **given)
    for name, value in (("LONG", 0), ("MOST", 3), ("FEWEST", 1)):
        monkeypatch.setattr(sections, name, value)
    divided = mg.estimate(f, q, **given)
    assert np.array_equal(divided.value, whole.value)
    assert all(np.array_equal(divided.grad[name], whole.grad[name]) for name in whole.grad)
