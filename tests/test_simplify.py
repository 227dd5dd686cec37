"""Simplified Programs mean the same; what no draw changes is computed once, outside the kernel."""

import numpy as np
import pytest

from mcgrad.backends.numpy import NumpyBackend
from mcgrad.finish import Finisher
from mcgrad.ir.build import apply, const, einsum, input_, noise, reduce, scan
from mcgrad.ir.program import Output, Program
from mcgrad.simplify import simplify
from tests.ops.problems import ALL_SAMPLES, pack

GROUPS = [ALL_SAMPLES[start : start + 30] for start in range(0, len(ALL_SAMPLES), 30)]


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: f"{group[0].id}..{group[-1].id}")
def test_simplification_keeps_the_meaning(group):
    packed = pack(group, "float64", simplified=False)
    program, simpler = packed.program, simplify(packed.program)
    assert len(simpler.equations()) < len(program.equations())
    before, after = (
        Finisher(version, {})(NumpyBackend().compile(version).bind(packed.inputs).partial(5, 40, 41, False).moments,
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
    (out,) = simplify(Program((Output("value", apply("multiply", apply("negative", tau), z)),), "float64")).outputs
    assert out.var is z or out.var.op == "noise"
    assert out.scale is not None
    assert not out.scale.random


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
