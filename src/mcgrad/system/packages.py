"""The pip commands in error messages about missing or old packages.

On package indices mcgrad has the name `DISTRIBUTION`, as another project has the name of the package. Commands list the
packages of an extra rather than the extra, so that they work in a checkout as well as for an installed package.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

from mcgrad.system.machine import version

DISTRIBUTION = "monte-carlo-gradients"
CUDA = {  # by the major version of CUDA; as in pyproject.toml's extras
    12: ("cupy-cuda12x>=13.4,<15", "numba-cuda[cu12]>=0.30.4"),
    13: ("cupy-cuda13x>=13.6,<15", "numba-cuda[cu13]>=0.30.4"),
}
WITH_CUDA = '"numpy<2.6" "numba<0.69"'  # tested with numba-cuda, which states no upper bounds of its own
FRAMEWORKS = {"torch": ("PyTorch", "torch>=2.6"), "jax": ("JAX", "jax>=0.9")}  # by module; as in pyproject.toml
DASK = "dask[distributed]>=2024.8"
PLOT = "matplotlib>=3.9.2"
NVJITLINK = {12: "nvidia-nvjitlink-cu12", 13: "nvidia-nvjitlink"}
NEWEST = max(CUDA)
ABSENT = "not installed"


def install(*packages: str) -> str:
    """Write the command that installs packages."""
    return " ".join(["pip install", *(f'"{package}"' for package in packages)])


def framework(module: str) -> str:
    """Write the command that installs PyTorch or JAX."""
    return install(FRAMEWORKS[module][1])


def cuda(major: int | None = None) -> str:
    """Write the command that installs the packages of the CUDA backend, for a version of CUDA or for this machine's."""
    return install(*CUDA[min(max(major or stack(), min(CUDA)), NEWEST)])


def cuda_libraries() -> str:
    """Write the command that installs the libraries of CUDA that CuPy calls."""
    return install(f"cupy-cuda{stack()}x[ctk]>=14,<15")


def nvjitlink() -> str:
    """Write the command that installs the newest nvJitLink."""
    return f"pip install --upgrade {NVJITLINK[stack()]}"


def stack() -> int:
    """Return the major version of CUDA that the installed packages are for; where there are none, the driver's."""
    for major in sorted(CUDA, reverse=True):
        if version(f"cupy-cuda{major}x") != ABSENT:
            return major
    bindings = version("cuda-bindings").partition(".")[0]
    if bindings.isdecimal() and int(bindings) in CUDA:
        return int(bindings)
    return min(max(driver() // 1000, min(CUDA)), NEWEST)


@cache
def driver() -> int:
    """Return the version of CUDA that the driver is for, as NVIDIA counts them (12040 is 12.4), or 0 without one."""
    try:
        library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        found = ctypes.c_int(0)
        library.cuDriverGetVersion(ctypes.byref(found))
    except (OSError, AttributeError):
        return 0
    return found.value
