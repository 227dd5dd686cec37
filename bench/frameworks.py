"""What a call costs inside JAX and PyTorch, beside the same call of an Estimator: microseconds.

    python bench/frameworks.py [--n 32] [--d 10] [--rounds 2000]

E[sum(sin z + z^2)], z ~ Normal(loc, scale) of d coordinates in float32, n draws, with the gradient in loc and scale, on
one thread. Rounds take turns, and the least of each counts, as machines are busy. Libraries that are not installed are
left out.
"""

import argparse
import importlib.util
import time

import numpy as np

import mcgrad as mg


def f(z):
    return np.sum(np.sin(z) + z**2)


def of_estimator(n, loc, scale):
    estimator = mg.Estimator(f, mg.Normal(loc, scale), backend="cpu", threads=1)

    def call(seed):
        est = estimator(n, seed, loc=loc, scale=scale)
        return est.value, est.grad

    return {"Estimator, and reading the value and the gradient": call}


def of_jax(n, loc, scale):
    import jax
    import jax.numpy as jnp

    def value(loc, scale, seed, **options):
        return mg.jax.expectation(f, mg.Normal, n, seed, loc=loc, scale=scale, backend="cpu", threads=1, **options)

    def by_callback(loc, scale, seed):
        return value(loc, scale, seed, callback=True)

    def nothing(loc, scale, seed):
        return jnp.sum(loc) + seed, (loc, scale)

    def timed(function):
        compiled = jax.jit(function)
        at = jnp.asarray(loc), jnp.asarray(scale)
        return lambda seed: jax.block_until_ready(compiled(*at, np.int32(seed)))

    return {
        "JAX: a jitted function that computes next to nothing": timed(nothing),
        "JAX: jit(value_and_grad)": timed(jax.value_and_grad(value, argnums=(0, 1))),
        "JAX: jit(value_and_grad), callback=True": timed(jax.value_and_grad(by_callback, argnums=(0, 1))),
    }


def of_torch(n, loc, scale):
    import torch

    at = {"loc": torch.tensor(loc, requires_grad=True), "scale": torch.tensor(scale, requires_grad=True)}

    def value(seed):
        return mg.torch.expectation(f, mg.Normal, n, seed=seed, backend="cpu", threads=1, **at)

    def both(seed):
        value(seed).backward()

    def nothing(seed):
        (at["loc"].sum() + at["scale"].sum()).backward()

    return {
        "PyTorch: backward() of two sums": nothing,
        "PyTorch: expectation": value,
        "PyTorch: expectation and backward()": both,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=32)
    parser.add_argument("--d", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2000)
    args = parser.parse_args()
    loc, scale = np.zeros(args.d, np.float32), np.ones(args.d, np.float32)
    calls = of_estimator(args.n, loc, scale)
    for library, of_library in {"jax": of_jax, "torch": of_torch}.items():
        if importlib.util.find_spec(library):
            calls |= of_library(args.n, loc, scale)
    for call in calls.values():
        call(0)
    least = dict.fromkeys(calls, float("inf"))
    for seed in range(args.rounds):
        for name, call in calls.items():
            call(seed)  # what ran before has left the caches to others
            start = time.perf_counter()
            call(seed)
            least[name] = min(least[name], time.perf_counter() - start)
    for name, seconds in least.items():
        print(f"{name:60} {seconds * 1e6:8.0f} us")


if __name__ == "__main__":
    main()
