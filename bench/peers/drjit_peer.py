"""Dr.Jit, LLVM backend: a fused kernel with a symbolic loop over draws where a draw is small, else tensor products.

Within the loop every draw is differentiated by Dr.Jit's reverse mode and added to accumulators in registers, so that
nothing goes through memory. Seeds and parameters are opaque: a literal would compile a new kernel for each.
"""

import os
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from problems import HORIZON, STEPS, STRIKE

from peers.tuned import best


def find_llvm():
    """Dr.Jit takes LLVM 15 or newer from DRJIT_LIBLLVM_PATH. The newest: 15 crashed on some kernels."""
    folders = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/local/lib")
    found = [path for folder in folders for path in Path(folder).glob("libLLVM-[0-9][0-9].so")]
    newest = max(found, key=lambda path: int(path.name[8:10]), default=None)
    if newest and int(newest.name[8:10]) >= 15:
        os.environ.setdefault("DRJIT_LIBLLVM_PATH", str(newest))


find_llvm()
import drjit as dr  # noqa: E402
import drjit.llvm as plain  # noqa: E402
import drjit.llvm.ad as ad  # noqa: E402

if not dr.has_backend(dr.JitBackend.LLVM):
    raise ImportError("Dr.Jit found no LLVM 15 or newer: install one, or set DRJIT_LIBLLVM_PATH")
VERSION = f"drjit {dr.__version__}, LLVM {'.'.join(map(str, dr.detail.llvm_version()))}"

KINDS = {  # dtype -> differentiable real, real, differentiable tensor, tensor
    "float32": (ad.Float, plain.Float, ad.TensorXf, plain.TensorXf),
    "float64": (ad.Float64, plain.Float64, ad.TensorXf64, plain.TensorXf64),
}


def uniform(rng, real):
    return rng.next_float32() if real is plain.Float else rng.next_float64()


def box_muller(u, v):
    """Two normals; 1 - u is never zero. Faster than Dr.Jit's own normals, which invert the error function."""
    radius = dr.sqrt(-2 * dr.log(1 - u))
    sin, cos = dr.sincos((2 * np.pi) * v)
    return radius * cos, radius * sin


def pair(rng, real):
    return box_muller(uniform(rng, real), uniform(rng, real))


def generator(size, seed):
    return plain.PCG32(size, dr.opaque(plain.UInt64, seed))


def wave(z):
    return dr.sin(z[0]) * dr.exp(z[0] * z[0] * -0.1)


def rosenbrock(z):
    total = 0
    for this, after in pairwise(z):
        total -= dr.square(after - this * this) + 0.01 * dr.square(1 - this)
    return total


