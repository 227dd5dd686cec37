"""Expectations under jit, grad, jvp, vmap and scan: the numbers of `mg.estimate` at the seed that is in the key."""

from functools import partial

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed")

import jax.numpy as jnp  # noqa: E402

import mcgrad as mg  # noqa: E402
import mcgrad.jax  # noqa: E402
from tests.jax.problems import PHI, N, f, phi, value, without_jax  # noqa: E402

ROUNDING = {"float32": 2e-6, "float64": 1e-13}
wide = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64


expectation = partial(mcgrad.jax.expectation, backend="numpy")
estimate = partial(mg.estimate, backend="numpy")


def agree(found, expected, dtype="float32"):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=ROUNDING[dtype], atol=1e-12), found, expected)


@pytest.mark.parametrize("callback", [False, True])
@pytest.mark.parametrize(("dtype", "backend"), [("float32", "cpu"), ("float32", "numpy"), ("float64", "numpy")])
@pytest.mark.parametrize("jit", [jax.jit, lambda function: function])
def test_value_and_gradient_are_those_of_an_estimate(jit, dtype, backend, callback):
    with wide(dtype == "float64"):
        both = jit(jax.value_and_grad(lambda p, key: value(p, key, callback=callback, backend=backend)))
        found, grad = both(phi(dtype), jax.random.key(7))
        assert found.dtype == grad["loc"].dtype == dtype
        expected = without_jax(7, dtype, backend)
        agree((found, grad), (expected.value, expected.grad), dtype)


def test_gradient_of_a_jitted_function_in_one_parameter_and_forward_mode():
    key, along = jax.random.key(7), jnp.array([1.0, -2.0, 0.5])
    expected = without_jax(7)
    at = phi()
    slope = jax.jvp(lambda loc: value({**at, "loc": loc}, key), (at["loc"],), (along,))[1]
    agree(slope, expected.grad["loc"] @ along)
    agree(jax.grad(jax.jit(lambda scale: value({**at, "scale": scale}, key) ** 2))(at["scale"]),
          2 * expected.value * expected.grad["scale"])  # fmt: skip
    agree(jax.grad(jax.checkpoint(lambda w: value({**at, "w": w}, key)))(at["w"]), expected.grad["w"])


def test_seeds():
    at = phi()
    expected = without_jax((3 << 32) + 5).value
    for key in ((3 << 32) + 5, jnp.array([3, 5], np.uint32)):
        agree(value(at, key), expected)
    agree(value(at, jnp.int32(11)), without_jax(11).value)
    agree(jax.jit(value)(at, jnp.int32(11)), without_jax(11).value)
    agree(value(at, jax.random.PRNGKey(11)), without_jax(11).value)
    other = jax.random.key(11, impl="rbg")
    seeds = [int(x) for x in jax.random.bits(other, (2,), np.uint32)]
    agree(value(at, other), without_jax(seeds[0] << 32 | seeds[1]).value)


@pytest.mark.parametrize("callback", [False, True])
def test_rows_of_vmap_are_those_of_a_loop(callback):
    def one(loc, key):
        return value(phi(loc=loc), key, callback=callback)

    locs, keys = jnp.arange(12.0).reshape(4, 3) / 5, jax.random.split(jax.random.key(1), 4)
    agree(jax.vmap(one)(locs, keys), [one(loc, key) for loc, key in zip(locs, keys, strict=True)])
    found = jax.jit(jax.vmap(jax.grad(one), in_axes=(0, None)))(locs, keys[0])
    agree(found, jnp.stack([jax.grad(one)(loc, keys[0]) for loc in locs]))
    table = jax.vmap(lambda loc: jax.vmap(lambda key: one(loc, key))(keys))(locs)
    agree(table, [[one(loc, key) for key in keys] for loc in locs])
    table = jax.vmap(jax.vmap(one, in_axes=(1, None)), in_axes=(None, 0))(locs.T, keys)
    agree(table, [[one(loc, key) for loc in locs] for key in keys])


