"""Few draws of one problem beside PyTorch, and beside mcgrad's blocks of the usual number of lanes.

    python bench/few_draws.py [--threads 1 2] [--rounds 60] [--only logistic]

A round is E[f(z)], z ~ Normal(loc, scale), and its gradient in loc and scale, from n draws in float32: "logistic" is
f = sum(log(1 + exp(X z))) with X of shape (2000, 100), "wide" f = sum(log cosh z) + 0.5 sum(z roll(z, 1)) with z of
shape (1797, 16). mcgrad adds the standard errors. Rounds take turns in one process; the best of each counts.
"""

import argparse
import os
import time

import numpy as np

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2000, 100)).astype(np.float32)
Q = {
    "logistic": (np.zeros(100, np.float32), np.ones(100, np.float32)),
    "wide": (RNG.standard_normal((1797, 16)).astype(np.float32), np.ones((1797, 16), np.float32)),
}
NUMBERS = (2, 8, 32, 128)


def of_mcgrad(name, threads, few=True):
    import mcgrad as mg
    from mcgrad.backends import cpu

    def logistic(z, *, X):
        return np.sum(np.logaddexp(0, X @ z))

    def wide(z):
        return np.sum(np.log(np.cosh(z))) + 0.5 * np.sum(z * np.roll(z, 1, axis=-1))

    f, data = (logistic, {"X": X}) if name == "logistic" else (wide, None)
    estimator = mg.Estimator(f, mg.Normal(*Q[name]), data=data, dtype="float32", backend="cpu", threads=threads)
    usual = cpu.CpuKernel.for_draws

    def call(n, seed):
        cpu.CpuKernel.for_draws = usual if few else lambda kernel, n: kernel
        estimator(n, seed)
        cpu.CpuKernel.for_draws = usual

    return call


def of_mcgrad_usual_lanes(name, threads):
    return of_mcgrad(name, threads, few=False)


def of_torch(name, threads):
    import torch

    loc, scale = (torch.tensor(x, requires_grad=True) for x in Q[name])
    data = torch.tensor(X)

    def call(n, seed):
        torch.set_num_threads(threads)
        torch.manual_seed(seed)
        z = loc + scale * torch.randn(n, *loc.shape)
        if name == "logistic":
            f = torch.nn.functional.softplus(z @ data.T).sum(-1)
        else:
            f = (torch.log(torch.cosh(z)) + 0.5 * z * torch.roll(z, 1, -1)).sum((-1, -2))
        torch.autograd.grad(f.mean(), (loc, scale))

    return call


PEERS = {"mcgrad": of_mcgrad, "usual lanes": of_mcgrad_usual_lanes, "torch": of_torch}


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options.add_argument("--rounds", type=int, default=60)
    options.add_argument("--only", choices=list(Q))
    given = options.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", str(max(given.threads)))
    for name in Q if given.only is None else [given.only]:
        for threads in given.threads:
            measure(name, threads, given.rounds)


def measure(name, threads, rounds):
    """Print the milliseconds of each peer for each number of draws."""
    calls = {}
    for peer, make in PEERS.items():
        try:
            calls[peer] = make(name, threads)
            calls[peer](2, 0)
        except ImportError as error:
            print(f"  {peer} left out: {error}")
            calls.pop(peer, None)
    print(f"{name}, {threads} threads: milliseconds a call")
    for n in NUMBERS:
        best = dict.fromkeys(calls, np.inf)
        for seed in range(rounds):
            for peer, call in calls.items():
                start = time.perf_counter()
                call(n, seed)
                best[peer] = min(best[peer], time.perf_counter() - start)
        print(f"  n = {n:4}  " + "  ".join(f"{peer} {1e3 * taken:8.3f}" for peer, taken in best.items()))


if __name__ == "__main__":
    main()