def loop_over_draws(problem, dtype, rule, lanes):
    """Independent components, unrolled; each lane loops over its draws."""
    real_ad, real = KINDS[dtype][:2]
    q, _, _ = problem.cast(dtype)
    d, n = problem.noise, problem.draws[dtype]
    a_turn = 2 if d == 1 else 1  # a pair of normals serves two draws of one component
    turns = n // lanes // a_turn

    def turn(i, rng, value, in_loc, in_scale, loc, scale):
        noise = [e for _ in range((d * a_turn + 1) // 2) for e in pair(rng, real)]
        for draw in range(a_turn):
            eps = noise[draw * d : (draw + 1) * d]
            z = [real_ad(m + s * e) for m, s, e in zip(loc, scale, eps, strict=True)]
            dr.enable_grad(z)
            f = rule(z)
            dr.backward(f)
            df = [dr.detach(x.grad, False) for x in z]
            value = value + dr.detach(f, False)
            in_loc = [a + g for a, g in zip(in_loc, df, strict=True)]
            in_scale = [dr.fma(g, e, a) for a, g, e in zip(in_scale, df, eps, strict=True)]
        return i + 1, rng, value, in_loc, in_scale, loc, scale

    def run(seed):
        zeros = [dr.zeros(real, lanes) for _ in range(2 * d + 1)]
        loc, scale = ([dr.opaque(real, float(x)) for x in np.ravel(q[name])] for name in ("loc", "scale"))
        state = (plain.UInt32(0), generator(lanes, seed), zeros[0], zeros[1 : d + 1], zeros[d + 1 :], loc, scale)
        state = dr.while_loop(state, lambda i, *_: i < turns, turn)
        sums = [state[2], *state[3], *state[4]]
        dr.eval(sums)
        sums = [dr.sum(x) for x in sums]
        dr.eval(sums)
        value, *grads = (x[0] / n for x in sums)
        return value, {"loc": np.array(grads[:d]), "scale": np.array(grads[d:])}

    return run


def asian_by_ad(problem, dtype, lanes, mode):
    """A symbolic loop over the steps, differentiated by Dr.Jit: three forward passes, or one reverse pass."""
    real_ad, real = KINDS[dtype][:2]
    n, dt = problem.draws[dtype], HORIZON / STEPS

    def price(seed, spot, vol, rate):
        drift, spread = (rate - vol * vol / 2) * dt, vol * np.sqrt(dt)

        def two_steps(i, rng, log_path, total):
            for e in pair(rng, real):
                log_path = log_path + drift + spread * e
                total = total + dr.exp(log_path)
            return i + 1, rng, log_path, total

        state = (plain.UInt32(0), generator(lanes, seed), dr.zeros(real_ad, lanes), dr.zeros(real_ad, lanes))
        limit = {"max_iterations": STEPS // 2} if mode == "reverse" else {}
        *_, total = dr.while_loop(state, lambda i, *_: i < STEPS // 2, two_steps, **limit)
        return dr.mean(dr.exp(-rate * HORIZON) * dr.maximum(spot * total / STEPS - STRIKE, 0))

    def chunk(seed):
        phi = {name: real_ad(dr.opaque(real, float(x))) for name, x in problem.params.items()}
        if mode == "reverse":
            dr.enable_grad(phi)
            value = price(seed, **phi)
            dr.backward(value)
            grads = {name: x.grad for name, x in phi.items()}
        else:
            grads = {}
            for name in phi:
                fresh = {k: real_ad(dr.detach(p)) for k, p in phi.items()}
                dr.enable_grad(fresh[name])
                value = price(seed, **fresh)
                dr.forward_from(fresh[name])
                grads[name] = value.grad
        dr.eval(value, grads)
        return value[0], {name: g[0] for name, g in grads.items()}

    return partial(mean_over_chunks, chunk, n // lanes)


def mean_over_chunks(chunk, rounds, seed):
    value, grads = 0.0, {}
    for k in range(rounds):
        part, part_grads = chunk(seed * rounds + k)
        value += part / rounds
        grads = {name: grads.get(name, 0) + np.asarray(g, np.float64) / rounds for name, g in part_grads.items()}
    return value, grads


def log_joint(z, tau, X, y):
    logits = X @ z
    softplus = dr.maximum(logits, 0) + dr.log(1 + dr.exp(-dr.abs(logits)))
    return dr.sum(y * logits - softplus, axis=None) - 0.5 * tau * dr.sum(z * z, axis=None)


def ripple(z):
    return dr.sum(-0.5 * z * z + 0.1 * dr.cos(z), axis=None)


def log_joint_by_hand(z, tau, X, y):
    """Value, gradient in z and in tau; value and residual leave one kernel."""
    logits = X @ z
    decay = dr.exp(-dr.abs(logits))
    loss = y * logits - dr.maximum(logits, 0) - dr.log(1 + decay)
    residual = y - dr.select(logits > 0, 1, decay) / (1 + decay)
    dr.eval(loss, residual)
    square = dr.sum(z * z, axis=None)
    return dr.sum(loss, axis=None) - tau / 2 * square, X.T @ residual - tau * z, {"tau": square / -2}


def ripple_by_hand(z):
    value, df = -0.5 * z * z + 0.1 * dr.cos(z), -z - 0.1 * dr.sin(z)
    dr.eval(value, df)
    return dr.sum(value, axis=None), df, {}


RULES = {f.__name__: f for f in (wave, rosenbrock, log_joint, ripple, log_joint_by_hand, ripple_by_hand)}


def normals(dtype, seed, shape):
    """A tensor of normals, in memory. From Philox: the first numbers of many PCG32 streams failed the check."""
    width = 4 if dtype == "float32" else 2
    lanes = dr.arange(plain.UInt32, shape[0] * shape[1] // width)
    rng = plain.Philox4x32(seed=dr.opaque(plain.UInt64, seed), counter_0=lanes)
    u = rng.next_float32x4() if dtype == "float32" else rng.next_float64x2()
    parts = [e for i in range(0, width, 2) for e in box_muller(u[i], u[i + 1])]
    dr.eval(parts)
    return KINDS[dtype][3](dr.concat(parts), shape)


def products(problem, dtype, rule, lanes):
    """Products with data or with scale_tril: tensors of shape (d, draws) and Dr.Jit's blocked matrix product."""
    by_hand = rule.__name__.endswith("_by_hand")
    tensor = KINDS[dtype][3 if by_hand else 2]
    q, params, data = (
        {name: tensor(x[:, None] if x.ndim == 1 else x) for name, x in part.items()} for part in problem.cast(dtype)
    )

    def by_ad_chunk(noise):
        known = {name: tensor(x) for name, x in (q | params).items()}
        wrt = {name: known[name] for name in problem.wrt}
        dr.enable_grad(wrt)
        spread = known["scale_tril"] @ noise if "scale_tril" in q else known["scale"] * noise
        value = rule(known["loc"] + spread, **{name: known[name] for name in params}, **data) / lanes
        dr.backward(value)
        return value, {name: x.grad for name, x in wrt.items()}

    def by_hand_chunk(noise):
        spread = q["scale_tril"] @ noise if "scale_tril" in q else q["scale"] * noise
        value, df, grads = rule(q["loc"] + spread, **params, **data)
        dr.eval(df)
        grads["loc"] = dr.sum(df, axis=1)
        if "scale_tril" in q:
            grads["scale_tril"] = df @ noise.T
        else:
            grads["scale"] = dr.sum(df * noise, axis=1)
        return value / lanes, {name: g / lanes for name, g in grads.items()}

    def chunk(seed):
        noise = normals(dtype, seed, (problem.noise, lanes))
        value, grads = by_hand_chunk(noise) if by_hand else by_ad_chunk(tensor(noise))
        dr.eval(value, grads)
        grads = {name: np.reshape(g.numpy(), np.shape((problem.q | problem.params)[name])) for name, g in grads.items()}
        return float(value.numpy()), {name: np.tril(g) if name == "scale_tril" else g for name, g in grads.items()}

    return partial(mean_over_chunks, chunk, problem.draws[dtype] // lanes)


def variants(problem, dtype):
    """What tune.py tries: lanes a kernel runs over, reverse mode or, for the products, also derivatives by hand."""
    if problem.name == "asian":
        return [{"rule": mode, "lanes": lanes} for mode in ("forward", "reverse") for lanes in (2**14, 2**12, 2**16)]
    if "scale_tril" in problem.q or problem.data:
        rules = [problem.f.__name__, problem.f.__name__ + "_by_hand"]
        return [{"rule": rule, "lanes": lanes} for rule in rules for lanes in (2**13, 2**11, 2**15)]
    return [{"rule": problem.f.__name__, "lanes": lanes} for lanes in (2**13, 2**10, 2**16)]


def make(problem, dtype, threads, variant=None):
    dr.set_thread_count(threads)
    v = variant or best("drjit", problem, dtype, threads, variants(problem, dtype))
    if problem.name == "asian":
        return asian_by_ad(problem, dtype, v["lanes"], v["rule"])
    rule = RULES[v["rule"]]
    if "scale_tril" in problem.q or problem.data:
        return products(problem, dtype, rule, v["lanes"])
    return loop_over_draws(problem, dtype, rule, v["lanes"])
