"""Loops over time steps beside the loops of JAX, PyTorch and Dr.Jit: a value and its gradient in all parameters.

    python bench/loops.py [--threads 1] [--seconds 5] [--only heston] [--save]

"asian" is an option on the average of 252 prices, "heston" a call whose variance moves, 50 steps of two normals with
six derivatives, "well" a particle in a double well for 1,000 steps; float32. mcgrad (`mg.scan`) adds all standard
errors. JAX scans with one reverse pass, or forward for each parameter; PyTorch runs a Python loop over steps of many
paths, compiled where there are 50; Dr.Jit runs a symbolic loop, differentiated in reverse, forward for each parameter,
or by hand ("asian"). Peers take as many paths at a time as they like best, and run in processes of their own, each in
turns with mcgrad (`turns.py`). One that cannot run is left out. The gradients of each are compared with mcgrad's, by
the standard errors of these. `--save` writes a table and a JSON file to bench/results/.

AADC is not among them: its licence (2.25, clauses 3.3 and 4.1) excludes use as a baseline and publication of timings.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from turns import Comparison, run

YEARS, STRIKE, RATE = 1.0, 100.0, 0.05
LEAST = 1e-6  # of a variance, so that its root has a derivative


class Path(NamedTuple):
    """A path: `steps` of `noise` normals, each changes a state; what is averaged is a function of the last.

    Parameters
    ----------
    steps, noise, paths : int
    params : dict of str to float
    begin : callable
        xp, params -> state
    step : callable
        xp, state, noise, params -> state
    end : callable
        xp, state, params -> value
    """

    steps: int
    noise: int
    paths: int
    params: dict[str, float]
    begin: Callable
    step: Callable
    end: Callable


def asian_step(xp, state, e, p):
    dt = YEARS / 252
    log_price, total = state
    log_price = log_price + (p["rate"] - 0.5 * p["vol"] ** 2) * dt + p["vol"] * dt**0.5 * e[0]
    return log_price, total + xp.exp(log_price)


def heston_step(xp, state, e, p):
    dt = YEARS / 50
    log_price, v = state
    v = xp.maximum(v, LEAST)
    root = xp.sqrt(v * dt)
    other = p["rho"] * e[0] + xp.sqrt(1.0 - p["rho"] ** 2) * e[1]
    after = v + p["kappa"] * (p["theta"] - v) * dt + p["xi"] * root * other
    return log_price + (RATE - 0.5 * v) * dt + root * e[0], after


def well_step(xp, state, e, p):
    dt = 0.01
    (x,) = state
    return (x - (x * x * x - x) * dt + xp.sqrt(2.0 * dt * p["temperature"]) * e[0],)


PATHS = {
    "asian": Path(
        252, 1, 1 << 16, {"spot": 100.0, "vol": 0.2, "rate": 0.05},
        lambda xp, p: (0.0 * p["spot"], 0.0 * p["spot"]),
        asian_step,
        lambda xp, s, p: xp.exp(-p["rate"] * YEARS) * xp.maximum(p["spot"] * s[1] / 252 - STRIKE, 0.0),
    ),
    "heston": Path(
        50, 2, 1 << 17, {"spot": 100.0, "v0": 0.04, "kappa": 2.0, "theta": 0.04, "xi": 0.3, "rho": -0.7},
        lambda xp, p: (xp.log(p["spot"]), p["v0"]),
        heston_step,
        lambda xp, s, p: math.exp(-RATE * YEARS) * xp.maximum(xp.exp(s[0]) - STRIKE, 0.0),
    ),
    "well": Path(
        1000, 1, 1 << 14, {"start": -1.0, "temperature": 0.3},
        lambda xp, p: (p["start"],),
        well_step,
        lambda xp, s, p: s[0] * s[0],
    ),
}  # fmt: skip


def at_a_time(path):
    """How many paths to take at once: steps of these fit a core's cache, all cores', and none."""
    return [paths for paths in (1 << 11, 1 << 13, 1 << 15) if paths <= path.paths]


def of_mcgrad(path, threads):
    import mcgrad as mg

    def f(z, **p):
        last, _ = mg.scan(lambda state, e: (path.step(np, state, e, p), None), path.begin(np, p), z)
        return path.end(np, last, p)

    q = mg.Normal(np.zeros((path.steps, path.noise)), 1.0)
    options = {"dtype": "float32", "backend": "cpu", "threads": threads}
    estimator = mg.Estimator(f, q, params=path.params, wrt=[*path.params], **options)
    return [lambda seed: estimator(path.paths, seed=seed)]


def of_jax(path, threads):
    import jax
    import jax.numpy as jnp

    names = [*path.params]

    def value(values, key):
        p = dict(zip(names, values, strict=True))

        def step(state, e):
            return path.step(jnp, state, e, p), None

        begin = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), path.begin(jnp, p))
        last, _ = jax.lax.scan(step, begin, jax.random.normal(key, (path.steps, path.noise)))
        return path.end(jnp, last, p)

    def forward(values, key):
        return value(values, key), jax.jacfwd(value)(values, key)

    def variant(one, paths):
        def mean(values, seed):
            keys = jax.random.split(jax.random.key(seed), path.paths).reshape(-1, paths)

            def chunk(total, some):
                found = jax.vmap(one, (None, 0))(values, some)
                return jax.tree.map(lambda x, y: x + jnp.sum(y, 0) / path.paths, total, found), None

            zeros = jnp.zeros(()), tuple(jnp.zeros(()) for _ in names)
            return jax.lax.scan(chunk, zeros, keys)[0]

        compiled, values = jax.jit(mean), tuple(jnp.float32(x) for x in path.params.values())
        return lambda seed: jax.block_until_ready(compiled(values, seed))

    return [variant(one, paths) for one in (jax.value_and_grad(value), forward) for paths in at_a_time(path)]


def of_torch(path, threads, compiled=False):
    import torch

    torch.set_num_threads(threads)
    names = [*path.params]
    values = [torch.tensor(x, dtype=torch.float32, requires_grad=True) for x in path.params.values()]

    class Functions:  # by the names of NumPy
        exp, log, sqrt = torch.exp, torch.log, torch.sqrt

        @staticmethod
        def maximum(x, least):
            return torch.clamp(x, min=least)

    def total(noise, *values):
        p = dict(zip(names, values, strict=True))
        state = path.begin(Functions, p)
        for e in noise:
            state = path.step(Functions, state, e, p)
        return path.end(Functions, state, p).sum()

    if compiled:
        if path.steps > 50:
            raise NotImplementedError(f"a loop of {path.steps} steps unrolls")
        total = torch.compile(total)

    def call(seed, paths):
        torch.manual_seed(seed)
        value, grads = 0.0, [torch.zeros(())] * len(values)
        for _ in range(path.paths // paths):
            part = total(torch.randn(path.steps, path.noise, paths), *values) / path.paths
            value += float(part.detach())
            grads = [x + y for x, y in zip(grads, torch.autograd.grad(part, values), strict=True)]
        return value, grads

    return [partial(call, paths=paths) for paths in at_a_time(path)]


def of_torch_compile(path, threads):
    return of_torch(path, threads, compiled=True)


def of_drjit(path, threads, mode="reverse"):
    from peers.drjit_peer import KINDS, box_muller, dr, generator, plain  # which finds LLVM before Dr.Jit loads

    dr.set_thread_count(threads)
    real_ad, real = KINDS["float32"][:2]
    pairs = 2 // path.noise  # of steps that two normals serve

    def price(seed, paths, p):
        def steps(i, rng, state):
            normals = box_muller(rng.next_float32(), rng.next_float32())
            for k in range(pairs):
                state = path.step(dr, state, normals[k * path.noise : (k + 1) * path.noise], p)
            return i + 1, rng, state

        state = tuple(real_ad(x) + dr.zeros(real_ad, paths) for x in path.begin(dr, p))
        limit = {"max_iterations": path.steps // pairs} if mode == "reverse" else {}
        loop = plain.UInt32(0), generator(paths, seed), state
        *_, state = dr.while_loop(loop, lambda i, *_: i < path.steps // pairs, steps, **limit)
        return dr.mean(path.end(dr, state, p))

    def opaque():
        return {name: real_ad(dr.opaque(real, x)) for name, x in path.params.items()}

    def chunk(seed, paths):
        if mode == "reverse":
            p = opaque()
            dr.enable_grad(p)
            value = price(seed, paths, p)
            dr.backward(value)
            grads = [x.grad for x in p.values()]
        else:
            grads = []
            for name in path.params:
                p = opaque()
                dr.enable_grad(p[name])
                value = price(seed, paths, p)
                dr.forward_from(p[name])
                grads.append(value.grad)
        dr.eval(value, grads)
        return np.array([value[0], *(x[0] for x in grads)])

    def call(seed, paths):
        rounds = path.paths // paths
        value, *grads = sum(chunk(seed * rounds + k, paths) for k in range(rounds)) / rounds
        return value, grads

    return [partial(call, paths=paths) for paths in at_a_time(path)]


def of_drjit_hand(path, threads):
    from peers import drjit_hand_peer
    from problems import problems

    if path is not PATHS["asian"]:
        raise NotImplementedError("by hand there is the Asian option alone")
    problem = replace(problems()["asian"], draws={"float32": path.paths})
    call = drjit_hand_peer.make(problem, "float32", threads, {"lanes": 1 << 14})

    def in_order(seed):
        value, grads = call(seed)
        return value, [grads[name] for name in path.params]

    return [in_order]


PEERS = {
    "mcgrad": of_mcgrad,
    "jax": of_jax,
    "torch": of_torch,
    "torch.compile": of_torch_compile,
    "drjit": of_drjit,
    "drjit, forward": partial(of_drjit, mode="forward"),
    "drjit, by hand": of_drjit_hand,
}


def of_path(name):
    path = PATHS[name]
    title = f"{path.steps} steps, {path.noise} normals, {len(path.params)} derivatives"
    peers = {peer: partial(make, path) for peer, make in PEERS.items()}
    return Comparison(title, path.paths * path.steps, tuple(path.params), peers)


CASES = {name: of_path(name) for name in PATHS}


def one_thread(threads):
    """What keeps XLA to one thread."""
    flags = f"--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads={threads}"
    return {"XLA_FLAGS": flags} if threads == 1 else {}


if __name__ == "__main__":
    run("loops", __doc__.splitlines()[0], CASES, "paths x steps", threads=1, limit=5, environment=one_thread)
