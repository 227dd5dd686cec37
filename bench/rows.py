"""Many problems in one call beside JAX (vmap), PyTorch and Dr.Jit: gradients in the loc and scale of every row.

    python bench/rows.py [--threads 2] [--seconds 5] [--only long] [--save]

A round of "short" and "long" is E[f(z)], z ~ Normal(loc, scale) of d coordinates, and its gradient in each of B rows,
from n draws a row in float32, with f = sum(log cosh z) + 0.5 sum(z roll(z, 1)); of "vae2" and "vae32" the step of
`rows_vae.py` with 2 and 32 draws. mcgrad adds the standard errors of all. Peers take as many rows or draws at a time as
they like best, and run in processes of their own, each in turns with mcgrad (`turns.py`). One that cannot run is left
out. The gradients of each are compared with mcgrad's, by the standard errors of these. `--save` writes a table and a
JSON file to bench/results/.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
import rows_vae
from turns import Comparison, run


class Case(NamedTuple):
    """B problems of d coordinates with n draws each."""

    rows: int
    d: int
    n: int


def parameters(case):
    rng = np.random.default_rng(0)
    loc, scale = rng.normal(size=(case.rows, case.d)), rng.uniform(0.5, 1.5, (case.rows, case.d))
    return loc.astype(np.float32), scale.astype(np.float32)


def at_a_time(most, size):
    """How many of some things of a size to take at once: numbers for a cache of a core, of all cores, and beyond."""
    return sorted({max(min(numbers // size, most), 1) for numbers in (10**5, 10**6, 10**7)})


def of_mcgrad(case, threads):
    import mcgrad as mg

    def f(z):
        return np.sum(np.log(np.cosh(z))) + 0.5 * np.sum(z * np.roll(z, 1))

    loc, scale = parameters(case)
    q = mg.Normal(loc, scale, batch_ndim=1)
    estimator = mg.Estimator(f, q, dtype="float32", backend="cpu", threads=threads)
    return [lambda seed: estimator(case.n, seed=seed)]


def of_jax(case, threads):
    import jax
    import jax.numpy as jnp

    def mean(loc, scale, eps):
        z = loc + scale * eps
        return jnp.mean(jnp.sum(jnp.log(jnp.cosh(z)), 1) + 0.5 * jnp.sum(z * jnp.roll(z, 1, 1), 1))

    def row(loc, scale, key):
        return jax.value_and_grad(mean, (0, 1))(loc, scale, jax.random.normal(key, (case.n, case.d)))

    loc, scale = map(jnp.asarray, parameters(case))

    def variant(at_once):
        def gradient(seed):
            rows = loc, scale, jax.random.split(jax.random.key(seed), case.rows)
            if at_once >= case.rows:
                return jax.vmap(row)(*rows)
            return jax.lax.map(lambda x: row(*x), rows, batch_size=at_once)

        compiled = jax.jit(gradient)
        return lambda seed: jax.block_until_ready(compiled(seed))

    return [variant(rows) for rows in at_a_time(case.rows, case.d * case.n)]


def of_torch(case, threads, compiled=False):
    import torch

    torch.set_num_threads(threads)
    loc, scale = (torch.tensor(x, requires_grad=True) for x in parameters(case))

    def total(loc, scale, eps):
        z = loc + scale * eps
        f = torch.log(torch.cosh(z)).sum(-1) + 0.5 * (z * torch.roll(z, 1, -1)).sum(-1)
        return f.mean(0).sum()

    total = torch.compile(total) if compiled else total

    def call(seed, at_once):
        torch.manual_seed(seed)
        gradients = [torch.zeros_like(loc), torch.zeros_like(scale)]
        for start in range(0, case.n, at_once):
            draws = min(at_once, case.n - start)
            value = total(loc, scale, torch.randn(draws, case.rows, case.d)) * (draws / case.n)
            for sum_, part in zip(gradients, torch.autograd.grad(value, (loc, scale)), strict=True):
                sum_ += part
        return None, gradients

    return [partial(call, at_once=draws) for draws in at_a_time(case.n, case.rows * case.d)]


def of_torch_compile(case, threads):
    return of_torch(case, threads, compiled=True)


def of_drjit(case, threads):
    from peers.drjit_peer import ad, box_muller, dr, generator, plain  # which finds LLVM before Dr.Jit loads

    dr.set_thread_count(threads)
    loc, scale = ([plain.Float(x) for x in given.T] for given in parameters(case))

    def draw(i, rng, gradients, loc, scale):
        """One draw in every lane, each of which has a row: differentiated, and added to the sums in registers."""
        eps = [e for _ in range(0, case.d, 2) for e in box_muller(rng.next_float32(), rng.next_float32())]
        at = [ad.Float(x) for x in (*loc, *scale)]
        dr.enable_grad(at)
        z = [m + s * e for m, s, e in zip(at[: case.d], at[case.d :], eps, strict=True)]
        dr.backward(sum(dr.log(dr.cosh(x)) + 0.5 * x * y for x, y in zip(z, [z[-1], *z[:-1]], strict=True)))
        gradients = [sum_ + dr.detach(x.grad, False) for sum_, x in zip(gradients, at, strict=True)]
        return i + 1, rng, gradients, loc, scale

    def call(seed):
        sums = [dr.zeros(plain.Float, case.rows) for _ in range(2 * case.d)]
        state = plain.UInt32(0), generator(case.rows, seed), sums, loc, scale
        found = dr.while_loop(state, lambda i, *_: i < case.n, draw)[2]
        dr.eval(found)
        dr.sync_thread()
        return None, [np.stack([x.numpy() / case.n for x in part]).T for part in (found[: case.d], found[case.d :])]

    return [call]


PEERS = {"mcgrad": of_mcgrad, "jax": of_jax, "torch": of_torch, "torch.compile": of_torch_compile, "drjit": of_drjit}


def of_case(case):
    title = f"B = {case.rows:,}, d = {case.d}, n = {case.n:,}"
    return Comparison(
        title, case.rows * case.n, ("loc", "scale"), {name: partial(make, case) for name, make in PEERS.items()}
    )


def of_vae(n):
    title = f"B = {rows_vae.ROWS}, d = {rows_vae.D}, decoder 20-64-64, n = {n}"
    peers = {name: partial(make, n) for name, make in rows_vae.PEERS.items()}
    return Comparison(title, rows_vae.ROWS * n, rows_vae.PATHS, peers)


CASES = {
    "short": of_case(Case(20_000, 16, 32)),
    "long": of_case(Case(1_000, 2, 10_000)),
    "vae2": of_vae(2),
    "vae32": of_vae(32),
}


if __name__ == "__main__":
    run("rows", __doc__.splitlines()[0], CASES, "rows x draws", threads=2, limit=5)
