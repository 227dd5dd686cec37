"""On a real device: noise, functions, the problems of the tests, determinism, arrays there, and what goes wrong.

These tests run where a CUDA device is, and are skipped elsewhere.
"""

import subprocess
import sys
import zlib
from dataclasses import replace

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.kernels import cuda32, elementary64, noise32, noise64, special64
from mcgrad.kernels.bounds import BOUNDS, GPU_FLOOR, GPU_MORE, Range
from mcgrad.kernels.device import at, put, subroutine
from mcgrad.kernels.philox import philox4x32
from mcgrad.noise import philox
from mcgrad.noise.numbers import numbers
from mcgrad.noise.source import NoiseSource
from mcgrad.toolchain import ptx
from tests.kernels.oracle import error_ratio, sample

pytestmark = pytest.mark.gpu
POINTS = 200
BOTH = pytest.mark.parametrize("dtype", ["float32", "float64"])
SEED, FIRST = 2**40 + 7, 2**33 + 5


# Kernels of our own


def launch(body, scope, arguments, *arrays):
    """Run the lines of a kernel of `n` threads on arrays of a device: pointers `a0`, `a1`, ... of given types."""
    import cupy
    from numba import int32, types, uint32, uint64

    from mcgrad.backends.cuda.driver import devices
    from mcgrad.backends.cuda.launch import Arguments
    from mcgrad.kernels.target import cuda

    scope = {"at": at, "put": put, "cuda": cuda, "int32": int32, "uint32": uint32, "uint64": uint64, **scope}
    names = ", ".join(f"a{i}" for i in range(len(arrays)))
    lines = ["i = int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)", "if i < n:"]
    exec("\n    ".join([f"def kernel(n, {names}):", *lines, *(f"    {line}" for line in body)]), scope)
    signature = types.void(types.int32, *map(types.CPointer, arguments))
    device = devices()[0]
    there = [cupy.asarray(array) for array in arrays]
    with device.current():
        function = device.load(ptx.translate(scope["kernel"], signature, device.cc), keep=False)
        packed = Arguments((0,), 0, np.dtype(np.float32), len(there))
        n = max(array.shape[-1] for array in arrays)
        np.frombuffer(packed.head, np.int32)[0] = n
        packed.pointers[:] = [array.data.ptr for array in there]
        device.launch(function, -(-n // 128), 128, 0, packed.address, 0)
        device.wait(0)
    return [array.get() for array in there]


def evaluate(name, bits, *arguments):
    """Evaluate a function of the kernels on the device."""
    from numba import types

    modules = (cuda32,) if bits == 32 else (elementary64, special64)
    function = subroutine(next(getattr(module, name) for module in modules if hasattr(module, name)))
    kind = types.float32 if bits == 32 else types.float64
    given = ", ".join(f"at(a{i}, i)" for i in range(len(arguments)))
    body = [f"put(a{len(arguments)}, i, f({given}))"]
    *_, found = launch(body, {"f": function}, [kind] * (len(arguments) + 1), *arguments, np.zeros_like(arguments[0]))
    return found


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_functions_are_within_their_bounds(name, bits):
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for stated in BOUNDS[name][bits]:
        more, floor = (GPU_MORE[name], GPU_FLOOR) if bits == 32 else (0.0, 1.0)
        bound = replace(stated, ulps=stated.ulps + more, floor=stated.floor * floor)
        for domain in bound.domains:
            spans = (domain,) if isinstance(domain, Range) else domain
            given = [sample(rng, span, POINTS).astype(f"float{bits}") for span in spans]
            found = evaluate(name, bits, *given)
            assert max(error_ratio(name, x, y, bound) for *x, y in zip(*given, found, strict=True)) <= 1


@BOTH
def test_noise_is_that_of_the_contract(dtype):
    from numba import types

    bits, each = dtype[-2:], 4 if dtype == "float32" else 2
    kind = types.float32 if bits == "32" else types.float64
    noise, n, component, stream = (noise32 if bits == "32" else noise64), 1000, 3, 1
    group = FIRST // each
    scope = {
        "words": subroutine(philox4x32, types.UniTuple(types.uint32, 4)),
        "normals": subroutine(noise.normal_pair, types.UniTuple(kind, 2)),
        "uniform": subroutine(noise.uniform, kind),
    }
    body = [
        f"g = uint64({group}) + uint64(i)",
        f"w = words(uint32({component}), uint32(g >> uint64(32)), uint32({stream}), uint32(g), "
        f"uint32({SEED & 0xFFFFFFFF}), uint32({SEED >> 32}))",
        *(f"put(a0, {4} * i + {k}, w[{k}])" for k in range(4)),
    ]
    if each == 4:
        body += [f"put(a1, 4 * i + {k}, uniform(w[{k}]))" for k in range(4)]
        body += ["x, y = normals(w[0], w[1])", "put(a2, 4 * i, x)", "put(a2, 4 * i + 1, y)"]
        body += ["x, y = normals(w[2], w[3])", "put(a2, 4 * i + 2, x)", "put(a2, 4 * i + 3, y)"]
    else:
        body += ["put(a1, 2 * i, uniform(w[0], w[1]))", "put(a1, 2 * i + 1, uniform(w[2], w[3]))"]
        body += ["x, y = normals(w[0], w[1], w[2], w[3])", "put(a2, 2 * i, x)", "put(a2, 2 * i + 1, y)"]
    body.insert(0, f"if i >= {n}:\n            return")
    words, uniforms, normals = launch(
        body,
        scope,
        [types.uint32, kind, kind],
        np.zeros(4 * n, np.uint32),
        np.zeros(each * n, dtype),
        np.zeros(each * n, dtype),
    )
    right = philox.words(SEED, stream, component, np.uint64(group) + np.arange(n, dtype=np.uint64), each)
    np.testing.assert_array_equal(words.reshape(n, 4).T, right)
    first, draws = group * each, each * n
    expected = numbers(NoiseSource(stream, "uniform"), SEED, [component], first, draws, dtype)[0]
    assert uniforms.tobytes() == expected.tobytes()
    expected = numbers(NoiseSource(stream, "normal"), SEED, [component], first, draws, dtype)[0]
    assert np.max(np.abs(normals - expected) / np.spacing(np.abs(expected))) <= 6


# Problems


X = np.random.default_rng(0).standard_normal((200, 30))


def wave(z):
    return np.sin(z) * np.exp(-(z**2) / 10)


def rosenbrock(z):
    return -np.sum((z[1:] - z[:-1] ** 2) ** 2 + 0.01 * (1 - z[:-1]) ** 2)


def regression(z, *, tau, X):
    return -np.sum(np.logaddexp(0, X @ z)) - 0.5 * tau * np.sum(z**2)


def asian(z, *, spot):
    path = spot * np.exp(np.cumsum(-0.0001 + 0.01 * z))
    return np.maximum(np.mean(path) - 100.0, 0)


def chain(d):
    return mg.Normal(np.linspace(-0.5, 0.5, d), np.linspace(0.3, 0.8, d))


def asian_by_step(z, *, spot, vol):
    def step(s, x):
        s = s * np.exp(vol * x - 0.5 * vol**2)
        return s, s

    return mg.scan(step, spot, z, reduce="mean")[1]


def weights_by_step(z, *, a):
    """Derivatives in reverse; what the steps leave for it is in global memory."""

    def step(x, w):
        slope = a[0] * x + a[1] * np.sin(a[2] * x) + a[3] * np.exp(-a[4] * x**2) + a[5]
        return x + 0.02 * slope + 0.1 * (a[6] + a[7] / (1.0 + a[8] * x**2)) * w + a[9], x**2

    last, mean = mg.scan(step, 0.5, z, reduce="mean")
    return last + mean


def matrix_by_step(z, *, k):
    """A state that threads share."""
    c, rows = mg.scan(lambda c, x: (np.tanh(X[:30] @ c + k * x), c), np.linspace(-1.0, 1.0, 30), z)
    return np.sum(c) + np.sum(rows**2)


WEIGHTS = np.array([-1.0, 0.3, 0.5, 0.2, 0.1, 0.05, 0.4, 0.3, 0.2, 0.001])
TRIL = np.tri(30) * 0.01 + 0.2 * np.eye(30)
PROBLEMS = {
    "wave": (wave, mg.Normal(0.3, 1.2), {}),
    "uniform": (wave, mg.Uniform(-1.0, 2.0), {}),
    "rosenbrock": (rosenbrock, chain(10), {}),
    "chain": (rosenbrock, chain(100), {}),
    "regression": (regression, mg.Normal(np.zeros(30), 0.2), {"params": {"tau": 1.0}, "data": {"X": X}}),
    "full": (regression, mg.MultivariateNormal(np.zeros(30), TRIL), {"params": {"tau": 1.0}, "data": {"X": X}}),
    "asian": (asian, mg.Normal(np.zeros(252), 1.0), {"params": {"spot": 100.0}}),
    "asian by step": (asian_by_step, mg.Normal(np.zeros(252), 1.0), {"params": {"spot": 1.0, "vol": 0.01}}),
    "weights by step": (weights_by_step, mg.Normal(np.zeros(300), 1.0), {"params": {"a": WEIGHTS}, "wrt": ["a"]}),
    "matrix by step": (matrix_by_step, mg.Normal(np.zeros(5), 1.0), {"params": {"k": 0.3}}),
    "joint": (lambda z: z["a"] ** 2 * np.exp(z["b"]), mg.Joint(a=mg.Normal(), b=mg.Uniform(0.0, 2.0)), {}),
}
NAMES = pytest.mark.parametrize("name", PROBLEMS)


def build(name, backend="cuda", dtype="float64", **more):
    f, q, inputs = PROBLEMS[name]
    return mg.Estimator(f, q, backend=backend, dtype=dtype, **{**inputs, **more})


def leaves(estimate):
    grads = [estimate.to_host().grad, estimate.to_host().grad_stderr]
    both = [x for grad in grads for x in mg.tree.flatten(grad).values()]
    return np.concatenate([np.ravel(x) for x in (estimate.value, estimate.stderr, *both)])


def identical(a, b):
    assert leaves(a).tobytes() == leaves(b).tobytes()


@BOTH
@NAMES
def test_agrees_with_the_reference_on_the_same_draws(name, dtype):
    ours, theirs = build(name, dtype=dtype), build(name, "numpy", dtype)
    for n, first in ((2, 0), (1001, 2**40 + 1), (20_000, 3)):
        a, b = leaves(ours(n, seed=SEED, first=first)), leaves(theirs(n, seed=SEED, first=first))
        scale = np.maximum(np.abs(b), np.max(np.abs(b)) * 1e-3)
        assert np.max(np.abs(a - b) / scale) < (2e-3 if dtype == "float32" else 1e-8)


@NAMES
def test_verify(name):
    f, q, inputs = PROBLEMS[name]
    if name != "asian":  # which has a kink
        assert mg.verify(f, q, n=2000, **inputs).ok


@NAMES
def test_the_same_bits_again_and_for_any_grid(name, monkeypatch):
    from mcgrad.backends.cuda.compiled import Compiled

    estimator, n = build(name), 300_000
    first = estimator(n, seed=1)
    identical(first, estimator(n, seed=1))
    for blocks in (1, 7):
        monkeypatch.setattr(Compiled, "grid", lambda self, device, chunks, blocks=blocks: min(blocks, chunks))
        identical(first, estimator(n, seed=1))


def test_the_same_bits_on_any_devices():
    from mcgrad.backends.cuda.driver import devices

    estimates = [build("rosenbrock", devices=[device.index])(10**8, seed=1) for device in devices()]
    for estimate in [*estimates[1:], build("rosenbrock")(10**8, seed=1)]:
        identical(estimates[0], estimate)


def test_many_draws_against_the_closed_form():
    estimate = mg.estimate(lambda z: np.sin(z), mg.Normal(0.3, 1.2), 10**9, backend="cuda", dtype="float32")
    exact = np.cos(0.3) * np.exp(-(1.2**2) / 2)
    assert abs(estimate.grad["loc"] - exact) < 5 * estimate.grad_stderr["loc"] + 1e-6


@pytest.mark.parametrize("policy", ["propagate", "omit"])
def test_draws_that_are_not_finite(policy):
    def pole(z):
        return np.where(z > 1.5, np.nan, z)

    ours, theirs = (
        mg.estimate(pole, mg.Normal(), 30_000, backend=backend, nonfinite=policy) for backend in ("cuda", "numpy")
    )
    assert ours.nonfinite == theirs.nonfinite > 0
    np.testing.assert_allclose(leaves(ours), leaves(theirs), rtol=1e-9)


def test_an_integrand_pair():
    import numba

    @numba.njit
    def value(z):
        return z[0] ** 2

    @numba.njit
    def value_and_grad(z, grad):
        grad[0] = 2.0 * z[0]
        return z[0] ** 2

    pair = mg.Integrand(value=value, value_and_grad=value_and_grad)
    estimates = [mg.estimate(pair, mg.Normal(0.3, 1.2), 10_000, backend=b) for b in ("cuda", "numpy")]
    np.testing.assert_allclose(*map(leaves, estimates), rtol=1e-9)


# Arrays on the device


def libraries():
    yield "cupy", lambda cupy: cupy.asarray
    yield "torch", lambda torch: lambda x: torch.as_tensor(x, device="cuda")
    yield "jax", lambda jax: lambda x: jax.device_put(np.asarray(x), jax.devices("gpu")[0])
    yield "numba.cuda", lambda cuda: cuda.to_device


@pytest.mark.parametrize(("library", "make"), list(libraries()), ids=lambda x: x if isinstance(x, str) else "")
@pytest.mark.parametrize("name", ["rosenbrock", "regression"])
def test_inputs_on_the_device(name, library, make):
    module = pytest.importorskip(library)
    try:
        place = make(module)
        loc = place(np.full(PROBLEMS[name][1].params["loc"].shape, 0.25, np.float32))
    except (RuntimeError, AssertionError):
        pytest.skip(f"{library} sees no device")
    estimator = build(name, dtype="float32")
    expected = estimator(5000, loc=np.full(PROBLEMS[name][1].params["loc"].shape, 0.25, np.float32))
    np.testing.assert_allclose(leaves(estimator(5000, loc=loc)), leaves(expected), rtol=1e-5, atol=1e-5)


def test_data_on_the_device():
    cupy = pytest.importorskip("cupy")
    estimator = build("regression", data={"X": cupy.asarray(X)})
    np.testing.assert_allclose(leaves(estimator(5000)), leaves(build("regression")(5000)), rtol=1e-9, atol=1e-9)


def test_what_is_wrong_on_the_device_is_refused():
    cupy = pytest.importorskip("cupy")
    scale = cupy.ones(10)
    scale[3] = -1.0
    with pytest.raises(mg.ParameterError, match=r"scale: given -1.0 at \[3\]"):
        build("rosenbrock")(100, scale=scale)
    with pytest.raises(mg.ParameterError, match="low < high"):
        mg.Uniform(cupy.asarray(1.0), cupy.asarray(0.5))


def test_gradients_stay_on_the_device():
    cupy = pytest.importorskip("cupy")
    estimator, host = build("regression", output="device"), build("regression")(5000)
    loc, estimate = cupy.zeros(30), estimator(5000)
    assert isinstance(estimate.grad["loc"], cupy.ndarray)
    identical(estimate, host)
    identical(mg.Estimate.from_json(estimate.to_json()), host)
    for step in range(20):
        loc -= 0.001 * estimator(256, seed=step, loc=loc).grad["loc"]
    assert bool(cupy.isfinite(loc).all())


def test_a_stream_is_waited_for():
    cupy = pytest.importorskip("cupy")
    estimator, stream = build("rosenbrock"), cupy.cuda.Stream(non_blocking=True)
    expected = estimator(1000, loc=np.full(10, 0.5))
    for _ in range(5):
        with stream:
            work = cupy.ones((3000, 3000))
            for _ in range(10):
                work = work @ work * 1e-4
            loc = cupy.full(10, 0.5) + 0.0 * work[0, :10]
        np.testing.assert_allclose(leaves(estimator(1000, loc=loc, stream=stream)), leaves(expected), rtol=1e-9)


# What goes wrong


def test_more_memory_than_there_is():
    from mcgrad.backends.cuda.driver import Memory, devices

    with pytest.raises(mg.BackendError, match=r"out of memory .*GiB"), devices()[0].current():
        Memory(1 << 50, 0)
    assert build("wave")(1000).n == 1000


def test_a_launch_that_cannot_be():
    from mcgrad.backends.cuda.driver import devices

    kernel, device = build("wave")._kernel, devices()[0]
    with pytest.raises(mg.BackendError, match="CUDA device 0"), device.current():
        device.launch(kernel.fast.on(device)[0], 1, 1 << 20, 0, 0, 0)
    assert build("wave")(1000).n == 1000


LOST = """
import numpy as np
import warnings
import mcgrad as mg
from mcgrad.backends.cuda import worker
from mcgrad.backends.cuda.driver import Memory, devices

estimator = mg.Estimator(lambda z: np.sin(z), mg.Normal(), backend="cuda")
estimator(1000)
worker.Buffer.there = lambda self, count: 8  # partials go where nothing is
for _ in range(2):
    try:
        estimator(100_000)
    except mg.BackendError as error:
        print("lost" in str(error))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(mg.estimate(lambda z: np.sin(z), mg.Normal(), 10**9 // 50).backend)
"""


def test_a_lost_device():
    done = subprocess.run([sys.executable, "-c", LOST], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "True", "cpu"], done.stderr


# Small calls


def test_a_small_call_is_quick(record_property):
    import time

    estimator, loc = build("rosenbrock", dtype="float32"), np.zeros(10, np.float32)
    times = []
    for step in range(300):
        start = time.perf_counter()
        estimator(256, seed=step, loc=loc)
        times.append(time.perf_counter() - start)
    median = float(np.median(times[50:]))
    record_property("microseconds", round(median * 1e6, 1))
    print(f"a call of 256 draws: {median * 1e6:.1f} us")
    assert median < 1e-3
