"""Loops of JAX in `from_jax`: loops of mcgrad, with JAX's values and gradients, or unrolled where they are short."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.ir import build
from mcgrad.ir.program import toposort
from mcgrad.trace.trace import trace
from tests.frameworks.of_jax import jax, joined

from mcgrad.jax.jaxprs import loops  # isort: skip - imports JAX, which the line before looks for

jnp, lax = jax.numpy, jax.lax
V = np.array([-1.7, -0.4, 0.3, 0.9, 2.6])

LOOPED = {
    "fori_loop": lambda a: lax.fori_loop(0, 4, lambda i, x: x * 0.5 + a[i], a),
    "another start": lambda a: lax.fori_loop(1, 5, lambda i, x: x * jnp.sin(i * a[0]) + a[i - 1] * i, a),
    "backward": lambda a: lax.scan(lambda c, x: (c * x + 1.0, c), 1.0, a, reverse=True)[1],
    "while": lambda a: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * a * c[0]), (1, a))[1],
    "while by a constant": lambda a: lax.while_loop(
        lambda c: c[0] * V[4] < 9, lambda c: (c[0] * V[3] + 1, jnp.sin(c[1])), (1.0, a)
    ),
    "nested": lambda a: lax.scan(lambda c, x: (lax.scan(lambda d, y: (d * 0.5 + y * x, d), c, a)[0], c + x), 0.3, a),
    "an unchanged carry": lambda a: lax.fori_loop(0, 4, lambda i, s: (s[0], s[1] * 0.5 + s[0][i], i), (a, a, 0))[1],
    "booleans": lambda a: lax.scan(
        lambda c, x: ((c[0] | (x > 0.2), jnp.where(c[0], c[1] + x, c[1] - x)), c[0]), (False, 1.0), a
    ),
    "integers": lambda a: lax.scan(lambda c, x: (c + (x > 0), c * x), 0, a),
    "constants": lambda a: lax.scan(
        lambda c, x: (c + 1.5, (c, x * 2, a[0], 2.0, x[0] * c * a)), 0.0, jnp.arange(12.0).reshape(4, 3)
    ),
    "jit": lambda a: lax.scan(lambda c, x: jax.jit(lambda c, x: (c * x, jax.nn.logsumexp(a * c)))(c, x), 1.0, a),
    "take": lambda a: lax.fori_loop(0, 4, lambda i, x: x * jnp.take(a, (i * 3) % 5) + a[jnp.arange(2) + i].sum(), 0.7),
    "a column": lambda a: lax.fori_loop(0, 3, lambda i, x: x * 0.5 + jnp.outer(a, jnp.arange(3.0) + a[0])[:, i], a),
    "vmap": lambda a: jax.vmap(lambda s: lax.scan(lambda c, x: (c * s + x, jnp.sin(c)), 1.0, a)[1])(a),
    "checkpoint": lambda a: lax.scan(jax.checkpoint(lambda c, x: (jnp.tanh(c * x), c)), 1.0, a),
    "cond": lambda a: lax.scan(lambda c, x: (lax.cond(x > 0, lambda c: c * x, lambda c: c + x, c), c), 1.0, a),
    "exchange": lambda a: lax.scan(lambda c, x: ((c[1], c[0] * x), None), (1.0, a[1]), a),
    "constants exchanged": lambda a: lax.scan(lambda c, x: ((c[1], c[0], c[2] * x + c[0]), None), (1.0, 2.0, a[1]), a),
}
FEW = {
    "one step": lambda a: lax.scan(lambda c, x: (c * x, c), 1.0, a[:1]),
    "no step": lambda a: lax.scan(lambda c, x: (c * x, c), a[1], a[:0]),
    "unused": lambda a: lax.scan(lambda c, x: ((c[0] * x, c[1]), None), (1.0, a), a),
    "gradient": jax.grad(lambda a: lax.fori_loop(0, 4, lambda i, x: jnp.sin(x) * 0.5 + a[i] * a.sum(), 1.0)),
    "inner bound": lambda a: lax.fori_loop(0, 3, lambda i, x: lax.fori_loop(0, i, lambda j, y: y * a[j], x), a),
}


@pytest.fixture(scope="module")
def right():
    """Values and derivatives by JAX."""
    with jax.enable_x64(True):
        given = jnp.asarray(V)
        quickly = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
        found = jax.jit(
            lambda a: {name: (joined(f)(a), jax.jacfwd(joined(f))(a)) for name, f in (LOOPED | FEW).items()},
            compiler_options=quickly,
        )(given)
    return jax.tree.map(np.asarray, found)


@pytest.mark.parametrize("name", LOOPED | FEW)
def test_values_and_gradients_are_those_of_jax(name, right, monkeypatch):
    monkeypatch.setattr(loops, "SHORT", -1)
    f, (value, jacobian) = mg.from_jax(joined((LOOPED | FEW)[name])), right[name]
    weights = np.linspace(0.3, 1.1, value.size)
    if name in LOOPED:
        assert any(var.op == "loop" for var in toposort([trace(f, (build.input_("a", V.shape),), {})]))

    def weighted(z, *, a):
        return weights @ f(a) + z

    q = mg.Normal(0.0, 1e-13)
    est = mg.estimate(weighted, q, 2, params={"a": V}, wrt=["a"], method="pathwise", backend="numpy", seed=1)
    assert est.value == pytest.approx(weights @ value, rel=1e-11, abs=1e-11)
    np.testing.assert_allclose(est.grad["a"], weights @ jacobian, rtol=1e-11, atol=1e-12)


def equations(f, size):
    return list(toposort([trace(mg.from_jax(f), (build.input_("z", (size,)),), {})]))


def test_long_loops_stay_loops_and_look_up_rows_of_noise():
    def walk(z):
        return lax.fori_loop(0, 300, lambda i, x: jnp.tanh(x + z[i]), 0.0)

    found = equations(walk, 300)
    (loop,) = (var for var in found if var.op == "loop")
    assert loop.attrs.length == 300
    assert len(found) < 8
    assert not any(var.op == "take" for var in found)
    assert loop.args[1].op == "input"  # z itself, of which each step has one element


def test_short_ones_are_unrolled():
    found = equations(lambda z: lax.fori_loop(0, 5, lambda i, x: jnp.tanh(x + z[i]), 0.0), 5)
    assert not any(var.op == "loop" for var in found)


def test_estimates_are_those_of_scan():
    def asian(np, scan):
        def f(z, *, spot, vol):
            def step(s, x):
                s = s * np.exp(0.05 * vol * x - 0.00125 * vol**2)
                return s, s

            return np.maximum(np.mean(scan(step, spot, z)[1]) - 100.0, 0.0)

        return f

    q, params = mg.Normal(np.zeros(60), 1.0), {"spot": 100.0, "vol": 0.4}
    for backend in ("numpy", "cpu"):
        ours, theirs = (
            mg.estimate(f, q, 500, params=params, wrt=["spot", "vol"], seed=2, backend=backend)
            for f in (mg.from_jax(asian(jnp, lax.scan)), asian(np, mg.scan))
        )
        assert ours.value == pytest.approx(theirs.value, rel=1e-12)
        assert ours.grad["vol"] == pytest.approx(theirs.grad["vol"], rel=1e-11)
