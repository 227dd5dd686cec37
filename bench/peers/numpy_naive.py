"""NumPy as most people write it once speed matters: batches that fit the cache, gradients by hand, a thread a core."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from problems import HORIZON, STEPS, STRIKE
from threadpoolctl import threadpool_limits

CHUNK_BYTES = 2**18  # of noise
VERSION = f"numpy {np.__version__}"


def wave(z):
    z = z[:, 0]
    sin, bell = np.sin(z), np.exp(z * z * z.dtype.type(-0.1))
    value = sin * bell
    return value, ((np.cos(z) * bell) - z.dtype.type(0.2) * z * value)[:, None], {}


def rosenbrock(z):
    gap, rest = z[:, 1:] - z[:, :-1] ** 2, 1 - z[:, :-1]
    df = np.zeros_like(z)
    df[:, 1:] = -2 * gap
    df[:, :-1] += 4 * gap * z[:, :-1] + z.dtype.type(0.02) * rest
    return -np.einsum("ij,ij->i", gap, gap) - z.dtype.type(0.01) * np.einsum("ij,ij->i", rest, rest), df, {}


def log_joint(z, tau, X, y):
    logits = z @ X.T
    decay = np.exp(-np.abs(logits))
    softplus = np.maximum(logits, 0) + np.log1p(decay)
    residual = y - np.where(logits > 0, 1, decay) / (1 + decay)
    square = np.einsum("ij,ij->i", z, z)
    value = logits @ y - softplus.sum(1) - tau / 2 * square
    return value, residual @ X - tau * z, {"tau": -square / 2}


def asian_call(z, spot, vol, rate):
    real = z.dtype.type
    dt, time = real(HORIZON / STEPS), np.linspace(HORIZON / STEPS, HORIZON, STEPS, dtype=z.dtype)
    brownian = np.cumsum(z, axis=1)
    brownian *= np.sqrt(dt)
    path = spot * np.exp((rate - vol * vol / 2) * time + vol * brownian)
    discount = np.exp(-rate * real(HORIZON))
    mean = path.mean(1)
    alive = discount * (mean > STRIKE)
    value = alive * (mean - real(STRIKE))
    in_rate = path @ time / real(STEPS)
    in_vol = np.einsum("ij,ij->i", path, brownian) / real(STEPS) - vol * in_rate
    grads = {"spot": alive * mean / spot, "vol": alive * in_vol, "rate": alive * in_rate - real(HORIZON) * value}
    return value, None, grads


def ripple(z):
    value = np.einsum("ij,ij->i", z, z) * z.dtype.type(-0.5) + z.dtype.type(0.1) * np.cos(z).sum(1)
    return value, -z - z.dtype.type(0.1) * np.sin(z), {}


RULES = {f.__name__: f for f in (wave, rosenbrock, log_joint, asian_call, ripple)}


def transform(q, noise):
    """The draws z, shape (draws, d), of standard normal noise."""
    if "scale_tril" in q:
        return q["loc"] + noise @ q["scale_tril"].T
    return q["loc"] + q["scale"] * noise


def per_draw(problem, noise):
    """Value (draws,) and gradients (draws, ...) of every draw: what a standard error is made of."""
    q, params, data = problem.cast(noise.dtype)
    value, df, grads = RULES[problem.f.__name__](transform(q, noise), **params, **data)
    if "loc" in problem.wrt:
        grads["loc"] = df
    if "scale" in problem.wrt:
        grads["scale"] = df * noise
    if "scale_tril" in problem.wrt:
        grads["scale_tril"] = np.tril(df[:, :, None] * noise[:, None, :])
    return value, grads


def totals(problem, cast, noise):
    """Sums over the draws of one chunk."""
    q, params, data = cast
    value, df, grads = RULES[problem.f.__name__](transform(q, noise), **params, **data)
    grads = {name: g.sum(dtype=np.float64) for name, g in grads.items()}
    if "loc" in problem.wrt:
        grads["loc"] = df.sum(0)
    if "scale" in problem.wrt:
        grads["scale"] = np.einsum("ij,ij->j", df, noise)
    if "scale_tril" in problem.wrt:
        grads["scale_tril"] = df.T @ noise
    return value.sum(dtype=np.float64), grads


def make(problem, dtype, threads):
    cast, n, d = problem.cast(dtype), problem.draws[dtype], problem.noise
    widest = max(d, len(problem.data.get("y", ())))
    chunk = min(n, 2 ** int(np.log2(CHUNK_BYTES / np.dtype(dtype).itemsize / widest)))
    pool = ThreadPoolExecutor(threads)

    def share(seed):
        rng = np.random.Generator(np.random.SFC64(seed))
        value, grads = 0.0, dict.fromkeys(problem.wrt, 0.0)
        for _ in range(n // chunk // threads):
            part, part_grads = totals(problem, cast, rng.standard_normal((chunk, d), dtype))
            value += part
            for name, g in part_grads.items():
                grads[name] = grads[name] + np.asarray(g, np.float64)
        return value, grads

    def run(seed):
        with threadpool_limits(1):
            parts = list(pool.map(share, np.random.SeedSequence(seed).spawn(threads)))
        done = n // chunk // threads * chunk * threads
        grads = {name: sum(g[name] for _, g in parts) / done for name in problem.wrt}
        if "scale_tril" in grads:
            grads["scale_tril"] = np.tril(grads["scale_tril"])
        return sum(v for v, _ in parts) / done, grads

    return run
