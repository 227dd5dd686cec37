"""Turn the emitted source of a GPU kernel into PTX, by way of the cache folder; no device is needed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mcgrad import compile


@dataclass(frozen=True, slots=True)
class Ptx:
    """A kernel in PTX: its text, and the name of its entry."""

    text: str
    entry: str


@cache
def versions() -> str:
    """What PTX depends on besides sources: the versions of numba-cuda and of the compiler behind it."""
    from importlib import metadata

    from numba.cuda.cudadrv.nvvm import NVVM

    return f"{metadata.version('numba-cuda')} {NVVM().get_version()}"


def is_cached(source: str, cc: tuple[int, int]) -> bool:
    """Whether a kernel was compiled before, in this process or an earlier one."""
    raise NotImplementedError


def ptx(source: str, name: str, cc: tuple[int, int], natives: list[Any]) -> Ptx:
    """Compile a kernel, or find it in the cache folder.

    Parameters
    ----------
    source : str
        Source of a module with the kernel and its `SIGNATURE`.
    name : str
        The kernel.
    cc : tuple of int
        Compute capability of the device it will run on.
    natives : list
        The user's own functions; with any of these nothing is kept on disk.
    """
    module = compile.module(source, natives)
    return translate(getattr(module, name), module.SIGNATURE, cc)


def translate(function: Any, signature: Any, cc: tuple[int, int]) -> Ptx:
    """Compile a Python function of numbers and pointers as a kernel."""
    from numba import cuda

    text, _ = cuda.compile(function, signature, device=False, abi="numba", cc=cc, output="ptx")
    text = text if isinstance(text, str) else text.decode()
    entry = re.search(r"\.entry\s+(\w+)", text)
    assert entry is not None
    return Ptx(text, entry.group(1))
