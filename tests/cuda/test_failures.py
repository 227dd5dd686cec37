"""What goes wrong with the CUDA backend, and what it says of the machine, on the stand-in for CuPy."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.backends.cuda import compiled, driver
from mcgrad.backends.cuda.backend import describe
from mcgrad.engine.run import run
from tests.cuda import machines
from tests.cuda.fake_cupy import CompileException, CUDADriverError, CUDARuntimeError, OutOfMemoryError
from tests.cuda.problems import NORMAL, agree, build, identical, machine as machine, small, two as two

LOAD = compiled.Compiled._load


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            CUDARuntimeError(2, "cudaErrorMemoryAllocation: no memory"),
            r"device 0 \(Fake GPU\) is out of memory .*Gi",
        ),
        (CUDADriverError(700, "CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access"), "lost to this process"),
        (CUDADriverError(714, "CUDA_ERROR_HARDWARE_STACK_ERROR: hardware stack error"), "lost to this process"),
        (CUDADriverError(715, "CUDA_ERROR_ILLEGAL_INSTRUCTION: an illegal instruction"), "lost to this process"),
        (CUDADriverError(226, "CUDA_ERROR_CONTAINED: a contained error"), "lost to this process"),
        (CUDADriverError(222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION: too new"), "pip install --upgrade nvidia-nvjitlink"),
        (CUDADriverError(701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES: too many resources"), "more registers"),
        (CUDADriverError(1, "CUDA_ERROR_INVALID_VALUE: invalid argument"), "a call of CUDA failed"),
    ],
)
def test_errors_of_the_device(machine, fault, message):
    estimator = build("wave")
    before = estimator(500)
    machine.faults.append(fault)
    with pytest.raises(mg.BackendError, match=message):
        estimator(500)
    if "lost" in message:
        with pytest.raises(mg.BackendError, match="lost"):
            estimator(500)
        with pytest.raises(mg.BackendError, match=r"not available: .*lost"):
            build("scalar")
    else:
        identical(estimator(500), before)


def test_cupy_before_14(monkeypatch):
    small(monkeypatch)
    machine = machines.machine(monkeypatch, release=13)
    assert not hasattr(machine.cupy.cuda.Stream, "from_external")
    stream = machine.cupy.cuda.Stream()
    ours = build("wave", data={}, params={"c": machine.cupy.asarray(0.5)})
    agree(ours(3000, stream=stream.ptr), build("wave", "numpy")(3000))


NO_CUBLAS = ImportError('Failure finding "libcublasLt.so.12": No such file')
NOT_COMPILED = CompileException("nvrtc: error: failed to open nvrtc-builtins")


def exponent(z, *, c):
    return np.sum(z) * np.exp(c) + np.sum(z * np.cos(c))  # a factor behind the mean, a constant of the kernel


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (NO_CUBLAS, r'libcublasLt.*pip install "cupy-cuda1[23]x\[ctk\]'),
        (NOT_COMPILED, "CuPy fails at a computation on the device .*nvrtc-builtins"),
        (OutOfMemoryError("Out of memory allocating 8 bytes."), "device 0 .*out of memory"),
        (CUDARuntimeError(715, "cudaErrorIllegalInstruction: an illegal instruction"), "lost to this process"),
    ],
)
def test_errors_of_cupy_as_constants_are_computed(machine, fault, message):
    c = machine.cupy.asarray(0.5)
    expected = mg.estimate(exponent, NORMAL, 500, params={"c": 0.5}, backend="numpy")
    named = mg.Estimator(exponent, NORMAL, params={"c": c}, backend="cuda")
    machine.array_faults.append(fault)
    with pytest.raises(mg.BackendError, match=message):
        named(500)
    if fault is not NO_CUBLAS:
        return
    agree(named(500), expected)
    auto = mg.Estimator(exponent, NORMAL, params={"c": c}, backend="auto")
    assert auto.backend == "cuda"
    machine.array_faults.append(fault)
    with pytest.warns(mg.BackendWarning, match="libcublasLt"):
        estimate = auto(500)
    assert estimate.backend != "cuda"
    agree(estimate, expected)


def test_errors_of_cupy_as_factors_are_computed(machine, monkeypatch):
    """After the run, where constants are put behind the means: auto computes again elsewhere."""
    auto = mg.Estimator(exponent, NORMAL, params={"c": machine.cupy.asarray(0.5)}, backend="auto")

    def then_fail(*arguments):
        found = run(*arguments)
        if auto.backend == "cuda":
            machine.array_faults.append(NOT_COMPILED)
        return found

    monkeypatch.setattr("mcgrad.engine.averager.run", then_fail)
    with pytest.warns(mg.BackendWarning, match="nvrtc-builtins"):
        estimate = auto(500)
    assert estimate.backend != "cuda"
    agree(estimate, mg.estimate(exponent, NORMAL, 500, params={"c": 0.5}, backend="numpy"))


def test_errors_of_cupy_as_parameters_are_checked(machine):
    loc = machine.cupy.asarray(np.zeros(3))
    machine.array_faults.append(NOT_COMPILED)
    with pytest.raises(mg.BackendError, match="nvrtc-builtins"):
        mg.Normal(loc, 1.0)


def test_no_memory_left(monkeypatch):
    small(monkeypatch)
    machines.machine(monkeypatch, memory=100)
    with pytest.raises(mg.BackendError, match=r"out of memory \(Out of memory allocating [0-9,]+ bytes"):
        build("wave")(100_000)


def test_auto_goes_on_without_the_device(machine):
    estimator = build("wave", "auto", draws=10**12)
    assert estimator.backend == "cuda"
    machine.faults.append(CUDADriverError(719, "CUDA_ERROR_LAUNCH_FAILED: unspecified launch failure"))
    with pytest.warns(mg.BackendWarning, match="lost"):
        estimate = estimator(500)
    assert estimate.backend == "cpu"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"driver": 0}, "there is no NVIDIA driver"),
        ({"driver": 11040}, "driver is for CUDA 11.4, CuPy here for 12.9: update the driver"),
        ({"devices": 0}, "no device that it shows"),
    ],
)
def test_no_device(monkeypatch, options, message):
    machines.machine(monkeypatch, **options)
    with pytest.raises(mg.BackendError, match=message):
        build("wave")


def test_packages_that_are_missing(monkeypatch):
    from mcgrad.backends.cuda import backend

    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    with pytest.raises(mg.BackendError, match=r'CuPy and numba-cuda are not installed: pip install "cupy-cuda1[23]x'):
        build("wave")


def test_a_machine_without_cuda_has_no_cost(monkeypatch):
    from mcgrad.backends.cuda import backend

    monkeypatch.setattr(backend, "has_driver", lambda: False)
    assert build("wave", "auto").backend != "cuda"


def test_a_kernel_that_does_not_compile(machine, monkeypatch):
    def refuse(*arguments):
        raise ValueError("no such target")

    monkeypatch.setattr(compiled.Compiled, "_load", LOAD)
    monkeypatch.setattr(compiled.ptx, "ptx", refuse)
    with pytest.raises(mg.BackendError, match=r"does not compile for CUDA device 0 .*no such target"):
        build("wave")


def test_a_device_keeps_the_kernels_that_were_loaded_last(machine, monkeypatch):
    monkeypatch.setattr(driver, "RECENT", 2)
    (device,) = driver.devices()
    kernels = [compiled.ptx.Ptx("", "kernel", str(number).encode()) for number in range(3)]
    first, second = device.load(kernels[0]), device.load(kernels[1])
    assert device.load(kernels[0]) is first  # so it was used after the second
    third = device.load(kernels[2])
    assert device.load(kernels[0]) is first
    assert device.load(kernels[2]) is third
    assert device.load(kernels[1]) is not second


def test_an_interrupt_leaves_a_backend_that_works(machine):
    estimator = build("wave")
    before = estimator(20_000)

    def interrupt(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        estimator(20_000, progress=interrupt)
    identical(estimator(20_000), before)


def test_what_is_there_is_described(two):
    described = describe()
    assert described["CUDA"] == "driver for CUDA 12.9, CuPy for CUDA 12.9"
    assert described["CUDA device 1"] == "Fake GPU, compute capability 9.0, 4 multiprocessors, 16 GiB"


def test_what_is_not_there_is_described(monkeypatch):
    machines.machine(monkeypatch, driver=0)
    assert describe() == {"CUDA": "there is no NVIDIA driver here"}
