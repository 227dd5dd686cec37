"""Messages with remedies for the errors of CUDA: out of memory, lost devices, old drivers."""

from __future__ import annotations

from mcgrad.system import packages

OUT_OF_MEMORY = 2
TOO_OLD = 35  # the driver
NO_DEVICE = 100
PTX_TOO_NEW = 222
LOST = {  # after these a process can use the device no more
    46: "the device is in use by another process, or unavailable",
    214: "a memory error that the device could not correct",
    220: "an error of NVLink that could not be corrected",
    226: "an error that the device contained",
    700: "a kernel read or wrote memory that is not there",
    702: "a kernel took longer than the system allows",
    709: "its context is destroyed",
    710: "a kernel failed an assertion",
    714: "an error of the device's call stack",
    715: "a kernel ran an instruction that the device does not have",
    716: "a kernel used a misaligned address",
    717: "a kernel used an address of the wrong kind",
    718: "a kernel jumped to nowhere",
    719: "a kernel failed",
    721: "a kernel did not give back its tensor memory",
    999: "an unknown error; the device may have fallen off the bus",
}
OTHERS = {
    3: "the driver does not initialize; after a fork, start processes by spawn instead",
    4: "the driver is shutting down",
    101: "there is no such device",
    209: "the kernel is not for this device",
    218: "the driver cannot compile the kernel's PTX",
    701: "the kernel needs more registers or shared memory than the device has",
}
ELSEWHERE = 'devices= names other devices, backend="cpu" runs without'


def out_of_memory(where: str, asked: str, free: int, total: int) -> str:
    """Return the message for a device without enough memory."""
    return (
        f"{where} is out of memory ({asked}; {gigabytes(free)} of {gigabytes(total)} free). Free what others hold "
        "there, such as CuPy's pool (cupy.get_default_memory_pool().free_all_blocks()) or PyTorch's "
        f"(torch.cuda.empty_cache()); {ELSEWHERE}"
    )


def failed(where: str, code: int, error: object) -> str:
    """Return the message for other errors of the driver."""
    if code in LOST:
        return f"{where} is lost to this process: {LOST[code]} ({error}). Start again in a new process; {ELSEWHERE}"
    if code == PTX_TOO_NEW:
        return f"{where}: {ptx_too_new()} ({error}); {ELSEWHERE}"
    return f"{where}: {OTHERS.get(code, 'a call of CUDA failed')} ({error}); {ELSEWHERE}"


def ptx_too_new() -> str:
    """Return the message for a driver that is older than NVVM, and compiles PTX as nvJitLink is missing."""
    return f"the driver is older than the kernel's PTX; update the driver, or {packages.nvjitlink()}"


def too_old(driver: int, runtime: int) -> str:
    """Return the message for a driver that is too old for CuPy."""
    extra = "" if driver < 12000 else f", or {packages.cuda(driver // 1000)}"
    return f"the NVIDIA driver is for CUDA {dotted(driver)}, CuPy here for {dotted(runtime)}: update the driver{extra}"


def dotted(version: int) -> str:
    """Return a version in NVIDIA's number, 12040, as text, 12.4."""
    return f"{version // 1000}.{version % 1000 // 10}"


def gigabytes(size: int) -> str:
    """Return a size of memory as text."""
    return f"{size / 2**30:.3g} GiB"
