"""JAX (XLA): chunks in a fori_loop inside one jit, so that a call is one launch of a program; wall time to its end.

With sums of squares, vmap(value_and_grad) gives the gradient of every draw in z and in the parameters of f.
"""

import os
import time
from functools import partial

from peers.gpu import ON_DEVICE, Job, chunks_of, paired, squared

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random
from problems import HORIZON, STEPS, STRIKE

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_default_matmul_precision", "highest")
if not ON_DEVICE:
    jax.config.update("jax_platforms", "cpu")
elif jax.default_backend() != "gpu":
    raise RuntimeError("jax sees no CUDA device")
VERSION = f"jax {jax.__version__}"


def wave(z):
    return jnp.sin(z[0]) * jnp.exp(-(z[0] ** 2) / 10)


def rosenbrock(z):
    return -jnp.sum((z[1:] - z[:-1] ** 2) ** 2 + 0.01 * (1 - z[:-1]) ** 2)


def log_joint(z, tau, X, y):
    logits = X @ z
    softplus = jnp.maximum(logits, 0) + jnp.log1p(jnp.exp(-jnp.abs(logits)))
    return jnp.sum(y * logits - softplus) - 0.5 * tau * jnp.sum(z**2)


def asian_call(z, spot, vol, rate):
    return _payoff(jnp.cumsum(z), spot, vol, rate)


def asian_call_matmul(z, spot, vol, rate):
    """The running sum as a product with a triangle of ones."""
    return _payoff(jnp.tril(jnp.ones((STEPS, STEPS), z.dtype)) @ z, spot, vol, rate)


def _payoff(brownian, spot, vol, rate):
    dt = HORIZON / STEPS
    times = jnp.arange(1, STEPS + 1, dtype=brownian.dtype) * dt
    path = spot * jnp.exp((rate - vol**2 / 2) * times + vol * dt**0.5 * brownian)
    return jnp.exp(-rate * HORIZON) * jnp.maximum(jnp.mean(path) - STRIKE, 0)


def ripple(z):
    return jnp.sum(-0.5 * z**2 + 0.1 * jnp.cos(z))


RULES = {f.__name__: f for f in (wave, rosenbrock, log_joint, asian_call, asian_call_matmul, ripple)}


def jobs(problem, dtype, errors):
    rules = [problem.f.__name__] + ["asian_call_matmul"] * (problem.name == "asian")
    return [
        partial(_job, problem, dtype, errors, RULES[rule], generator, chunk)
        for rule in rules
        for generator in ("threefry2x32", "rbg")
        for chunk in chunks_of(problem)
    ]


def draws_of(q, noise):
    """The draws as columns."""
    if "scale_tril" in q:
        return q["loc"][:, None] + q["scale_tril"] @ noise
    return jnp.reshape(q["loc"], (-1, 1)) + jnp.reshape(q["scale"], (-1, 1)) * noise


def _sums(problem, rule, q, params, data):
    def summed(wrt, noise):
        known = q | params | data | wrt
        f = partial(rule, **{name: known[name] for name in params | data})
        return jnp.sum(jax.vmap(f, in_axes=1)(draws_of(known, noise)))

    def step(noise):
        value, grads = jax.value_and_grad(summed)({k: (q | params)[k] for k in problem.wrt}, noise)
        return {"": value} | grads

    return step


def _sums_and_squares(problem, rule, q, params, data):
    names = [name for name in problem.wrt if name in params]

    def f(z, own):
        return rule(z, **(params | data | own))

    def step(noise):
        both = jax.vmap(jax.value_and_grad(f, argnums=(0, 1)), in_axes=(1, None), out_axes=(0, (1, 0)))
        value, (df, own) = both(draws_of(q, noise), {name: params[name] for name in names})
        found = {"": value} | own
        if "loc" in problem.wrt:
            found["loc"] = df
        if "scale" in problem.wrt:
            found["scale"] = df * noise
        totals = {k: jnp.sum(x, -1) for k, x in found.items()}
        totals |= {squared(k): jnp.sum(x * x, -1) for k, x in found.items()}
        if "scale_tril" in problem.wrt:
            totals["scale_tril"] = df @ noise.T
            totals[squared("scale_tril")] = (df * df) @ (noise * noise).T
        return totals

    return step


def _job(problem, dtype, errors, rule, generator, chunk):
    q, params, data = problem.cast(dtype)
    step = (_sums_and_squares if errors else _sums)(problem, rule, q, params, data)
    shape = (problem.noise, chunk)

    def wide(totals):
        return {k: x.astype(jnp.float64) for k, x in totals.items()}

    @jax.jit
    def compiled(key, rounds):
        def again(k, found):
            part = wide(step(random.normal(random.fold_in(key, k), shape, dtype)))
            return {name: found[name] + part[name] for name in found}

        zeros = jax.eval_shape(lambda: wide(step(jnp.zeros(shape, dtype))))
        return lax.fori_loop(0, rounds, again, {k: jnp.zeros(x.shape, x.dtype) for k, x in zeros.items()})

    def go(seed, rounds):
        return jax.block_until_ready(compiled(random.key(seed, impl=generator), rounds))

    def run(seed, rounds):
        found = {k: np.asarray(x, np.float64) for k, x in go(seed, rounds).items()}
        lower = {k: np.tril(x) if k.startswith("scale_tril") else x for k, x in found.items()}
        like = problem.q | problem.params
        return paired({k: x.reshape(np.shape(like.get(k.removesuffix("^2"), 0.0))) for k, x in lower.items()})

    def seconds(seed, rounds):
        start = time.perf_counter()
        go(seed, rounds)
        return time.perf_counter() - start

    return Job(chunk, run, seconds)
