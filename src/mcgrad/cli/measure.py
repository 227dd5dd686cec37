"""Measure the rates from which backends estimate the time of a run, by running small problems; for ``mcgrad tune``."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from statistics import geometric_mean, mean
from typing import Any, TypeAlias

import numpy as np

from mcgrad.backends.rates import Rated, Rates, input_bytes
from mcgrad.cache.settings import CACHE_VARIABLE
from mcgrad.distributions import Normal
from mcgrad.engine.estimator import Estimator

Arguments: TypeAlias = dict[str, Any]  # of an Estimator

SPAN = 0.1  # seconds of a timed run
LEAST = 1e-9  # seconds
RUNS = 3  # repetitions, of which the fastest counts
ROWS, COLUMNS = 4000, 50  # of the data: enough that copying them to a device shows beside the time of a call
STEPS = 12  # of the long Program
DTYPES = ("float32", "float64")


def measure(backend: Rated) -> Rates:
    """Measure the rates of a backend that is available.

    Speeds are geometric means over a Program of elementary functions and one of products with data. The seconds to
    load are right only in a process that has not used the backend before.

    Parameters
    ----------
    backend : Backend with `rates`

    Returns
    -------
    Rates
    """
    with _no_cache():
        _, first = _compiled(_regression(2), "float64", backend.name)
        rates = backend.rates()
        compiling, speeds = [], {}
        for dtype in DTYPES:
            wave, short = _compiled(_wave(1), dtype, backend.name)
            regression, like_first = _compiled(_regression(ROWS), dtype, backend.name)
            compiling += [short, like_first]
            call = _call(wave)
            speedups = [_speedup(backend, made, call) for made in (wave, regression)]
            speeds[dtype] = getattr(rates, dtype) * geometric_mean(speedups)
        chain, long = _compiled(_wave(STEPS), dtype, backend.name)
        more = len(chain.program.body()) - len(wave.program.body())
        moved = _call(regression) - call - regression.program.work() * 2 / speeds[dtype]
        return replace(
            rates,
            **speeds,
            call=call,
            load=max(first - like_first, 0.0),
            compile=mean(compiling),
            equation=max(long - short, 0.0) / more,
            gigabyte=max(moved, 0.0) / input_bytes(regression.program) * 1e9,
            measured=True,
        )


def _compiled(arguments: Arguments, dtype: str, name: str) -> tuple[Estimator, float]:
    """Return a compiled estimator, and the seconds that compiling took."""
    Estimator(**arguments, dtype=dtype, backend="numpy")(
        2
    )  # imports what tracing and BLAS need, before the clock starts
    start = time.perf_counter()
    Estimator(**arguments, dtype=dtype, backend="numpy")
    traced = time.perf_counter()
    made = Estimator(**arguments, dtype=dtype, backend=name)
    made(2)
    return made, max(time.perf_counter() - traced - (traced - start), 0.0)


def _call(made: Estimator) -> float:
    """Return the seconds of a call with two draws."""
    return min(made(2).seconds for _ in range(5 * RUNS))


def _speedup(backend: Rated, made: Estimator, call: float) -> float:
    """Return the speed of an estimator's draws relative to the estimate of its backend."""
    n = 1000
    while (seconds := made(n).seconds - call) < SPAN / 2:
        n = int(n * min(max(SPAN / max(seconds, LEAST), 2.0), 16.0))
    seconds = min([seconds, *(made(n).seconds - call for _ in range(RUNS - 1))])
    return backend.cost(made.program, n, made.threads).draws / max(seconds, LEAST)


def _wave(steps: int) -> Arguments:
    def f(z: Any) -> Any:
        for _ in range(steps):
            z = np.sin(z) * np.exp(-(z**2) / 10)
        return z

    return {"f": f, "q": Normal(0.3, 1.2)}


def _regression(rows: int) -> Arguments:
    def f(z: Any, *, X: Any, y: Any) -> Any:
        logits = X @ z
        return np.sum(y * logits - np.logaddexp(0, logits))

    rng = np.random.default_rng(0)
    q = Normal(np.zeros(COLUMNS), np.ones(COLUMNS))
    return {"f": f, "q": q, "data": {"X": rng.standard_normal((rows, COLUMNS)), "y": rng.random(rows)}}


@contextmanager
def _no_cache() -> Iterator[None]:
    """Use an empty cache folder in the context, so that everything compiles."""
    before = os.environ.get(CACHE_VARIABLE)
    with tempfile.TemporaryDirectory(prefix="mcgrad-tune-") as folder:
        os.environ[CACHE_VARIABLE] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ[CACHE_VARIABLE]
            else:
                os.environ[CACHE_VARIABLE] = before