def test_shared_parameters_get_the_sum_over_rows():
    locs, keys = jnp.arange(12.0).reshape(4, 3) / 5, jax.random.split(jax.random.key(1), 4)
    at, weights = phi(), jnp.array([1.0, 2.0, -1.0, 0.5])

    def total(w):
        return weights @ jax.vmap(lambda loc, key: value({**at, "loc": loc, "w": w}, key))(locs, keys)

    each = [jax.grad(lambda w, i=i: value({**at, "loc": locs[i], "w": w}, keys[i]))(at["w"]) for i in range(4)]
    agree(jax.jit(jax.grad(total))(at["w"]), weights @ jnp.stack(each), "float32")


def test_rows_need_not_be_there():
    assert jax.vmap(lambda loc: value(phi(loc=loc), 0))(jnp.ones((0, 3))).shape == (0,)


def test_scan_of_optimisation_steps():
    def step(loc, key):
        grad = jax.grad(lambda at: expectation(lambda z: (z - 3.0) ** 2, mg.Normal, 64, key, loc=at))(loc)
        return loc - 0.1 * grad, loc

    keys = jax.random.split(jax.random.key(0), 60)
    last, path = jax.jit(lambda start: jax.lax.scan(step, start, keys))(jnp.float32(0.0))
    loc = jnp.float32(0.0)
    for i in range(3):
        agree(path[i], loc)
        loc, _ = step(loc, keys[i])
    assert abs(last - 3.0) < 4.5 * np.sqrt(0.1 / 64)  # of an autoregression with noise of 0.2 / sqrt(64) a step


def test_estimate_has_standard_errors_and_all_gradients():
    expected = without_jax(3)

    def both(p):
        est = mcgrad.jax.estimate(
            f, mg.Normal, N, 3, params={"w": p["w"]}, data={"x": jnp.float32([0.3, 0.1, 0.2])}, loc=p["loc"],
            scale=p["scale"], backend="numpy",
        )  # fmt: skip
        return est.value, est

    grad, est = jax.jit(jax.grad(both, has_aux=True))(phi())
    agree((est.value, est.grad, grad), (expected.value, expected.grad, expected.grad))
    agree((est.stderr, est.grad_stderr), (expected.stderr, expected.grad_stderr))
    assert est.nonfinite == 0
    rows = jax.vmap(lambda loc: both(phi(loc=loc))[1])(jnp.stack([PHI["loc"]] * 2))
    agree(rows.grad_stderr["scale"], np.stack([expected.grad_stderr["scale"]] * 2))


def test_pytrees_of_parameters():
    layers = [(jnp.full((2, 3), 0.3), jnp.zeros(2)), (jnp.ones((1, 2)), jnp.ones(1))]

    def net(z, *, layers, shift):
        for weight, bias in layers:
            z = np.tanh(weight @ z + bias)
        return z[0] + shift["by"]

    def loss(layers):
        params = {"layers": layers, "shift": {"by": 1.0}}
        return expectation(net, mg.Normal, 100, 1, params=params, loc=jnp.zeros(3))

    def flat_net(z, *, a, b, c, d):
        return net(z, layers=[(a, b), (c, d)], shift={"by": 1.0})

    params = dict(zip("abcd", map(np.asarray, jax.tree.leaves(layers)), strict=True))
    expected = estimate(flat_net, mg.Normal(np.zeros(3)), 100, seed=1, params=params, dtype="float32")
    grad = jax.grad(loss)(layers)
    assert jax.tree.structure(grad) == jax.tree.structure(layers)
    agree(jax.tree.leaves(grad), [expected.grad[name] for name in "abcd"])
    params = {"layers": layers, "shift": {"by": 1.0}}
    est = mcgrad.jax.estimate(net, mg.Normal, 100, 1, params=params, loc=jnp.zeros(3), backend="numpy")
    agree(est.grad["layers"], grad)


