"""Integrands that return arrays inside JAX: values, any combination of derivatives, and errors are `mg.estimate`'s."""

from functools import partial

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed")

import jax.numpy as jnp  # noqa: E402

import mcgrad as mg  # noqa: E402
import mcgrad.jax  # noqa: E402

LOC, SCALES = np.array([0.3, -0.2], "f"), np.arange(1.0, 5.0, dtype="f")
W = np.array([[1.0, 0.5], [-0.5, 1.0], [2.0, 0.1]], "f")
agree = partial(np.testing.assert_allclose, rtol=1e-5, atol=3e-6)


def array(z, *, w):
    return np.tanh(w[0] @ z)


def arrays(z, *, w):
    return {"a": np.tanh(w[0] @ z), "b": {"c": z[0]}}


def same(ours, theirs):
    jax.tree.map(agree, ours, theirs)


def of(f, batch, reduce, loc, w, key=3, function=mcgrad.jax.expectation):
    rows = {"batch_ndim": 1, "reduce": reduce} if batch else {}
    return function(f, mg.Normal, 100, key, params={"w": [w]}, loc=loc, scale=1.0, backend="numpy", **rows)


def right(f, batch, reduce, **options):
    def of_numpy(z, *, w):
        return f(z, w=[w])

    q = mg.Normal(*point(batch)[:1], np.float32(1.0), **({"batch_ndim": 1} if batch else {}))
    options |= {"reduce": reduce} if batch else {}
    return mg.estimate(of_numpy, q, 100, params={"w": W}, seed=3, backend="numpy", **options)


def point(batch):
    return (np.multiply.outer(SCALES, LOC) if batch else LOC), W


def summed(nested, weights):
    return sum(jnp.sum(x * c) for x, c in zip(jax.tree.leaves(nested), jax.tree.leaves(weights), strict=True))


@pytest.mark.parametrize("f", [array, arrays])
@pytest.mark.parametrize(("batch", "reduce"), [(False, None), (True, None), (True, "sum"), (True, "mean")])
def test_values_and_derivatives(f, batch, reduce):
    call, at = partial(of, f, batch, reduce), point(batch)
    value = right(f, batch, reduce).value
    same(jax.jit(call)(*at), value)
    weights = jax.tree.map(lambda x: np.cos(1.0 + np.arange(np.size(x))).reshape(np.shape(x)).astype("f"), value)
    of_loc, of_w = jax.jit(jax.grad(lambda *at: summed(call(*at), weights), argnums=(0, 1)))(*at)
    slope = right(f, batch, reduce, cotangent=weights).grad
    agree(of_loc, slope["loc"] * (1 / len(SCALES) if reduce == "mean" else 1.0))
    agree(of_w, slope["w"])
    reverse, forward = (jax.jit(transform(call, argnums=1))(*at) for transform in (jax.jacrev, jax.jacfwd))
    same(reverse, forward)


@pytest.mark.parametrize("batch", [False, True])
def test_errors_nest_as_the_value(batch):
    found = of(arrays, batch, None, *point(batch), function=mcgrad.jax.estimate)
    est = right(arrays, batch, "none")
    for name in ("value", "stderr"):
        same(getattr(found, name), getattr(est, name))
    for name in ("grad", "grad_stderr"):
        theirs = getattr(est, name)
        same(getattr(found, name)["loc"], theirs["loc"])
        same(getattr(found, name)["w"], [theirs["w"]])


@pytest.mark.parametrize("batch", [False, True])
def test_rows_of_vmap(batch):
    call, keys = partial(of, arrays, batch, None, *point(batch)), jnp.arange(3)
    found = jax.vmap(call)(keys)
    for key in range(3):
        same(jax.tree.map(lambda x, key=key: x[key], found), call(key))

    def total(w, key):
        return sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(of(array, batch, None, point(batch)[0], w, key)))

    slopes = jax.vmap(jax.grad(total), in_axes=(None, 0))(W, keys)
    agree(slopes[2], jax.grad(total)(W, 2))


def test_arrays_are_refused_where_f_is_traced_at_the_first_execution():
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"f: given an integrand that returns .*one number, where"):
        jax.block_until_ready(
            jax.jit(lambda loc: mcgrad.jax.expectation(np.sin, mg.Normal, 100, 1, method="auto", loc=loc))(LOC)
        )
