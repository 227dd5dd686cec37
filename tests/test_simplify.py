"""Simplified Programs mean the same; what no draw changes is computed once, outside the kernel."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.base import one_chunk
from mcgrad.backends.numpy import NumpyBackend
from mcgrad.engine.epilogue import Finisher
from mcgrad.ir.build import apply, broadcast, const, einsum, input_, noise, reduce, reshape, scan
from mcgrad.ir.ops import OPS
from mcgrad.ir.program import Output, Program
from mcgrad.simplify.fixed_point import simplify
from tests.ops.problems import ALL_SAMPLES, pack

GROUPS = [ALL_SAMPLES[start : start + 30] for start in range(0, len(ALL_SAMPLES), 30)]


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: f"{group[0].id}..{group[-1].id}")
def test_simplification_keeps_the_meaning(group):
    packed = pack(group, "float64", simplified=False)
    program, simpler = packed.program, simplify(packed.program)
    if not any(OPS[var.op].category == "matrices" for var in program.equations()):  # of which one becomes many
        assert len(simpler.equations()) < len(program.equations())
    before, after = (
        Finisher(version, {})(one_chunk(NumpyBackend().compile(version).bind(packed.inputs), 5, 40, 41, False).moments,
                              packed.inputs).mean
        for version in (program, simpler)
    )  # fmt: skip
    np.testing.assert_allclose(after, before, rtol=1e-11, atol=1e-11)


def test_equal_equations_become_one():
    z = noise(0, "normal", ())
    twice = [apply("exp", apply("multiply", z, 2.0)) for _ in range(2)]
    program = simplify(Program((Output("value", apply("add", *twice)),), "float64"))
    assert [var.op for var in program.body()].count("exp") == 1


def test_order_of_the_arguments_of_commutative_ops_does_not_matter():
    x, y = noise(0, "normal", ()), noise(1, "normal", ())
    program = simplify(Program((Output("a", apply("add", x, y)), Output("b", apply("add", y, x))), "float64"))
    a, b = program.outputs
    assert a.var is b.var


def test_a_factor_of_an_output_moves_behind_the_mean():
    z, tau = noise(0, "normal", ()), input_("tau", ())
    (out,) = simplify(Program((Output("value", apply("multiply", -0.5, apply("negative", z))),), "float64")).outputs
    assert out.var.op == "noise"
    assert out.scale.attrs.array == 0.5
    (out,) = simplify(Program((Output("value", apply("multiply", tau, z)),), "float64")).outputs
    assert out.var.op == "multiply"  # tau may be 1e-30 and z 1e30, whose square is a sum's


def test_rewrites_come_to_an_end(monkeypatch):
    """No two of them undo each other: a simplified Program is left as it is."""
    packed = pack(ALL_SAMPLES, "float64", simplified=False).program
    simpler = simplify(simplify(packed))
    monkeypatch.setattr("mcgrad.simplify.fixed_point.PASSES", 1)
    assert len(simplify(simpler).equations()) == len(simpler.equations())
    assert str(simplify(simpler)) == str(simpler)


def test_counts_are_divided_as_numpy_divides_them():
    """49 * (1 / 49) is less than one; a continuous draw meets no such edge."""
    k, s = apply("floor", apply("multiply", noise(0, "uniform", ()), 50.0)), const(49.0)
    ops = [var.op for var in simplify(Program((Output("value", apply("divide", k, s)),), "float64")).body()]
    assert "divide" in ops
    z = noise(0, "normal", ())
    ops = [
        var.op for var in simplify(Program((Output("value", apply("sin", apply("divide", z, s))),), "float64")).body()
    ]
    assert "divide" not in ops
    counts = mg.estimate(lambda k: k // 49, mg.Poisson(49.0), n=4000, backend="numpy", method="score")
    assert abs(counts.value - 0.5189993) < 5 * counts.stderr  # the sum of k // 49 over the probabilities


@pytest.mark.parametrize("scale", [1e-20, 1e-18, 1e18, 1e20])
@pytest.mark.parametrize("method", ["pathwise", "score"])
def test_a_unit_of_measure_changes_nothing(method, scale):
    """f(z / s) of a Normal in units of s, s past the root of float32's range, has the gradient in units of 1 / s."""
    one, scaled = (
        mg.estimate(
            lambda z, *, s: np.exp(-((z / s) ** 2)), mg.Normal(0.3 * s, 1.2 * s), data={"s": np.array(s)}, n=2000,
            seed=4, dtype="float32", method=method, backend="numpy",
        )
        for s in (1.0, scale)
    )  # fmt: skip
    assert scaled.nonfinite == 0
    np.testing.assert_allclose(scaled.value, one.value, rtol=1e-5)
    for name in ("loc", "scale"):
        np.testing.assert_allclose(scaled.grad[name] * scale, one.grad[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("offset", [1e3, 1e6])
@pytest.mark.parametrize("inside", [np.sum, lambda x: np.mean(np.cumsum(x))])
def test_a_sum_of_differences_keeps_its_digits(inside, offset):
    """z near y: the float32 estimate is that of z - offset and y - offset on the same draws."""
    y, loc = np.random.default_rng(0).integers(-16, 16, (2, 200)) / 8.0  # offset + these are float32 numbers
    shifted, plain = (
        mg.estimate(lambda z, *, y: inside(z - y) ** 2, mg.Normal(loc + by, np.ones(200)), data={"y": y + by}, n=500,
                    seed=2, dtype="float32", backend="numpy")
        for by in (offset, 0.0)
    )  # fmt: skip
    np.testing.assert_allclose(shifted.value, plain.value, rtol=1e-5)
    np.testing.assert_allclose(shifted.grad["loc"], plain.grad["loc"], rtol=1e-3, atol=1e-3)


def test_a_sum_of_other_draws_is_not_split():
    z, y = apply("exp", noise(0, "normal", (5,))), input_("y", (5,))
    (total,) = simplify(Program((Output("value", reduce("sum", apply("subtract", z, y), (0,))),), "float64")).outputs
    assert total.var.op == "sum"
    assert total.var.args[0].op == "subtract"


@pytest.mark.parametrize("op", ["sum", "cumsum"])
def test_scalars_and_summands_that_no_draw_changes_leave_sums_and_scans(op):
    z, tau, drift = noise(0, "normal", (5,)), input_("tau", ()), input_("drift", (5,))
    x = apply("add", drift, apply("multiply", tau, z))
    total = reduce("sum", x, (0,)) if op == "sum" else reduce("max", scan("cumsum", x, 0), (0,))
    body = simplify(Program((Output("value", total),), "float64")).body()
    (inside,) = [var for var in body if var.op == op]
    assert inside.args[0].op == "noise"


def test_products_of_data_with_data_are_computed_once():
    X, w, z = input_("X", (4, 3)), input_("w", (3,)), noise(0, "normal", (4,))
    value = reduce("sum", apply("multiply", apply("exp", einsum("ij,j->i", X, w)), z), (0,))
    program = simplify(Program((Output("value", value),), "float64"))
    assert {var.op for var in program.body()} <= {"noise", "multiply", "sum"}
    assert [var.op for var in program.hoisted() if not var.is_const] == ["exp"]


def test_identities_keep_non_finite_values():
    """x * 0 stays: it is NaN where x is infinite."""
    z = noise(0, "normal", ())
    assert apply("multiply", z, 0.0).op == "multiply"
    assert apply("subtract", z, z).op == "subtract"
    assert apply("divide", z, z).op == "divide"
    for op, unit in (("add", 0.0), ("multiply", 1.0), ("divide", 1.0), ("subtract", 0.0), ("power", 1.0)):
        assert apply(op, z, unit) is z
    assert apply("add", const(1.0), const(2.0)).attrs.array == 3.0


def test_long_chains_are_simplified_without_recursion():
    z, u = noise(0, "normal", ()), input_("u", ())
    total = z
    for i in range(3000):
        total = apply(("add", "subtract")[i % 2], total, u)
    value = reduce("sum", broadcast(reshape(total, (1,)), (3,)), (0,))
    assert simplify(Program((Output("value", value),), "float64")).outputs[0].var.by_draw
