"""The handler for CUDA, which XLA calls with a frame: with stand-ins for XLA, for the device, and for CuPy."""

import ctypes

import numpy as np
import pytest

import mcgrad as mg
from tests.cuda import row_machines
from tests.cuda.fake_cupy import CUDADriverError
from tests.cuda.test_backend import machine as machine

pytest.importorskip("jax", reason="JAX is not installed: pip install jax")
import mcgrad.jax.static
from mcgrad.jax import ffi, host_call, structures

STREAM = 0xABC
LOC, SCALE, X = np.array([0.5, 1.0]), np.array([1.0, 0.5]), np.array([1.0, 2.0])


def f(z, x):
    return np.sum(z**2 * x)


class Frame:
    """A call frame of XLA on buffers of a machine, with the error that a handler makes."""

    def __init__(self, machine, call, *operands):
        there, types = machine.cupy.asarray, [dtype for _, dtype in call.operand_types]
        self.operands = [there(np.asarray(x, dtype)) for x, dtype in zip(operands, types, strict=True)]
        self.results = [there(np.zeros(shape, dtype)) for shape, dtype in call.result_types]
        self.errors, self._kept = [], []
        self._get, self._create = structures.StreamGet(self._stream), structures.ErrorCreate(self._error)
        number = ctypes.c_int64(call.number)
        scalar = structures.Scalar(5, ctypes.addressof(number))
        table = (ctypes.c_void_p * 1)(ctypes.addressof(scalar))
        self._kept += [number, scalar, table]
        self.frame = structures.CallFrame(
            ctypes.sizeof(structures.CallFrame),
            None,
            ctypes.pointer(structures.Api(stream_get=self._get, error_create=self._create)),
            None,
            structures.EXECUTE,
            self._buffers(self.operands),
            self._buffers(self.results),
            structures.Attributes(48, None, 1, None, None, ctypes.addressof(table)),
        )

    def _buffers(self, arrays):
        found = [structures.Buffer(48, None, 0, x.data.ptr, x.ndim, None) for x in arrays]
        table = (ctypes.c_void_p * len(found))(*map(ctypes.addressof, found))
        self._kept.append((found, table))
        return structures.Buffers(40, None, len(found), None, ctypes.addressof(table))

    def _stream(self, args):
        args.contents.stream = STREAM
        return None

    def _error(self, args):
        self.errors.append(args.contents.message.decode())
        return 1

    def __call__(self):
        """Call the handler, and return whether it made an error."""
        return ffi.HANDLERS["cuda"](ctypes.addressof(self.frame))


@pytest.fixture
def device(machine, monkeypatch):
    """A machine whose memory is where XLA's buffers are."""
    return prepare(machine, monkeypatch)


def prepare(machine, monkeypatch):
    machine.streams[STREAM] = machine.streams[0].__class__()

    def array(address, shape, dtype):
        nbytes = max(int(np.prod(shape)) * dtype.itemsize, 1)
        return machine.cupy.ndarray(machine.view(address, nbytes=nbytes).view(dtype).reshape(shape))

    monkeypatch.setattr(ffi, "_on_device", array)
    return machine


def call_of(wrt=("loc", "scale"), errors=True, dtype="float64", **options):
    static = mcgrad.jax.static.Static(
        f, mg.Normal, {}, {"loc": (2,), "scale": (2,)}, {}, {"x": (2,)}, {}, 1000, dtype, options,
        {"loc": LOC, "scale": SCALE, "x": X},
    )  # fmt: skip
    return host_call.Call(static, wrt, errors).interned()


def right(seed, **options):
    return mg.estimate(f, mg.Normal(LOC, SCALE), 1000, data={"x": X}, seed=seed, backend="numpy", **options)


def check(frame, est, wrt=("loc", "scale"), tolerance=1e-12):
    value, *others, nonfinite = [x.get() for x in frame.results]
    expected = [*(est.grad[path] for path in wrt), est.stderr, *(est.grad_stderr[path] for path in wrt)]
    np.testing.assert_allclose(value, est.value, rtol=tolerance)
    for mine, theirs in zip(others, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=tolerance)
    np.testing.assert_array_equal(nonfinite, est.nonfinite)


