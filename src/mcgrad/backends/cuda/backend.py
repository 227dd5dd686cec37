"""The CUDA backend: whether it can run, its estimate of costs, its kernels, and a description of its devices."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import replace
from functools import cache
from importlib.util import find_spec

from mcgrad.backends.base import NEVER, Cost
from mcgrad.backends.cuda.kernel import TYPICAL, CudaKernel, emitted, emitted_rows
from mcgrad.backends.rates import Rates, current
from mcgrad.backends.row_by_row import by_row
from mcgrad.ir.program import Program
from mcgrad.system import packages
from mcgrad.toolchain import ptx

RATES = Rates("cuda", float32=1.2e13, float64=3e12, call=6e-5, load=1.5, compile=2.5, equation=2e-2, gigabyte=0.08)
PACKAGES = {"cupy": "CuPy", "numba_cuda": "numba-cuda"}
FOUND = 3e-3  # seconds to emit a Program and load its kernel from the cache


class CudaBackend:
    """Kernels on NVIDIA GPUs, by Numba and CuPy."""

    name = "cuda"
    averages_rows = True

    def unavailable(self) -> str | None:
        """Return why it cannot run: CuPy, numba-cuda, a driver or a device is missing; None where it can."""
        missing = _missing()
        if missing is not None:
            return missing if has_driver() else f"{missing}; and there is no NVIDIA driver here"
        from mcgrad.backends.cuda import driver

        lost = [device.lost for device in driver.devices() if device.lost is not None]
        return lost[0] if lost else driver.obstacle()

    def rates(self) -> Rates:
        """Return the rates of one device, those of the first once its name is known."""
        name = _device_name()
        return current(replace(RATES, name=f"cuda: {name}") if name else RATES)

    def cost(self, program: Program, draws: int, threads: int) -> Cost:
        """Return the estimated cost; loading CuPy and compiling count unless that is done."""
        if not has_driver():
            return NEVER
        loaded = "cupy" in sys.modules
        cost = self.rates().cost(program, draws, load=not loaded, compile=not self.is_compiled(program))
        return replace(cost, compile=max(cost.compile, FOUND))

    def compile(self, program: Program) -> CudaKernel:
        """Emit the kernel and compile it, unless the cache folder has it."""
        from mcgrad.backends.cuda import driver

        return CudaKernel(program, driver.devices())

    def device(self) -> str | None:
        """Return the name of the first device, once the driver is initialized: results are those of its model."""
        return _device_name()

    def is_compiled(self, program: Program) -> bool:
        """Whether a Program was compiled before, in this process or an earlier one: one with rows for few draws."""
        code = emitted_rows(program, TYPICAL) if by_row(program) else emitted(program)
        return not code.user_functions and ptx.is_cached(code.source)


def describe() -> dict[str, str]:
    """Return the versions and devices of CUDA, by name, as text."""
    reason = CudaBackend().unavailable()
    if reason is not None:
        return {"CUDA": reason}
    from mcgrad.backends.cuda import driver, faults

    ours, theirs = driver.versions()
    return {
        "CUDA": f"driver for CUDA {faults.dotted(ours)}, CuPy for CUDA {faults.dotted(theirs)}",
        **{
            f"CUDA device {device.index}": f"{device.name}, compute capability {'.'.join(map(str, device.cc))}, "
            f"{device.processors} multiprocessors, {faults.gigabytes(device.memory)}"
            for device in driver.devices()
        },
    }


def _device_name() -> str | None:
    """Return the name of the first device, if the driver was initialized already."""
    driver = sys.modules.get("mcgrad.backends.cuda.driver")
    if driver is None or not driver.devices.cache_info().currsize or not driver.devices():
        return None
    return str(driver.devices()[0].name)


@cache
def has_driver() -> bool:
    """Return whether there is a driver of NVIDIA's; loads its library, without initializing it."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _missing() -> str | None:
    lacking = [name for module, name in PACKAGES.items() if find_spec(module) is None]
    if not lacking:
        return None
    return f"{' and '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} not installed: {packages.cuda()}"
