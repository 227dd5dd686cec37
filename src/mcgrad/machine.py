"""The machine that this process runs on."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path


@cache
def available_processors() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def processor() -> str:
    """Name of the processor, as its maker calls it where the system says so."""
    try:
        with Path("/proc/cpuinfo").open() as lines:
            name = next((line for line in lines if line.startswith("model name")), "")
    except OSError:
        name = ""
    return name.partition(":")[2].strip() or platform.processor() or platform.machine()


@cache
def version(package: str) -> str:
    """Version of an installed package, without importing it."""
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
