"""Processors and installed packages of this machine, for the number of threads, cache keys and `mcgrad info`."""

from __future__ import annotations

import math
import os
import platform
from functools import cache
from itertools import takewhile
from pathlib import Path

from mcgrad.system.cgroup import quota


def available_processors() -> int:
    """Return how many processors this process may use now, by its affinity and by its control groups' quota."""
    share = quota()
    return allowed_processors() if share is None else max(min(allowed_processors(), math.ceil(share)), 1)


def allowed_processors() -> int:
    """Return how many processors this process may run on: its affinity, and from Python 3.13 on $PYTHON_CPU_COUNT."""
    if hasattr(os, "process_cpu_count"):
        return os.process_cpu_count() or 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def processor() -> str:
    """Return the name of the processor, that of its maker where the operating system has it."""
    return _described().get("model name") or platform.processor() or platform.machine()


@cache
def processor_features() -> str:
    """Return the instruction sets of the processor, as the operating system lists them, or an empty string."""
    found = _described()
    return found.get("flags") or found.get("Features") or ""


@cache
def _described() -> dict[str, str]:
    """Return the entries of /proc/cpuinfo for the first processor, by name; none on other systems than Linux."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
            pairs = [line.partition(":")[::2] for line in takewhile(str.strip, lines)]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, value in pairs}


@cache
def version(package: str) -> str:
    """Return the version of an installed package, without importing it."""
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
