"""CuPy by hand: normals of its Philox generator, derivatives written in CUDA C++, its reductions and cuBLAS.

A thread of the written kernels takes a draw, whose normals lie a column apart; what is added up is kept in rows.
"""

from functools import partial

import cupy
import numpy as np
from problems import HORIZON, STEPS, STRIKE

from peers.gpu import Job, chunks_of, paired, squared

if not cupy.cuda.runtime.getDeviceCount():
    raise RuntimeError("cupy sees no CUDA device")
VERSION = f"cupy {cupy.__version__}"
HEAD = "#define DRAWS (size_t)blockDim.x * gridDim.x\n#define DRAW (size_t)blockDim.x * blockIdx.x + threadIdx.x\n"
WAVE = """
extern "C" __global__ void wave(const REAL *eps, REAL loc, REAL scale, long n, REAL *value, REAL *rows) {
    for (size_t i = DRAW; i < n; i += DRAWS) {
        REAL e = eps[i], z = loc + scale * e, s, c, bell = exp(z * z * (REAL)-0.1);
        sincos(z, &s, &c);
        REAL v = s * bell, g = c * bell - (REAL)0.2 * z * v;
        value[i] = v; rows[i] = g; rows[n + i] = g * e;
    }
}"""
ROSENBROCK = """
extern "C" __global__ void rosenbrock(const REAL *eps, const REAL *loc, const REAL *scale, long n, int d, REAL *value,
                                      REAL *rows) {
    for (size_t i = DRAW; i < n; i += DRAWS) {
        REAL z = loc[0] + scale[0] * eps[i], before = 0, total = 0;
        for (int j = 0; j < d; j++) {
            REAL df = -2 * before, next = 0, gap = 0, e = eps[j * n + i];
            if (j + 1 < d) {
                next = loc[j + 1] + scale[j + 1] * eps[(j + 1) * n + i];
                gap = next - z * z;
                total -= gap * gap + (REAL)0.01 * (1 - z) * (1 - z);
                df += 4 * gap * z + (REAL)0.02 * (1 - z);
            }
            rows[j * n + i] = df; rows[(d + j) * n + i] = df * e;
            z = next; before = gap;
        }
        value[i] = total;
    }
}"""
ASIAN = """
extern "C" __global__ void asian(const REAL *eps, REAL spot, REAL vol, REAL rate, long n, REAL *value, REAL *rows) {
    const REAL dt = (REAL)HORIZON / STEPS, root = sqrt(dt), drift = rate - vol * vol / 2;
    const REAL discount = exp(-rate * HORIZON);
    for (size_t i = DRAW; i < n; i += DRAWS) {
        REAL brownian = 0, sum = 0, in_time = 0, in_brownian = 0;
        for (int k = 0; k < STEPS; k++) {
            brownian += root * eps[k * n + i];
            REAL time = (k + 1) * dt, path = exp(drift * time + vol * brownian);
            sum += path; in_time += path * time; in_brownian += path * brownian;
        }
        REAL mean = spot * sum / STEPS, alive = mean > STRIKE ? discount : 0, v = alive * (mean - STRIKE);
        REAL in_rate = alive * spot * in_time / STEPS;
        value[i] = v; rows[i] = alive * sum / STEPS;
        rows[n + i] = alive * spot * in_brownian / STEPS - vol * in_rate; rows[2 * n + i] = in_rate - HORIZON * v;
    }
}"""


def generator(seed):
    return cupy.random.Generator(cupy.random.Philox4x3210(seed))


def kernel(text, name, dtype):
    """A kernel and how to launch it."""
    real = "float" if dtype == "float32" else "double"
    known = {"REAL": real, "STEPS": STEPS, "HORIZON": f"(REAL){HORIZON}", "STRIKE": f"(REAL){STRIKE}"}
    constants = "".join(f"#define {key} {value}\n" for key, value in known.items())
    compiled = cupy.RawKernel(HEAD + constants + text, name, options=("--std=c++14",))
    grid = 16 * cupy.cuda.Device().attributes["MultiProcessorCount"]
    return lambda *arguments: compiled((grid,), (256,), arguments)


def spread(problem, found, rows):
    """Totals of the gradient in the parameters of a chunk's rows, by the problem's order of parameters."""
    place = 0
    for name in (n for n in problem.wrt if n != "scale_tril"):
        size = int(np.size((problem.q | problem.params)[name]))
        found[name] = rows[place : place + size]
        place += size


