"""Every op means what NumPy means, and both modes differentiate it as central differences do."""

import numpy as np
import pytest

from mcgrad.differentiate.elementwise import DERIVATIVES
from mcgrad.differentiate.structural import FORWARD, REVERSE
from mcgrad.ir.build import apply, const, input_, reduce
from mcgrad.ir.ops import OPS
from tests.ops.problems import ALL_SAMPLES, MODES, OP_SAMPLES, central_differences, evaluate, weighted
from tests.ops.samples import SAMPLES

ELSEWHERE = {  # see test_table, test_integrand
    *("input", "const", "noise", "argument", "table", "native_value", "native_gradient"),
}


def leaves_of(sample, seed=0):
    rng = np.random.default_rng(seed)
    pairs = zip(sample.shapes, sample.domains, strict=True)
    return {input_(f"x{i}", shape): rng.uniform(*domain, (*shape, 1)) for i, (shape, domain) in enumerate(pairs)}


def test_every_op_of_the_table_has_a_sample():
    assert set(SAMPLES) == set(OPS) - ELSEWHERE


def test_every_op_without_a_derivative_rule_is_known():
    without = {op for op in OPS if op not in {*DERIVATIVES, *REVERSE}} - {"input", "const", "noise", "argument"}
    without.remove("loop")  # whose rules are functions of their own, in `differentiate/loops.py`
    assert {op for op in without if OPS[op].result == "float"} == {
        *("trigamma", "gamma_slope_a", "gamma_slope_e", "native_gradient"),
    }
    nonlinear = {op for op in OPS if not OPS[op].linear and OPS[op].category not in ("leaf", "elementwise")}
    assert nonlinear - set(FORWARD) == {"native_gradient", "loop"}


@pytest.mark.parametrize("sample", OP_SAMPLES, ids=lambda sample: sample.id)
def test_an_op_means_what_numpy_means(sample):
    at = leaves_of(sample)
    got = evaluate(sample.build(*at), at)[..., 0]
    with np.errstate(invalid="ignore"):
        want = np.asarray(sample.meaning(*(x[..., 0] for x in at.values())))
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sample", [s for s in ALL_SAMPLES if s.smooth], ids=lambda sample: sample.id)
def test_both_modes_agree_with_central_differences(sample, mode):
    at = leaves_of(sample)
    value = weighted(sample.build(*at))
    for var, grad, want in zip(at, MODES[mode](value, list(at)), central_differences(value, list(at), at), strict=True):
        assert grad.shape == var.shape
        np.testing.assert_allclose(evaluate(grad, at)[..., 0], want, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("mode", MODES)
def test_an_op_without_a_derivative_rule_raises_rather_than_giving_zero(mode):
    x = input_("x", ())
    with pytest.raises(TypeError, match="trigamma has no derivative rule"):
        MODES[mode](apply("trigamma", x), [x])


@pytest.mark.parametrize("mode", MODES)
def test_stop_has_no_derivative_and_implicit_that_of_its_second_argument(mode):
    x = input_("x", ())
    at = {x: np.array([0.7])}
    cdf, density = apply("sin", x), apply("exp", x)
    (held,) = MODES[mode](apply("multiply", apply("stop", x), x), [x])
    (grad,) = MODES[mode](apply("exp", apply("implicit", apply("multiply", x, x), cdf, density)), [x])
    assert evaluate(held, at)[0] == pytest.approx(0.7)
    assert evaluate(grad, at)[0] == pytest.approx(-np.exp(0.49) * np.cos(0.7) / np.exp(0.7))
    (none,) = MODES[mode](apply("add", x, apply("stop", apply("trigamma", x))), [x])  # no rule is needed there
    assert evaluate(none, at)[0] == 1.0


@pytest.mark.parametrize("mode", MODES)
def test_ties_of_max_and_products_with_zeros(mode):
    x = input_("x", (3,))
    at = {x: np.array([2.0, 2.0, 1.0])[:, None]}
    (grad,) = MODES[mode](reduce("max", x, (0,)), [x])
    np.testing.assert_array_equal(evaluate(grad, at)[:, 0], [0.5, 0.5, 0.0])
    for values, want in (([0.0, 2.0, 3.0], [6.0, 0.0, 0.0]), ([0.0, 0.0, 3.0], [0.0, 0.0, 0.0])):
        (grad,) = MODES[mode](reduce("prod", x, (0,)), [x])
        np.testing.assert_array_equal(evaluate(grad, {x: np.array(values)[:, None]})[:, 0], want)


@pytest.mark.parametrize("mode", MODES)
def test_what_a_branch_does_not_take_has_no_gradient(mode):
    x = input_("x", ())
    safe = apply("where", apply("less", x, 0.0), 0.0, apply("multiply", x, const(3.0)))
    (grad,) = MODES[mode](safe, [x])
    assert evaluate(grad, {x: np.array([-1.0])})[0] == 0.0
    assert evaluate(grad, {x: np.array([1.0])})[0] == 3.0
