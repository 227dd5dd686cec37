"""``mcgrad info``: versions, processor, threads, BLAS, cache and backends, on which a run depends."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator

from mcgrad import __version__
from mcgrad.backends import rates, registry
from mcgrad.backends.base import Backend
from mcgrad.backends.cuda.backend import describe
from mcgrad.backends.rates import Rated
from mcgrad.cache import limit
from mcgrad.cache.folder import obstacle
from mcgrad.cache.settings import CACHE_VARIABLE, cache_folder
from mcgrad.engine.threads import THREADS_VARIABLE, thread_count, threads_given
from mcgrad.system import packages, workers
from mcgrad.system.cgroup import quota
from mcgrad.system.machine import allowed_processors, available_processors, processor, version

REQUIRED = ("numpy", "numba", "llvmlite", "scipy")
OPTIONAL = ("numba-cuda", "cupy-cuda12x", "cupy-cuda13x")
FEATURES = ("sse4.2", "avx", "avx2", "fma", "avx512f", "avx512dq", "avx512vl", "neon", "sve")


def info() -> dict[str, str]:
    """Return what a run depends on, by name, as text.

    Notes
    -----
    Imports Numba, loads its BLAS, and checks whether each backend can run.
    """
    return {
        **dict(_versions()),
        "processor": processor(),
        "features": _features(),
        "processors": _processors(),
        "threads": _threads(),
        "BLAS": _blas(),
        "cache": _cache(),
        **{f"backend {name}": _backend(backend) for name, backend in registry.backends().items()},
        **describe(),
        "backend auto": "the one that takes least by these rates",
        "rates": _rates(),
    }


def _processors() -> str:
    share, allowed, there = quota(), allowed_processors(), os.cpu_count()
    limits = [f"affinity {allowed}"] if allowed != there else []
    limits += [f"control group's quota {share:g}"] if share is not None else []
    return f"{available_processors()} usable of {there}" + (f" ({', '.join(limits)})" if limits else "")


def _threads() -> str:
    share = workers.share()
    why = (
        f"${THREADS_VARIABLE}" if threads_given() else f"the share of {share.why}" if share else "all usable processors"
    )
    return f"{thread_count(None)} ({why})"


def _backend(backend: Backend) -> str:
    missing = backend.unavailable()
    if missing is not None:
        return f"not available: {missing}"
    return f"available; {backend.rates()}" if isinstance(backend, Rated) else "available; rates of its own"


def _rates() -> str:
    file = rates.rates_file()
    how = "`mcgrad tune` measures them again" if rates.is_measured() else "`mcgrad tune` measures this machine's"
    return f"{file if rates.is_measured() else 'defaults'} ({how})"


def _versions() -> Iterator[tuple[str, str]]:
    system = f"{platform.python_implementation()}, {platform.system()}, {platform.machine()}"
    yield "Python", f"{platform.python_version()} ({system})"
    yield "mcgrad", __version__
    for name in (*REQUIRED, *OPTIONAL):
        found = version(name)
        if found != packages.ABSENT or name in REQUIRED:
            yield name, found


def _features() -> str:
    try:
        from llvmlite import binding

        host = binding.get_host_cpu_features()
        found = [name for name in FEATURES if host.get(name)]
        return f"{' '.join(found) or 'none of interest'} ({binding.get_host_cpu_name()})"
    except (ImportError, RuntimeError) as error:
        return f"unknown ({error})"


def _blas() -> str:
    try:
        import scipy.linalg.cython_blas  # noqa: F401 - the library must be loaded to be found
        import threadpoolctl
    except ImportError as error:
        return f"none for compiled code ({error})"
    found = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    parts = {f"{pool['internal_api']} {pool['version']} ({pool['num_threads']} threads)" for pool in found}
    return ", ".join(sorted(parts)) or "unknown"


def _cache() -> str:
    path, reason = cache_folder(), obstacle()
    if reason is not None:
        return f"not used: {reason}"
    found = limit.entries(path)
    size = sum(entry.size for entry in found)
    how = f"${CACHE_VARIABLE}" if os.environ.get(CACHE_VARIABLE) else f"${CACHE_VARIABLE} sets another"
    return f"{path} ({len(found)} kernels, {size / 1e6:.1f} MB; {how})"
