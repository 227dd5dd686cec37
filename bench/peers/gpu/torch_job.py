"""torch.compile (Inductor, Triton): one full graph a chunk, noise made in it or before it, sums in float64.

With sums of squares, the gradient of every draw is had at once: that of the sum over draws in z, and in parameters that
are spread over the draws. Then everything is squared in the same graph. This asks less than vmap(grad) does.
"""

import os
import time
from functools import partial
from types import FunctionType

import numpy as np
import torch
from problems import HORIZON, STEPS, STRIKE

from peers.gpu import ON_DEVICE, Job, chunks_of, paired, squared

if ON_DEVICE and not torch.cuda.is_available():
    raise RuntimeError("torch sees no CUDA device")
DEVICE = "cuda" if ON_DEVICE else "cpu"
VERSION = f"torch {torch.__version__}"
torch.backends.cuda.matmul.allow_tf32 = bool(os.environ.get("BENCH_TF32"))


def wave(z):
    return torch.sin(z[0]) * torch.exp(-(z[0] ** 2) / 10)


def rosenbrock(z):
    return -torch.sum((z[1:] - z[:-1] ** 2) ** 2 + 0.01 * (1 - z[:-1]) ** 2, 0)


def log_joint(z, tau, X, y):
    logits = X @ z
    return torch.sum(y[:, None] * logits - torch.nn.functional.softplus(logits), 0) - 0.5 * tau * torch.sum(z**2, 0)


def asian_call(z, spot, vol, rate):
    dt = HORIZON / STEPS
    return _payoff(torch.cumsum(z, 0), spot, vol, rate, dt)


def asian_call_matmul(z, spot, vol, rate):
    """The running sum as a product with a triangle of ones."""
    triangle = torch.tril(torch.ones(STEPS, STEPS, dtype=z.dtype, device=z.device))
    return _payoff(triangle @ z, spot, vol, rate, HORIZON / STEPS)


def _payoff(brownian, spot, vol, rate, dt):
    times = torch.arange(1, STEPS + 1, dtype=brownian.dtype, device=brownian.device)[:, None] * dt
    path = spot * torch.exp((rate - vol**2 / 2) * times + vol * dt**0.5 * brownian)
    return torch.exp(-rate * HORIZON) * torch.relu(torch.mean(path, 0) - STRIKE)


def ripple(z):
    return torch.sum(-0.5 * z**2 + 0.1 * torch.cos(z), 0)


RULES = {f.__name__: f for f in (wave, rosenbrock, log_joint, asian_call, asian_call_matmul, ripple)}


def draws_of(q, noise):
    """The draws as columns."""
    if "scale_tril" in q:
        return q["loc"][:, None] + q["scale_tril"] @ noise
    return q["loc"].reshape(-1, 1) + q["scale"].reshape(-1, 1) * noise


def total(x):
    """Sum over the draws, the last axis, in float64."""
    return x.sum(-1, dtype=torch.float64)


def sums(problem, rule, q, params, data):
    """Noise -> sums of the value and the gradient, by way of the gradient of the sum in the parameters."""
    wrt = [(q | params)[name] for name in problem.wrt]

    def summed(noise, *wrt):
        known = q | params | data | dict(zip(problem.wrt, wrt, strict=True))
        values = rule(draws_of(known, noise), **{name: known[name] for name in params | data})
        return values.sum()

    gradient = torch.func.grad_and_value(summed, argnums=tuple(range(1, len(wrt) + 1)))

    def step(noise):
        grads, value = gradient(noise, *wrt)
        return {"": value.double()} | {k: g.double() for k, g in zip(problem.wrt, grads, strict=True)}

    return step


def sums_and_squares(problem, rule, q, params, data):
    """Noise -> sums and sums of squares, from the gradient of every draw."""
    names = [name for name in problem.wrt if name in params]

    def values(z, *spread):
        known = params | data | dict(zip(names, spread, strict=True))
        return rule(z, **known)

    def summed(z, *spread):
        found = values(z, *spread)
        return found.sum(), found

    gradient = torch.func.grad(summed, argnums=tuple(range(1 + len(names))), has_aux=True)

    def step(noise):
        z = draws_of(q, noise)
        (df, *spread), value = gradient(z, *(params[name].expand(noise.shape[1]) for name in names))
        found = {"": value} | dict(zip(names, spread, strict=True))
        if "loc" in problem.wrt:
            found["loc"] = df
        if "scale" in problem.wrt:
            found["scale"] = df * noise
        totals = {k: total(x) for k, x in found.items()} | {squared(k): total(x * x) for k, x in found.items()}
        if "scale_tril" in problem.wrt:
            totals["scale_tril"] = (df @ noise.T).double()
            totals[squared("scale_tril")] = ((df * df) @ (noise * noise).T).double()
        return totals

    return step


def jobs(problem, dtype, errors):
    rules = [problem.f.__name__] + ["asian_call_matmul"] * (problem.name == "asian")
    return [
        partial(_job, problem, dtype, errors, RULES[rule], inside, chunk)
        for rule in rules
        for inside in (True, False)
        for chunk in chunks_of(problem)
    ]


def _job(problem, dtype, errors, rule, inside, chunk):
    kind = getattr(torch, dtype)
    q, params, data = ({k: torch.tensor(x, device=DEVICE) for k, x in part.items()} for part in problem.cast(dtype))
    step, shape = (sums_and_squares if errors else sums)(problem, rule, q, params, data), (problem.noise, chunk)

    def chunk_sums(noise):
        return step(torch.randn(shape, dtype=kind, device=DEVICE) if inside else noise)

    code = chunk_sums.__code__.replace()
    own = FunctionType(code, chunk_sums.__globals__, "chunk_sums", closure=chunk_sums.__closure__)
    compiled = torch.compile(own, fullgraph=True, dynamic=False)  # compiled code is kept by code object
    place = torch.empty(0 if inside else shape, dtype=kind, device=DEVICE)

    def go(seed, rounds):
        torch.manual_seed(seed)
        found = None
        for _ in range(rounds):
            part = compiled(place if inside else place.normal_())
            if found is None:
                found = {k: x.clone() for k, x in part.items()}
            else:
                torch._foreach_add_(list(found.values()), list(part.values()))
        return found

    def run(seed, rounds):
        found = {k: x.cpu().numpy().astype(np.float64) for k, x in go(seed, rounds).items()}
        lower = {k: np.tril(x) if k.startswith("scale_tril") else x for k, x in found.items()}
        return paired({k: x.reshape(np.shape(_like(problem, k))) for k, x in lower.items()})

    def seconds(seed, rounds):
        if not ON_DEVICE:
            start = time.perf_counter()
            go(seed, rounds)
            return time.perf_counter() - start
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        go(seed, rounds)
        after.record()
        after.synchronize()
        return before.elapsed_time(after) / 1000

    return Job(chunk, run, seconds)


def _like(problem, name):
    return (problem.q | problem.params).get(name.removesuffix("^2"), 0.0)
