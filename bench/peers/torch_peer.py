"""PyTorch: torch.compile (fullgraph) of grad_and_value of the mean over a chunk; noise from torch.randn.

Tried in float32 and left out: noise inside the compiled graph (Inductor's own generator), up to 6 times slower than
torch.randn before it, and autograd through a compiled forward pass, up to 25% slower than torch.func in one graph.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import FunctionType

import numpy as np
import torch
from problems import HORIZON, STEPS, STRIKE

from peers.tuned import best

VERSION = f"torch {torch.__version__}"


def wave(z):
    return torch.sin(z[0]) * torch.exp(-(z[0] ** 2) / 10)


def rosenbrock(z):
    return -torch.sum((z[1:] - z[:-1] ** 2) ** 2 + 0.01 * (1 - z[:-1]) ** 2, 0)


def log_joint(z, tau, X, y):
    logits = X @ z
    return torch.sum(y * logits.T - torch.nn.functional.softplus(logits.T), 1) - 0.5 * tau * torch.sum(z**2, 0)


def asian_call(z, spot, vol, rate):
    dt = HORIZON / STEPS
    path = spot * torch.exp(torch.cumsum((rate - vol**2 / 2) * dt + vol * dt**0.5 * z, 0))
    return torch.exp(-rate * HORIZON) * torch.relu(torch.mean(path, 0) - STRIKE)


def asian_call_matmul(z, spot, vol, rate):
    """The running sum as a product with a triangle of ones."""
    dt = HORIZON / STEPS
    times = torch.arange(1, STEPS + 1, dtype=z.dtype)[:, None] * dt
    brownian = torch.tril(torch.ones(STEPS, STEPS, dtype=z.dtype)) @ z
    path = spot * torch.exp((rate - vol**2 / 2) * times + vol * dt**0.5 * brownian)
    return torch.exp(-rate * HORIZON) * torch.relu(torch.mean(path, 0) - STRIKE)


def ripple(z):
    return torch.sum(-0.5 * z**2 + 0.1 * torch.cos(z), 0)


RULES = {f.__name__: f for f in (wave, rosenbrock, log_joint, asian_call, asian_call_matmul, ripple)}


def variants(problem, dtype):
    """What tune.py tries: draws as rows or columns, one thread a chunk or all threads in each, chunk sizes."""
    widest = max(problem.noise, len(problem.data.get("y", ())))
    middle = max(256, 2 ** int(np.log2(2**17 / widest)))
    rules = [problem.f.__name__] + ["asian_call_matmul"] * (problem.name == "asian")
    return [
        {"chunk": middle * scale // 2, "rows": rows, "pool": pool, "rule": rule}
        for rule in rules
        for pool, scales in ((False, (16, 2)), (True, (1, 8)))
        for rows in ((True, False) if problem.noise > 1 else (True,))
        for scale in scales
    ]


def make(problem, dtype, threads, variant=None):
    v = variant or best("torch", problem, dtype, threads, variants(problem, dtype))
    chunk, rule = v["chunk"], RULES[v["rule"]]
    workers = threads if v["pool"] else 1
    torch.set_num_threads(threads // workers)
    q, params, data = ({k: torch.tensor(x) for k, x in part.items()} for part in problem.cast(dtype))
    wrt = [(q | params)[name] for name in problem.wrt]
    rounds = problem.draws[dtype] // chunk // workers
    shape = (chunk, problem.noise) if v["rows"] else (problem.noise, chunk)
    local = threading.local()

    def mean(noise, *wrt):
        known = q | params | data | dict(zip(problem.wrt, wrt, strict=True))
        noise = noise.T if v["rows"] else noise
        z = known["scale_tril"] @ noise if "scale_tril" in q else known["scale"].reshape(-1, 1) * noise
        return rule(known["loc"].reshape(-1, 1) + z, **{name: known[name] for name in params | data}).mean()

    gradient = torch.func.grad_and_value(mean, argnums=tuple(range(1, len(wrt) + 1)))

    def step(noise, *wrt):
        grads, value = gradient(noise, *wrt)
        return (value, *grads)

    own_code = FunctionType(step.__code__.replace(), step.__globals__, "step", closure=step.__closure__)
    step = torch.compile(own_code, fullgraph=True, dynamic=False)  # compiled code is kept by code object
    pool = ThreadPoolExecutor(workers)
    step(torch.randn(shape, dtype=getattr(torch, dtype)), *wrt)

    def share(seed):
        torch.set_num_threads(threads // workers)
        if not hasattr(local, "noise"):
            local.noise = torch.empty(shape, dtype=getattr(torch, dtype))
        generator = torch.Generator().manual_seed(seed)
        total = None
        for _ in range(rounds):
            part = step(torch.randn(shape, generator=generator, out=local.noise), *wrt)
            total = [x.clone() for x in part] if total is None else torch._foreach_add(total, list(part))
        return total

    def run(seed):
        parts = list(pool.map(share, range(seed * workers, (seed + 1) * workers)))
        sums = [sum(x.double().numpy() for x in same) for same in zip(*parts, strict=True)]
        value, *grads = (x / (rounds * workers) for x in sums)
        grads = dict(zip(problem.wrt, grads, strict=True))
        if "scale_tril" in grads:
            grads["scale_tril"] = np.tril(grads["scale_tril"])
        return float(value), grads

    return run