@pytest.mark.parametrize("wrt", [("loc",), ("scale", "loc")])
def test_a_call_stays_in_xlas_stream_and_waits_for_nothing(device, wrt):
    call, seed = call_of(wrt), 2**35 + 9
    frame = Frame(device, call, [seed >> 32, seed & 0xFFFFFFFF], LOC, SCALE, X)
    assert not frame()
    device.synchronize(STREAM)
    device.waits = device.transfers = 0
    assert not frame()
    assert (device.waits, device.transfers) == (0, 0)
    assert not device.streams[0]
    assert device.streams[STREAM]
    device.synchronize(STREAM)
    check(frame, right(seed), wrt)


def test_float32_and_no_errors(device):
    call = call_of(("loc", "scale"), False, "float32")
    frame = Frame(device, call, [0, 9], LOC, SCALE, X)
    assert not frame()
    device.synchronize(STREAM)
    est = right(9, dtype="float32")
    for mine, theirs in zip(frame.results, (est.value, est.grad["loc"], est.grad["scale"]), strict=True):
        np.testing.assert_allclose(mine.get(), theirs, rtol=3e-6)


@pytest.mark.parametrize("options", [{"backend": "numpy"}, {"nonfinite": "raise"}])
def test_by_way_of_the_host(device, options):
    frame = Frame(device, call_of(**options), [0, 9], LOC, SCALE, X)
    assert not frame()
    check(frame, right(9), tolerance=1e-9)


def test_rows_go_by_way_of_the_host(device):
    call = call_of(("loc",), backend="numpy").change(rows=2, by_row=(True, True, False, False))
    seeds, locs = np.array([[0, 9], [0, 4]]), np.stack([LOC, LOC + 1.0])
    frame = Frame(device, call, seeds, locs, SCALE, X)
    assert not frame()
    for row, (_, seed) in enumerate(seeds):
        est = mg.estimate(f, mg.Normal(locs[row], SCALE), 1000, data={"x": X}, seed=int(seed), backend="numpy")
        np.testing.assert_allclose(frame.results[0].get()[row], est.value, rtol=1e-9)


def test_values_that_are_not_accepted_make_all_results_nan(device):
    frame = Frame(device, call_of(), [0, 9], LOC, -SCALE, X)
    with np.errstate(all="ignore"):
        assert not frame()
        device.synchronize(STREAM)
    assert all(np.isnan(x.get()).all() for x in frame.results[:-1])


def test_errors_reach_xla(device):
    frame = Frame(device, call_of(), [0, 9], LOC, SCALE, X)
    device.faults.append(CUDADriverError(719, "CUDA_ERROR_LAUNCH_FAILED"))
    assert frame() == 1
    assert "BackendError" in frame.errors[0]


@pytest.mark.parametrize("reduce", [None, "mean"])
def test_batches_stay_in_xlas_stream(monkeypatch, reduce):
    machine = prepare(row_machines.machine(monkeypatch), monkeypatch)
    machine.eager = True  # as what is computed of moments on a device does not wait for them here
    locs, x = np.arange(6.0).reshape(3, 2) / 10, np.arange(6.0).reshape(3, 2)
    shapes, options = {"loc": (3, 2), "scale": ()}, {"batched_data": ("x",), **({"reduce": reduce} if reduce else {})}
    known = {"loc": locs, "scale": np.array(0.5), "x": x}
    static = mcgrad.jax.static.Static(
        f, mg.Normal, {"batch_ndim": 1}, shapes, {}, {"x": (3, 2)}, {}, 200, "float64", options, known
    )
    call = host_call.Call(static, ("loc", "scale"), True).interned()
    frame = Frame(machine, call, [0, 9], locs, 0.5, x)
    assert not frame()
    machine.waits = machine.transfers = 0
    assert not frame(), frame.errors
    assert (machine.waits, machine.transfers) == (0, 0)
    est = mg.estimate(f, mg.Normal(locs, 0.5, batch_ndim=1), 200, data={"x": x}, batched_data="x", seed=9,
                      backend="numpy", reduce=reduce or "none")  # fmt: skip
    check(frame, est, tolerance=1e-9)
