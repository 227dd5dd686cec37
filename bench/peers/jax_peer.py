"""JAX: jit(value_and_grad) of the mean over a chunk, the chunks in a fori_loop, one XLA device a thread (shard_map)."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random
from jax.sharding import Mesh, PartitionSpec
from problems import HORIZON, STEPS, STRIKE

from peers.tuned import best

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")
VERSION = f"jax {jax.__version__}"


def wave(z):
    return jnp.sin(z[0]) * jnp.exp(-(z[0] ** 2) / 10)


def rosenbrock(z):
    return -jnp.sum((z[1:] - z[:-1] ** 2) ** 2 + 0.01 * (1 - z[:-1]) ** 2)


def log_joint(z, tau, X, y):
    logits = X @ z
    softplus = jnp.maximum(logits, 0) + jnp.log1p(jnp.exp(-jnp.abs(logits)))  # 1.5 times as fast as jnp.logaddexp
    return jnp.sum(y * logits - softplus) - 0.5 * tau * jnp.sum(z**2)


def asian_call(z, spot, vol, rate):
    dt = HORIZON / STEPS
    path = spot * jnp.exp(jnp.cumsum((rate - vol**2 / 2) * dt + vol * jnp.sqrt(dt) * z))
    return jnp.exp(-rate * HORIZON) * jnp.maximum(jnp.mean(path) - STRIKE, 0)


def asian_call_matmul(z, spot, vol, rate):
    """The running sum as a product with a triangle of ones, which XLA has a fast kernel for."""
    dt = HORIZON / STEPS
    times = jnp.arange(1, STEPS + 1, dtype=z.dtype) * dt
    brownian = jnp.tril(jnp.ones((STEPS, STEPS), z.dtype)) @ z
    path = spot * jnp.exp((rate - vol**2 / 2) * times + vol * jnp.sqrt(dt) * brownian)
    return jnp.exp(-rate * HORIZON) * jnp.maximum(jnp.mean(path) - STRIKE, 0)


def ripple(z):
    return jnp.sum(-0.5 * z**2 + 0.1 * jnp.cos(z))


RULES = {f.__name__: f for f in (wave, rosenbrock, log_joint, asian_call, asian_call_matmul, ripple)}


def variants(problem, dtype):
    """What tune.py tries: chunk sizes, draws as columns or rows, inverse error function or Box-Muller.

    In float32 the rbg and unsafe_rbg generators, and a single device with XLA's own threads, were slower everywhere.
    """
    widest = max(problem.noise, len(problem.data.get("y", ())))
    middle = max(256, 2 ** int(np.log2(2**17 / widest)))
    rules = [problem.f.__name__] + ["asian_call_matmul"] * (problem.name == "asian")
    plain = [
        {"chunk": middle * scale // 8, "axis": axis, "box_muller": False, "rule": rule}
        for rule in rules
        for axis in (1, 0)
        for scale in (8, 1, 2, 32)
    ]
    return [*plain, plain[0] | {"box_muller": True}]


def normals(key, shape, dtype, box_muller):
    if not box_muller:
        return random.normal(key, shape, dtype)
    radius_key, angle_key = random.split(key)
    half = (*shape[:-1], shape[-1] // 2)
    radius = jnp.sqrt(-2 * jnp.log1p(-random.uniform(radius_key, half, dtype)))
    angle = 2 * jnp.pi * random.uniform(angle_key, half, dtype)
    return jnp.concatenate([radius * jnp.cos(angle), radius * jnp.sin(angle)], -1)


def make(problem, dtype, threads, variant=None):
    v = variant or best("jax", problem, dtype, threads, variants(problem, dtype))
    chunk, axis, rule = v["chunk"], v["axis"], RULES[v["rule"]]
    q, params, data = problem.cast(dtype)
    wrt = {name: (q | params)[name] for name in problem.wrt}
    rounds = problem.draws[dtype] // chunk // threads
    shape = (problem.noise, chunk) if axis else (chunk, problem.noise)

    def mean(wrt, noise):
        known = q | params | data | wrt
        if "scale_tril" in q:
            z = known["scale_tril"] @ noise if axis else noise @ known["scale_tril"].T
        else:
            z = jnp.reshape(known["scale"], (-1, 1) if axis else (-1,)) * noise
        z = z + jnp.reshape(known["loc"], (-1, 1) if axis else (-1,))
        f = partial(rule, **{name: known[name] for name in params | data})
        return jnp.mean(jax.vmap(f, in_axes=axis)(z))

    gradient = jax.value_and_grad(mean)

    def share(keys, wrt):
        vary = partial(lax.pcast, axis_name="i", to="varying")
        wrt = jax.tree.map(vary, wrt)

        def step(k, total):
            noise = normals(random.fold_in(keys[0], k), shape, dtype, v["box_muller"])
            return jax.tree.map(jnp.add, total, gradient(wrt, noise))

        zeros = (jnp.zeros((), dtype), jax.tree.map(lambda x: jnp.zeros(x.shape, dtype), wrt))
        total = lax.fori_loop(0, rounds, step, jax.tree.map(vary, zeros))
        return jax.tree.map(lambda x: x[None] / rounds, total)

    mesh = Mesh(np.array(jax.devices()[:threads]), ("i",))
    over = PartitionSpec("i")
    compiled = jax.jit(jax.shard_map(share, mesh=mesh, in_specs=(over, PartitionSpec()), out_specs=over))

    def run(seed):
        value, grads = jax.block_until_ready(compiled(random.split(random.key(seed), threads), wrt))
        grads = {name: np.asarray(g).mean(0) for name, g in grads.items()}
        if "scale_tril" in grads:
            grads["scale_tril"] = np.tril(grads["scale_tril"])
        return float(np.mean(value)), grads

    return run


def threads_before_start(threads):
    """JAX fixes its number of devices when it first looks at them."""
    jax.config.update("jax_num_cpu_devices", threads)
