"""Turn the emitted source of a GPU kernel into machine code, by way of the cache folder; no device is needed.

Numba's CUDA target and NVVM make PTX of it, nvJitLink makes machine code of that: so no driver has to understand PTX of
a newer version than its own, and nothing is left to compile when a kernel is loaded. Both are one entry of the cache.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mcgrad.cache import entry, folder
from mcgrad.cache.key import key
from mcgrad.errors import BackendError
from mcgrad.system import packages
from mcgrad.system.locks import Lock
from mcgrad.system.machine import version
from mcgrad.system.recent import Recent
from mcgrad.toolchain import compile

COMPILERS = ("numba-cuda", "nvidia-cuda-nvcc-cu12", "nvidia-nvvm", "nvidia-nvjitlink-cu12", "nvidia-nvjitlink")
MACHINE_CODE = b"\x7fELF"
HOMES = ("CUDA_HOME", "CUDA_PATH")  # where a compiler is found that pip did not install

RECENT = 64  # kernels that are kept in memory though no device has them loaded

_lock = Lock()


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Ptx:
    """A kernel in PTX: its text, and the name of its entry; and what to load: machine code, or the text itself."""

    text: str
    entry: str
    image: bytes


_known: Recent[str, Ptx] = Recent(RECENT)


def versions() -> str:
    """What machine code depends on besides sources: the versions of numba-cuda and of NVIDIA's compilers."""
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
    return _kept(_name(function.__qualname__, cc), cc, lambda: translate(function, signature, cc))


def translate(function: Any, signature: Any, cc: tuple[int, int], launch: tuple[int, int] | None = None) -> Ptx:
    """Compile a Python function of numbers and pointers as a kernel.

    `launch` holds the threads of a block, and how many blocks should find room on a multiprocessor at once.

    Raises
    ------
    BackendError
        The installed numba-cuda does not work, or nvJitLink does not take what NVVM makes: with the remedy.
    """
    try:
        from mcgrad.kernels.target import cuda

        target: Any = cuda
        options = {"device": False, "abi": "numba", "cc": cc, "output": "ptx", "launch_bounds": launch}
        text, _ = target.compile(function, signature, **options)
    except (AttributeError, ImportError) as error:  # of its modules, with a NumPy or a Numba that it was not made for
        raise BackendError(_incompatible(error)) from error
    except RuntimeError as error:
        if type(error).__name__ != "DynamicLibNotFoundError":
            raise
        raise BackendError(f"numba-cuda finds no compiler of NVIDIA's ({error}): {packages.cuda()}") from error
    return _linked(text if isinstance(text, str) else text.decode(), cc)


def _incompatible(error: Exception) -> str:
    """Say that numba-cuda does not work with what else is installed."""
    found = ", ".join(f"{name} {version(name)}" for name in ("numba-cuda", "numpy", "numba", "cuda-bindings"))
    remedy = f"{packages.cuda()} {packages.WITH_CUDA}"
    return f"numba-cuda does not work with the packages here ({error}; {found}). These work together: {remedy}"


def _kept(name: str, cc: tuple[int, int], make: Callable[[], Ptx]) -> Ptx:
    with _lock:
        return _known.find(name) or _known.put(name, _find(name, cc) or _keep(name, make()))


def _find(name: str, cc: tuple[int, int]) -> Ptx | None:
    """Read an entry: the text, and after a zero byte machine code, if there was any."""
    content = entry.find(name)
    if content is None:
        return None
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
    """Name an entry by what a kernel's machine code depends on, and the device."""
    return entry.file_name(key(source, versions()), f"sm_{cc[0]}{cc[1]}")


def _entry(text: str) -> str | None:
    found = re.search(r"\.entry\s+(\w+)", text)
    return found.group(1) if found else None


def _linked(text: str, cc: tuple[int, int]) -> Ptx:
    """Compile PTX to machine code; where nvJitLink is missing the driver will, when it loads the kernel."""
    entry = _entry(text)
    assert entry is not None
    image = _link(text.encode(), f"-arch=sm_{cc[0]}{cc[1]}")
    return Ptx(text, entry, text.encode() if image is None else image)


def _link(text: bytes, architecture: str) -> bytes | None:
    """Return machine code; None where nvJitLink, or what it is called by, is missing."""
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
    """Say what nvJitLink does not take, in its own words: as a rule it is older than what wrote the PTX."""
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
