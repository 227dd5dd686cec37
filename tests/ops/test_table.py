"""A table holds an array for each number: made in float64 on the host, differentiable where it says so."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.functions.implicit_derivative import look_up, stop
from mcgrad.ir.build import input_, noise, table
from mcgrad.ir.interpret import interpret
from mcgrad.ir.lookup import Table
from mcgrad.ir.vmap import vmap
from tests.ops.problems import MODES, central_differences, evaluate, weighted


def powers(x, highest):
    return x ** np.arange(highest + 1.0)


def slopes(x, highest):
    k = np.arange(highest + 1.0)
    return k * x ** np.maximum(k - 1, 0)


POWERS = Table(powers, (3,), (4,), Table(slopes, (3,), (4,)))


def test_it_is_one_array_for_each_element():
    x = input_("x", (2,))
    y = table(x, POWERS)
    assert y.shape == (2, 4)
    np.testing.assert_array_equal(evaluate(y, {x: np.array([[2.0], [3.0]])})[..., 0], [[1, 2, 4, 8], [1, 3, 9, 27]])
    assert repr(POWERS) == "powers(3,)"


def test_it_is_made_in_float64_and_then_rounded():
    x = input_("x", ())
    third = np.array([1 / 3], np.float32)
    (y,) = interpret([table(x, POWERS)], {x: third}, "float32")
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y[:, 0], powers(float(third[0]), 3).astype(np.float32))


@pytest.mark.parametrize("mode", MODES)
def test_derivatives(mode):
    x = input_("x", (2,))
    at = {x: np.array([[0.7], [-1.2]])}
    value = weighted(table(x, POWERS))
    (grad,) = MODES[mode](value, [x])
    np.testing.assert_allclose(evaluate(grad, at)[..., 0], central_differences(value, [x], at)[0], rtol=1e-9)
    with pytest.raises(TypeError, match=r"table slopes\(3,\) has no derivative rule"):
        MODES[mode](weighted(table(x, POWERS.derivative)), [x])


def test_vmap_is_a_loop():
    x, wide = noise(0, "uniform", ()), noise(0, "uniform", (3,))
    (y,) = vmap([table(x, POWERS)], {x: wide}, 3)
    np.testing.assert_array_equal(
        evaluate(y, {wide: np.arange(3.0)[:, None]})[..., 0], [powers(k, 3) for k in range(3)]
    )


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_in_a_transform(backend):
    def transform(eps, *, a):
        return eps * np.sum(look_up(POWERS, a)) + 0.0 * np.sum(look_up(POWERS, stop(a)))

    q = mg.Reparameterized(transform, {"a": 0.5}, mg.noise.uniform())
    est = mg.estimate(lambda z: z, q, n=1000, backend=backend, seed=1)
    mean = est.value / 1.875
    assert mean == pytest.approx(0.5, abs=0.05)
    assert est.grad["a"] == pytest.approx(2.75 * mean, rel=1e-12)


def test_what_differs_from_draw_to_draw_is_refused():
    q = mg.Reparameterized(lambda eps, *, a: a * look_up(POWERS, eps)[1], {"a": 0.5}, mg.noise.uniform())
    with pytest.raises(mg.TraceError, match="made on the host, of parameters that no draw changes"):
        mg.estimate(lambda z: z, q, n=10)
