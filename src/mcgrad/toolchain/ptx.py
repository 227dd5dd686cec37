"""Compile the emitted source of a GPU kernel to machine code, or load it from the cache; no device is needed.

The CUDA backend calls `ptx`. Numba's CUDA target and NVVM compile the source to PTX, nvJitLink compiles PTX to machine
code: so an older driver need not read PTX of a newer version, and loading a kernel compiles nothing. PTX and machine
code are one entry of the cache.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mcgrad.cache import entry, folder, making
from mcgrad.cache.key import key
from mcgrad.errors import BackendError
from mcgrad.system import packages
from mcgrad.system.locks import Lock
from mcgrad.system.machine import version
from mcgrad.system.recent import Recent
from mcgrad.toolchain import compile

COMPILERS = ("numba-cuda", "nvidia-cuda-nvcc-cu12", "nvidia-nvvm", "nvidia-nvjitlink-cu12", "nvidia-nvjitlink")
MACHINE_CODE = b"\x7fELF"
HOMES = ("CUDA_HOME", "CUDA_PATH")  # environment variables of a compiler that pip did not install

RECENT = 64  # kernels that are kept in memory though no device has loaded them

_lock = Lock()


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Ptx:
    """A kernel: its PTX, the name of its entry function, and the image to load, machine code or the PTX itself."""

    text: str
    entry: str
    image: bytes


_known: Recent[str, Ptx] = Recent(RECENT)


def versions() -> str:
    """Return what machine code depends on besides sources: the versions of numba-cuda and of NVIDIA's compilers."""
    found = [f"{name} {version(name)}" for name in COMPILERS]
    return " ".join([*found, *(os.environ.get(home, "") for home in HOMES)])


def is_cached(source: str) -> bool:
    """Whether a kernel was compiled before, in this process or an earlier one, for any device. Imports nothing."""
    start = f"{key(source, versions())}.sm_"
    return any(name.startswith(start) for name in [*_known.keys(), *folder.names()])


def ptx(source: str, name: str, cc: tuple[int, int], user_functions: list[Any]) -> Ptx:
    """Compile a kernel, or find it in the cache folder.

    Parameters
    ----------
    source : str
        Source of a module with the kernel and its `SIGNATURE`.
    name : str
        The kernel.
    cc : tuple of int
        Compute capability of the device it will run on.
    user_functions : list
        The user's own functions; with any of these nothing is kept on disk.
    """

    def translated() -> Ptx:
        module = compile.module(source, user_functions)
        return translate(getattr(module, name), module.SIGNATURE, cc, getattr(module, "LAUNCH", None))

    return translated() if user_functions else _kept(_name(source, cc), cc, translated)


def function_ptx(function: Any, signature: Any, cc: tuple[int, int]) -> Ptx:
    """Compile one of our own kernels, or find it in the cache folder."""
    return _kept(_name(f"{function.__qualname__}{signature}", cc), cc, lambda: translate(function, signature, cc))


def translate(function: Any, signature: Any, cc: tuple[int, int], launch: tuple[int, int] | None = None) -> Ptx:
    """Compile a Python function of numbers and pointers as a kernel.

    `launch` is the number of threads in a thread block, and of thread blocks that should fit on a multiprocessor.

    Raises
    ------
    BackendError
        The installed numba-cuda does not work, or nvJitLink does not compile the PTX of NVVM; the message has the
        remedy.
    """
    try:
        from mcgrad.kernels.target import cuda

        target: Any = cuda
        options = {"device": False, "abi": "numba", "cc": cc, "output": "ptx", "launch_bounds": launch}
        text, _ = target.compile(function, signature, **options)
    except (AttributeError, ImportError) as error:  # with a version of NumPy or Numba that it does not support
        raise BackendError(_incompatible(error)) from error
    except RuntimeError as error:
        if type(error).__name__ != "DynamicLibNotFoundError":
            raise
        raise BackendError(f"numba-cuda finds no compiler of NVIDIA's ({error}): {packages.cuda()}") from error
    return _linked(text if isinstance(text, str) else text.decode(), cc)