@pytest.mark.parametrize(
    ("q", "params", "same"),
    [
        (mg.Uniform, {"low": -1.0, "high": 3.0}, mg.Uniform),
        (mg.Triangular, {"low": -1.0, "high": 3.0, "peak": 0.5}, mg.Triangular),
        (mg.MultivariateNormal, {"loc": [0.0, 1.0], "scale_tril": [[1.0, 0.0], [0.5, 2.0]]}, mg.MultivariateNormal),
        (mg.Dirichlet, {"concentration": [1.0, 2.0, 3.0]}, mg.Dirichlet),
        (lambda loc: mg.Normal(loc, 2.0), {"loc": [0.5, 0.25]}, lambda loc: mg.Normal(loc, 2.0)),
        (mg.Normal([9.0, 9.0], 2.0), {"loc": [0.5, 0.25]}, lambda loc: mg.Normal(loc, 2.0)),
    ],
)
def test_families(q, params, same):
    params = {name: np.asarray(x, np.float32) for name, x in params.items()}

    def total(**own):
        return expectation(lambda z: np.sum(np.cos(z)), q, 200, 4, **own)

    expected = estimate(lambda z: np.sum(np.cos(z)), same(**params), 200, seed=4, dtype="float32")
    value, grad = jax.jit(jax.value_and_grad(lambda own: total(**own)))(params)
    agree((value, grad), (expected.value, {name: expected.grad[name] for name in params}))


def test_joints_objectives_and_settings():
    q = mg.Joint(a=mg.Normal(0.0, 1.0), b=mg.Gamma(2.0, 1.0))

    def g(z):
        return z["a"] * z["b"]

    found = jax.jit(jax.grad(lambda a: expectation(g, q, 100, 2, a={"loc": a})))(jnp.float32(0.7))
    agree(found, estimate(g, q.with_params(a={"loc": 0.7}), 100, seed=2, dtype="float32").grad["a"]["loc"])
    elbo = mg.elbo(lambda z: -(z**2), mg.Normal(0.0, 1.0))
    found = jax.jit(jax.grad(lambda scale: expectation(elbo, None, 100, 2, scale=scale)))(jnp.float32(0.7))
    expected = estimate(mg.elbo(lambda z: -(z**2), mg.Normal(0.0, 0.7)), n=100, seed=2, dtype="float32")
    agree(found, expected.grad["scale"])
    found = jax.jit(
        lambda probs: expectation(lambda z: z**2, mg.Binomial, 100, 2, method="score", total_count=5, probs=probs)
    )(0.3)
    agree(found, estimate(lambda z: z**2, mg.Binomial(5, 0.3), 100, seed=2, method="score", dtype="float32").value)


def test_auto_chooses_at_the_first_execution():
    def loss(loc):
        return expectation(lambda z: np.where(z > 1.0, z, 0.0), mg.Normal, 4000, 2, method="auto", loc=loc)

    found = jax.jit(jax.value_and_grad(loss))(jnp.float32(0.5))
    expected = estimate(
        lambda z: np.where(z > 1.0, z, 0.0), mg.Normal(0.5), 4000, seed=2, method="auto", wrt="loc", dtype="float32"
    )
    agree(found, (expected.value, expected.grad["loc"]))


def test_antithetic_pairs_are_those_of_an_estimate():
    def wave(z):
        return np.sum(np.sin(z))

    loc, scale = np.array([0.3, -0.2], np.float32), np.array([1.2, 0.7], np.float32)
    known = estimate(wave, mg.Normal(loc, scale), 400, seed=3, antithetic=True)

    @jax.jit
    @jax.value_and_grad
    def both(loc):
        return expectation(wave, mg.Normal, 400, jax.random.key(3), loc=loc, scale=scale, antithetic=True)

    agree(both(jnp.asarray(loc)), (known.value, known.grad["loc"]))
    found = mcgrad.jax.estimate(
        wave, mg.Normal, 400, jax.random.key(3), loc=loc, scale=scale, antithetic=True, backend="numpy"
    )
    agree(found.stderr, known.stderr)
