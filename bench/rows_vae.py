"""The step of a variational autoencoder, as `rows.py` measures it: a decoder of 20-64-64 whose weights 64 rows share.

E[log p(x | z)] of 64 images, z ~ Normal(loc, scale) of 20 coordinates, x binomial with the log odds
w2 tanh(w1 z + b1) + b2, and the gradient in loc and scale by row and in the weights, summed over the rows. Data are
random.
"""

from functools import partial

import numpy as np

ROWS, D, HIDDEN, PIXELS, LEVELS = 64, 20, 64, 64, 16
WEIGHTS = {"w1": (HIDDEN, D), "b1": (HIDDEN,), "w2": (PIXELS, HIDDEN), "b2": (PIXELS,)}
PATHS = ("loc", "scale", *WEIGHTS)


def parameters():
    rng = np.random.default_rng(0)
    q = rng.normal(size=(ROWS, D)), rng.uniform(0.2, 1.0, (ROWS, D))
    weights = (rng.normal(size=shape) * shape[-1] ** -0.5 for shape in WEIGHTS.values())
    return [x.astype(np.float32) for x in (*q, *weights, rng.integers(0, LEVELS + 1, (ROWS, PIXELS)))]


def log_likelihood(z, *, w1, b1, w2, b2, x):
    odds = w2 @ np.tanh(w1 @ z + b1) + b2
    return np.sum(x * odds - LEVELS * np.logaddexp(0.0, odds))


def of_mcgrad(n, threads):
    import mcgrad as mg

    loc, scale, *weights, x = parameters()
    q, given = mg.Normal(loc, scale, batch_ndim=1), dict(zip(WEIGHTS, weights, strict=True))
    options = {"data": {"x": x}, "batched_data": "x", "reduce": "sum", "backend": "cpu", "threads": threads}
    estimator = mg.Estimator(log_likelihood, q, params=given, **options)
    changes = {"loc": loc, "scale": scale, "x": x, **given}
    return [lambda seed: estimator(n, seed, **changes)]


def tensors():
    import torch

    *given, x = parameters()
    return [torch.tensor(x, requires_grad=True) for x in given], torch.tensor(x)


def of_mcgrad_torch(n, threads):
    import torch

    import mcgrad as mg

    torch.set_num_threads(threads)
    at, x = tensors()
    named = dict(zip(PATHS, at, strict=True))
    q = {"loc": named.pop("loc"), "scale": named.pop("scale"), "batch_ndim": 1}
    options = {"data": {"x": x}, "batched_data": "x", "reduce": "sum", "backend": "cpu", "threads": threads}

    def call(seed):
        value = mg.torch.expectation(log_likelihood, mg.Normal, n, params=named, seed=seed, **q, **options)
        return None, torch.autograd.grad(value, at)

    return [call]


def of_torch(n, threads, compiled=False):
    import torch
    from torch.nn.functional import linear, softplus

    torch.set_num_threads(threads)
    at, x = tensors()

    def total(loc, scale, w1, b1, w2, b2, eps):
        odds = linear(torch.tanh(linear(loc + scale * eps, w1, b1)), w2, b2)
        return (x * odds - LEVELS * softplus(odds)).sum((1, 2)).mean()

    total = torch.compile(total) if compiled else total

    def call(seed):
        torch.manual_seed(seed)
        return None, torch.autograd.grad(total(*at, torch.randn(n, ROWS, D)), at)

    return [call]


def of_jax(n, threads):
    import jax
    import jax.numpy as jnp

    *at, x = map(jnp.asarray, parameters())

    def row(loc, scale, x, key, w1, b1, w2, b2):
        z = loc + scale * jax.random.normal(key, (n, D))
        odds = jnp.tanh(z @ w1.T + b1) @ w2.T + b2
        return jnp.sum(x * odds - LEVELS * jax.nn.softplus(odds)) / n

    def total(loc, scale, *weights, keys):
        return jnp.sum(jax.vmap(row, (0, 0, 0, 0, None, None, None, None))(loc, scale, x, keys, *weights))

    @jax.jit
    def gradient(seed):
        keys = jax.random.split(jax.random.key(seed), ROWS)
        return jax.value_and_grad(partial(total, keys=keys), tuple(range(len(at))))(*at)

    return [lambda seed: jax.block_until_ready(gradient(seed))]


PEERS = {
    "mcgrad": of_mcgrad,
    "mcgrad.torch": of_mcgrad_torch,
    "jax": of_jax,
    "torch": of_torch,
    "torch.compile": partial(of_torch, compiled=True),
}
