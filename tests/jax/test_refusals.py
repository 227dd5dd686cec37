"""What cannot be is refused by name: while JAX traces by our errors, while it runs by JAX's, with our message."""

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed")

import jax.numpy as jnp  # noqa: E402

import mcgrad as mg  # noqa: E402
import mcgrad.jax  # noqa: E402
from tests.jax.problems import phi, value  # noqa: E402


@pytest.mark.parametrize("callback", [False, True])
def test_values_are_refused_while_it_runs(callback):
    bad = phi(scale=np.array([1.0, -2.0, 0.5]))
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"ParameterError: scale: given -2.0 .*accepted: finite and"):
        jax.block_until_ready(jax.jit(lambda p: value(p, 0, callback=callback))(bad))
    assert np.isfinite(value(phi(), 0, callback=callback))  # and JAX goes on


def test_second_derivatives():
    def loss(loc):
        return value({**phi(), "loc": loc}, 0)

    loc = phi()["loc"]
    for second in (jax.hessian(loss), jax.grad(lambda x: jnp.sum(jax.grad(loss)(x)))):
        with pytest.raises(mg.ParameterError, match="a derivative of the estimated gradient"):
            second(loc)
        with pytest.raises(mg.ParameterError, match="a derivative of the estimated gradient"):
            jax.jit(second)(loc)
    held = jax.grad(lambda x: loss(x) * jnp.sum(jax.lax.stop_gradient(jax.grad(loss)(x))))(loc)
    np.testing.assert_allclose(held, jax.grad(loss)(loc) * jnp.sum(jax.grad(loss)(loc)), rtol=1e-6)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: mcgrad.jax.expectation(np.sum, mg.Normal, 100, 0, mu=0.0), "Normal: given mu=; accepted: loc, scale"),
        (lambda: mcgrad.jax.expectation(np.sum, mg.Normal(), 100, 0, mu=0.0), "mu: given no parameter's name"),
        (lambda: mcgrad.jax.expectation(np.sum, mg.Normal(), 100, 0, loc=np.ones(2)), r"loc: given shape \(2,\)"),
        (lambda: mcgrad.jax.expectation(np.sum, mg.Normal, 1, 0, loc=0.0), "n: given 1"),
        (lambda: mcgrad.jax.expectation(np.sum, "Normal", 100, 0, loc=0.0), "q: given 'Normal'"),
        (lambda: mcgrad.jax.expectation(np.sum, mg.Normal, 100, -1, loc=0.0), "key: given -1"),
        (lambda: mcgrad.jax.expectation(np.sum, mg.Normal, 100, jax.random.split(jax.random.key(0)), loc=0.0), "key:"),
        (lambda: mcgrad.jax.expectation(np.sum, mg.Normal, 100, 0, loc=1j), "loc: given 1j"),
        (lambda: mcgrad.jax.expectation(np.sum, mg.Normal, 100, 0, loc=0.0, dtype="float64"), "dtype: given 'float64'"),
        (lambda: mcgrad.jax.expectation(np.sum, mg.Normal, 100, 0, method="scor", loc=0.0), "method: given 'scor'"),
        (lambda: mcgrad.jax.expectation(np.sum, mg.Normal, 100, 0, params={"loc": 1.0}, loc=0.0), "loc: given in para"),
        (lambda: mcgrad.jax.expectation(np.sum, mg.Normal, 100, 0, data={"seed": 1.0}, loc=0.0), "seed: given a name"),
        (lambda: mcgrad.jax.expectation(np.sum, lambda loc: loc, 100, 0, loc=0.0), "q: given a function that returns"),
        (
            lambda: jax.grad(lambda x: value(phi(), 0, x=x))(jnp.ones(3)),
            "x: given data in which JAX differentiates; accepted: params=",
        ),
        (
            lambda: jax.jit(
                lambda i: mcgrad.jax.expectation(lambda z, i: z[i], mg.Normal, 100, 0, data={"i": i}, loc=np.zeros(3))
            )(jnp.int32(1)),
            "i: given traced data of int32",
        ),
    ],
)
def test_arguments(act, message):
    with pytest.raises(mg.ParameterError, match=message):
        act()


def test_what_cannot_be_traced_names_the_line():
    def f(z):
        return float(z)

    with pytest.raises(mg.TraceError) as caught:
        jax.jit(lambda loc: mcgrad.jax.expectation(f, mg.Normal, 100, 0, loc=loc))(1.0)
    assert caught.value.filename == __file__


def test_values_of_a_transformation_that_f_reads():
    def of(w):
        return mcgrad.jax.expectation(lambda z: np.sum(z * w), mg.Normal, 10, 0, loc=1.0)

    for transformed in (jax.jit(of), jax.grad(of)):
        with pytest.raises(mg.TraceError, match=r"transformation of JAX.*params= or data="):
            transformed(2.0)
