"""Gamma gradients with respect to eight concentrations beside torch and jax: draws of all eight a second, best call.

    python bench/gamma.py [--threads 2] [--seconds 5]

A round is E sum(z) and its gradient. mcgrad adds the standard errors of both; torch goes back through rsample, jax
through random.gamma, each with the number of draws at a time that it likes best. One peer runs after the other.
"""

import argparse
import os
import time

import numpy as np

CONCENTRATIONS = np.linspace(0.5, 4.0, 8)
BATCHES = (1_000, 10_000, 100_000)


def rate(call, draws, seconds):
    """Draws a second of the best call."""
    call()
    best, end = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return draws / best


def of_mcgrad(dtype, threads, seconds):
    import mcgrad as mg

    q = mg.Gamma(CONCENTRATIONS, np.ones(8))
    estimator = mg.Estimator(np.sum, q, dtype=dtype, backend="cpu", threads=threads, wrt=["concentration"])
    return rate(lambda: estimator(2_000_000), 2_000_000, seconds)


def of_torch(dtype, threads, seconds):
    import torch

    torch.set_num_threads(threads)
    concentration = torch.tensor(CONCENTRATIONS, dtype=getattr(torch, dtype), requires_grad=True)
    one = torch.ones(8, dtype=concentration.dtype)

    def call(n):
        z = torch.distributions.Gamma(concentration, one).rsample((n,))
        return torch.autograd.grad(z.sum() / n, concentration)

    return max(rate(lambda n=n: call(n), n, seconds / len(BATCHES)) for n in BATCHES)


def of_jax(dtype, threads, seconds):
    import jax

    jax.config.update("jax_enable_x64", dtype == "float64")
    concentration, key = jax.numpy.asarray(CONCENTRATIONS, dtype), jax.random.key(0)

    def mean(a, n):
        return jax.random.gamma(key, a, (n, 8), dtype).sum() / n

    gradient = jax.jit(jax.value_and_grad(mean), static_argnums=1)
    return max(
        rate(lambda n=n: jax.block_until_ready(gradient(concentration, n)), n, seconds / len(BATCHES)) for n in BATCHES
    )


PEERS = {"mcgrad": of_mcgrad, "torch": of_torch, "jax": of_jax}


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--seconds", type=float, default=5.0)
    given = options.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", str(given.threads))
    for dtype in ("float32", "float64"):
        rates = {}
        for name, measure in PEERS.items():
            try:
                rates[name] = measure(dtype, given.threads, given.seconds)
            except ImportError:
                continue
            times = rates["mcgrad"] / rates[name]
            print(f"{dtype}  {name:7}{rates[name]:12,.0f} draws of all 8 a second   (mcgrad: {times:,.1f} times)")


if __name__ == "__main__":
    main()