def by_thread(text, name, order, rows):
    """A problem whose draws each fit a thread: a kernel writes values and rows of gradients."""

    def make(problem, dtype, chunk):
        launch, known = kernel(text, name, dtype), problem.q | problem.params
        real = np.dtype(dtype).type
        given = [cupy.asarray(known[k], dtype) if np.ndim(known[k]) else real(known[k]) for k in order]
        value, out = cupy.empty(chunk, dtype), cupy.empty((rows(problem), chunk), dtype)
        extra = [np.int32(problem.noise)] if name == "rosenbrock" else []

        def step(noise):
            launch(noise, *given, np.int64(chunk), *extra, value, out)
            return value, out, {}

        return step

    return make


def logistic(problem, dtype, chunk):
    q, _, data = ({k: cupy.asarray(v) for k, v in part.items()} for part in problem.cast(dtype))
    point = cupy.ElementwiseKernel(
        "T x, T y",
        "T term, T residual",
        "T decay = exp(-abs(x)); term = y * x - max(x, (T)0) - log1p(decay);"
        "residual = y - (x > 0 ? (T)1 : decay) / (1 + decay)",
        "point",
    )
    X, y, tau = data["X"], data["y"][:, None], float(problem.params["tau"])
    out = cupy.empty((2 * problem.noise + 1, chunk), dtype)

    def step(noise):
        d = problem.noise
        z = q["loc"][:, None] + q["scale"][:, None] * noise
        terms, residual = point(X @ z, y)
        square = (z * z).sum(0)
        out[:d] = X.T @ residual - tau * z
        cupy.multiply(out[:d], noise, out=out[d : 2 * d])
        out[2 * d] = square * -0.5
        return terms.sum(0) - 0.5 * tau * square, out, {}

    return step


def ripple(problem, dtype, chunk):
    q, _, _ = ({k: cupy.asarray(v) for k, v in part.items()} for part in problem.cast(dtype))
    point = cupy.ElementwiseKernel(
        "T z",
        "T term, T df",
        "T s, c; sincos(z, &s, &c); term = z * z * (T)-0.5 + c * (T)0.1; df = -z - s * (T)0.1",
        "point",
    )

    def step(noise):
        terms, df = point(q["loc"][:, None] + q["scale_tril"] @ noise)
        more = {"scale_tril": lambda: cupy.tril(df @ noise.T)}
        more[squared("scale_tril")] = lambda: cupy.tril((df * df) @ (noise * noise).T)
        return terms.sum(0), df, more

    return step


MAKERS = {
    "wave": by_thread(WAVE, "wave", ("loc", "scale"), lambda problem: 2),
    "rosenbrock": by_thread(ROSENBROCK, "rosenbrock", ("loc", "scale"), lambda problem: 2 * problem.noise),
    "asian_call": by_thread(ASIAN, "asian", ("spot", "vol", "rate"), lambda problem: 3),
    "log_joint": logistic,
    "ripple": ripple,
}


def jobs(problem, dtype, errors):
    return [partial(_job, problem, dtype, errors, chunk) for chunk in chunks_of(problem)]


def _job(problem, dtype, errors, chunk):
    step = MAKERS[problem.f.__name__](problem, dtype, chunk)
    squares = cupy.ReductionKernel("T x", "float64 y", "(double)x * x", "a + b", "y = a", "0", "squares")

    def chunk_sums(source):
        noise = source.standard_normal((problem.noise, chunk), dtype=dtype)
        value, rows, more = step(noise)
        found, parts = {}, {"": value}
        spread(problem, parts, rows)
        for name, x in parts.items():
            x = x.reshape(-1, chunk)
            found[name] = x.sum(-1, dtype=np.float64)
            if errors:
                found[squared(name)] = squares(x, axis=1)
        return found | {k: make().astype(np.float64) for k, make in more.items() if errors or not k.endswith("^2")}

    def go(seed, rounds):
        source, found = generator(seed), None
        for _ in range(rounds):
            part = chunk_sums(source)
            found = part if found is None else {k: found[k] + x for k, x in part.items()}
        return found

    def run(seed, rounds):
        like = problem.q | problem.params
        found = {k: cupy.asnumpy(x) for k, x in go(seed, rounds).items()}
        return paired({k: x.reshape(np.shape(like.get(k.removesuffix("^2"), 0.0))) for k, x in found.items()})

    def seconds(seed, rounds):
        before, after = cupy.cuda.Event(), cupy.cuda.Event()
        before.record()
        go(seed, rounds)
        after.record()
        after.synchronize()
        return cupy.cuda.get_elapsed_time(before, after) / 1000

    return Job(chunk, run, seconds)
