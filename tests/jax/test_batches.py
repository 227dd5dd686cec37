"""Batches inside JAX: the rows of `mg.estimate`, with gradients by row or, reduced, of sums and means over the rows."""

from functools import partial

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed")

import jax.numpy as jnp  # noqa: E402

import mcgrad as mg  # noqa: E402
import mcgrad.jax  # noqa: E402
from mcgrad.jax import host_call  # noqa: E402

B, N = 5, 100
LOC, X = np.linspace(-1.0, 1.0, 2 * B).reshape(B, 2).astype("f"), np.linspace(0.5, 2.0, B).astype("f")
W = np.array([1.0, -2.0], "f")
WEIGHTS = np.arange(1.0, B + 1, dtype="f")
agree = partial(np.testing.assert_allclose, rtol=3e-6, atol=1e-6)


def f(z, *, w, x):
    return x * np.sum(w * np.sin(z))


def rows(loc, w, key=3, **options):
    params, data = {"w": w}, {"x": jnp.asarray(X)}
    return mcgrad.jax.expectation(
        f, mg.Normal, N, key, params=params, data=data, batched_data="x", loc=loc, batch_ndim=1, backend="numpy",
        **options,
    )  # fmt: skip


def without_jax(**options):
    q = mg.Normal(LOC, batch_ndim=1)
    options = {"dtype": "float32", "backend": "numpy", **options}
    return mg.estimate(f, q, N, params={"w": W}, data={"x": X}, batched_data="x", seed=3, **options)


def test_values_by_row_and_any_combination_of_their_gradients():
    agree(jax.jit(rows)(LOC, W), without_jax().value)
    of_loc, of_w = jax.jit(jax.grad(lambda loc, w: WEIGHTS @ rows(loc, w), argnums=(0, 1)))(LOC, W)
    each = without_jax(reduce="none").grad
    agree(of_loc, WEIGHTS[:, None] * each["loc"])
    agree(of_w, WEIGHTS @ each["w"])
    slope = jax.jvp(partial(rows, LOC), (W,), (np.float32([1.0, 0.5]),))[1]
    agree(slope, each["w"] @ [1.0, 0.5])


@pytest.mark.parametrize(("reduce", "share"), [("sum", 1.0), ("mean", 1 / B)])
def test_sums_and_means_over_the_rows(reduce, share):
    expected = without_jax(reduce=reduce)
    value, (of_loc, of_w) = jax.value_and_grad(partial(rows, reduce=reduce), argnums=(0, 1))(LOC, W)
    agree(value, expected.value)
    agree(of_loc, share * expected.grad["loc"])
    agree(of_w, expected.grad["w"])


def test_vmap_over_batches():
    keys = jax.random.split(jax.random.key(0), 3)
    agree(jax.vmap(partial(rows, LOC, W))(keys), [rows(LOC, W, key) for key in keys])
    ws = np.stack([W, 2 * W, -W])
    found = jax.vmap(jax.grad(lambda w, key: WEIGHTS @ rows(LOC, w, key)), in_axes=(0, None))(ws, keys[0])
    agree(found, [jax.grad(lambda w: WEIGHTS @ rows(LOC, w, keys[0]))(w) for w in ws])


@pytest.mark.parametrize("differs", ["loc", "w", "x", "key", "loc and key"])
def test_rows_of_vmap_are_one_batch(differs, monkeypatch):
    together = []
    whole = host_call.Call._together
    monkeypatch.setattr(host_call.Call, "_together", lambda *args: together.append(whole(*args)) or together[-1])

    def one(loc, w, x, key):
        params, data = {"w": w}, {"x": x}
        return mcgrad.jax.estimate(f, mg.Normal, N, key, params=params, data=data, loc=loc, backend="numpy")

    axes = [0 if name in differs else None for name in ("loc", "w", "x", "key")]
    args = LOC[0], W, X[0], np.uint32([1, 3])
    args = [np.stack([x, 2 * x, x - 1]) if axis == 0 else x for x, axis in zip(args, axes, strict=True)]
    found = jax.vmap(one, in_axes=axes)(*args)
    for i in range(3):
        expected = one(*(x if axis is None else x[i] for x, axis in zip(args, axes, strict=True)))
        jax.tree.map(lambda a, b, i=i: agree(a[i], b), found, expected)
    assert together == [True]


def test_errors_by_row():
    est = mcgrad.jax.estimate(
        f, mg.Normal(LOC, batch_ndim=1), N, 3, params={"w": W}, data={"x": X}, batched_data="x", backend="numpy"
    )
    expected = without_jax(reduce="none")
    agree(est.grad_stderr["w"], expected.grad_stderr["w"])
    agree(est.stderr, expected.stderr)
    assert est.nonfinite.shape == (B,)


@pytest.mark.parametrize("traced", [False, True])
def test_no_rows(traced):
    def total(loc, w):
        params, data = {"w": w}, {"x": X[:0]}
        q = {"loc": loc, "batch_ndim": 1}
        return jnp.sum(mcgrad.jax.expectation(f, mg.Normal, N, 3, params=params, data=data, batched_data="x", **q))

    gradient = jax.grad(total, argnums=(0, 1))
    of_loc, of_w = (jax.jit(gradient) if traced else gradient)(LOC[:0], W)
    assert of_loc.shape == (0, *LOC.shape[1:])
    agree(of_w, np.zeros_like(W))
    alone = lambda loc: mcgrad.jax.expectation(np.sum, mg.Normal, N, 3, loc=loc)  # noqa: E731
    with pytest.raises(mg.ParameterError, match=r"loc: given float.* array of shape \(0,\); accepted: .*not empty"):
        (jax.jit(alone) if traced else alone)(jnp.zeros(0))


@pytest.mark.parametrize("choice", [np.arange(B) % 2, np.arange(B) % 2 == 1], ids=["integers", "booleans"])
def test_integers_by_row_become_floats(choice):
    def one_of(z, *, i):
        return np.sum(np.where(np.arange(2) == i, z, 0.0))

    op = partial(mcgrad.jax.expectation, one_of, mg.Normal, N, 3, batch_ndim=1, batched_data="i", backend="numpy")
    q = mg.Normal(LOC, batch_ndim=1)
    own = mg.estimate(one_of, q, N, data={"i": choice}, batched_data="i", seed=3, dtype="float32", backend="numpy")
    agree(op(loc=LOC, data={"i": choice}), own.value)
    agree(jax.jit(lambda i: op(loc=LOC, data={"i": i}))(choice), own.value)


def test_refusals():
    with pytest.raises(mg.ParameterError, match="batched_params: given 'v'; accepted: any of w"):
        rows(LOC, W, batched_params="v")
    with pytest.raises(mg.ParameterError, match="reduce: given 'none'"):
        rows(LOC, W, reduce="none")
    with pytest.raises(mg.ParameterError, match="w: given"):
        rows(LOC, np.ones(3, "f"), batched_params="w")
    wrong = jax.jit(lambda scale: mcgrad.jax.expectation(np.sum, mg.Normal, N, 3, loc=LOC, scale=scale, batch_ndim=1))
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"scale: given -1\.0 .*row 1"):
        jax.block_until_ready(wrong(jnp.ones((B, 2)).at[1].set(-1.0)))