def _incompatible(error: Exception) -> str:
    """Return the message that numba-cuda does not work with the installed versions of other packages."""
    found = ", ".join(f"{name} {version(name)}" for name in ("numba-cuda", "numpy", "numba", "cuda-bindings"))
    remedy = f"{packages.cuda()} {packages.WITH_CUDA}"
    return f"numba-cuda does not work with the packages here ({error}; {found}). These work together: {remedy}"


def _kept(name: str, cc: tuple[int, int], make: Callable[[], Ptx]) -> Ptx:
    with _lock:
        found = _known.find(name)
        if found is None:
            with making.content(name) as content:
                found = _known.put(name, (content and _read(name, content, cc)) or _keep(name, make()))
        return found


def _read(name: str, content: bytes, cc: tuple[int, int]) -> Ptx | None:
    """Return the kernel of an entry: PTX, a zero byte, and the machine code, if there is any."""
    head, _, image = content.partition(b"\0")
    text = head.decode("utf-8", errors="replace")
    found = _entry(text)
    if found is None:
        folder.discard(name, "holds no kernel")
        return None
    return Ptx(text, found, image) if image.startswith(MACHINE_CODE) else _linked(text, cc)


def _keep(name: str, ptx: Ptx) -> Ptx:
    image = ptx.image if ptx.image.startswith(MACHINE_CODE) else b""
    entry.keep(name, ptx.text.encode() + b"\0" + image)
    return ptx


def _name(source: str, cc: tuple[int, int]) -> str:
    """Return the name of an entry: a hash of what machine code depends on, and the compute capability."""
    return entry.file_name(key(source, versions()), f"sm_{cc[0]}{cc[1]}")


def _entry(text: str) -> str | None:
    found = re.search(r"\.entry\s+(\w+)", text)
    return found.group(1) if found else None


def _linked(text: str, cc: tuple[int, int]) -> Ptx:
    """Compile PTX to machine code; where nvJitLink is missing, the driver compiles it as it loads the kernel."""
    entry = _entry(text)
    assert entry is not None
    image = _link(text.encode(), f"-arch=sm_{cc[0]}{cc[1]}")
    return Ptx(text, entry, text.encode() if image is None else image)


def _link(text: bytes, architecture: str) -> bytes | None:
    """Return machine code; None where nvJitLink or its Python bindings are missing."""
    try:
        from cuda.bindings import nvjitlink

        nvjitlink.version()
    except (ImportError, RuntimeError):  # the bindings, or the library that they load
        return None
    handle = 0
    try:
        handle = nvjitlink.create(2, [architecture, "-O3"])
        nvjitlink.add_data(handle, nvjitlink.InputType.PTX, text, len(text), "kernel")
        nvjitlink.complete(handle)
        image = bytearray(nvjitlink.get_linked_cubin_size(handle))
        nvjitlink.get_linked_cubin(handle, image)
        return bytes(image)
    except nvjitlink.nvJitLinkError as error:
        raise BackendError(_unlinked(nvjitlink, handle, text, architecture, error)) from error
    finally:
        if handle:
            nvjitlink.destroy(handle)


def _unlinked(nvjitlink: Any, handle: int, text: bytes, architecture: str, error: Exception) -> str:
    """Return the message for PTX that nvJitLink does not compile, with its log: most often it is older than NVVM."""
    made = re.search(rb"^\.version\s+(\S+)", text, re.MULTILINE)
    log = bytearray(nvjitlink.get_error_log_size(handle)) if handle else bytearray()
    if log:
        nvjitlink.get_error_log(handle, log)
    said = " ".join(log.rstrip(b"\0").decode(errors="replace").split()) or str(error)
    library = ".".join(map(str, nvjitlink.version()))
    written = made.group(1).decode() if made else "unknown"
    return (
        f"nvJitLink {library} does not compile the kernel's PTX, of version {written}, for "
        f"{architecture.removeprefix('-arch=')} ({said}). It must be as new as NVVM: {packages.nvjitlink()}"
    )
