"""A run that starts in the middle of another ends, and so does the other; so do runs without threads to be had."""

import itertools
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mcgrad.backends.base import Partial
from mcgrad.backends.chunks import split
from mcgrad.engine import threads as running
from mcgrad.engine.run import run
from mcgrad.moments import Moments
from tests.estimators import estimator

CHUNKS = split(10**6, 0, 512, 2000.0)  # 64 and the first
WORKERS = 2


class Bound:
    """A bound kernel that does something before each chunk, and gives the number of draws."""

    def __init__(self, before=lambda: None):
        self.before = before

    def shift(self, *chunk):
        return np.empty(0), self.partial(np.empty(0), *chunk)

    def partial(self, shift, seed, start, stop, omit):
        self.before()
        return Partial(Moments(stop - start, np.array([float(start)]), np.array([1.0])))


def bits(partial):
    return partial.moments.count, partial.moments.mean, partial.moments.norm


RIGHT = bits(run(Bound(), 0, CHUNKS, lambda: 1, False))


def within(seconds, work):
    """Return what some work gives; fail where it takes longer, as it does where threads wait for each other."""
    found = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert found, "it hangs"
    return found[0]


def test_runs_from_inside_all_threads_of_the_pool_at_once():
    """Each of the pool's threads waits for the other to be in an inner run, too."""
    check_inner_runs(lambda: run(Bound(), 0, CHUNKS, lambda: WORKERS, False))


def check_inner_runs(start):
    """Start an inner run in each of the pool's threads, when all of them are there."""
    began, waited, lock = threading.Event(), threading.local(), threading.Lock()
    both = threading.Barrier(WORKERS, began.set)
    seen, main, chunks = [], [], itertools.count()

    def inner():
        if threading.get_ident() in main:
            if next(chunks):  # after the first one, rather than do the work of threads that have not woken up yet
                began.wait(300)
            return
        if hasattr(waited, "before"):
            return
        waited.before = True
        both.wait(300)
        part = start()
        with lock:
            seen.append(bits(part))

    def outer():
        main.append(threading.get_ident())
        return bits(run(Bound(inner), 0, CHUNKS, lambda: WORKERS, False))

    running.pool.cache_clear()  # threads of its own
    assert within(300, outer) == RIGHT
    assert seen == [RIGHT] * WORKERS


def test_runs_from_inside_by_way_of_other_threads():
    """The inner runs are in no thread of the pool, but all of the pool's threads wait for them."""
    with ThreadPoolExecutor(WORKERS) as others:
        check_inner_runs(lambda: others.submit(run, Bound(), 0, CHUNKS, lambda: WORKERS, False).result(300))


def test_runs_inside_runs_inside_runs():
    depth = threading.local()

    def inner():
        level = getattr(depth, "level", 0)
        if level < 3 and next(tries) < 60:
            depth.level = level + 1
            assert bits(run(Bound(inner), 0, CHUNKS, lambda: WORKERS, False)) == RIGHT
            depth.level = level

    tries = itertools.count()
    assert within(300, lambda: bits(run(Bound(inner), 0, CHUNKS, lambda: WORKERS, False))) == RIGHT


def test_a_run_from_a_progress_function():
    run_of_theirs = estimator("scalar", "float32", "cpu", WORKERS)
    n, seen = 2_000_000, []
    right = run_of_theirs(n).value
    found = run_of_theirs(n, progress=lambda done: seen.append(run_of_theirs(n).value))
    assert found.value == right
    assert set(seen) == {right}


def test_an_estimator_calls_itself_from_its_integrand():
    """Through Numba's object mode, in threads of the pool that are in the middle of a block of draws."""
    source = """
import numba, threading
import mcgrad as mg

MOST = 0
seen, local, lock = [], threading.local(), threading.Lock()

def estimate():
    with lock:
        if len(seen) >= MOST or hasattr(local, "inside"):
            return 0.0
        place = len(seen)
        seen.append(None)
    local.inside = True
    seen[place] = estimator(1_000_000, 1).value
    del local.inside
    return 0.0

@numba.njit
def value(z):
    if z[0] > 4.0:
        with numba.objmode(extra="float64"):
            extra = estimate()
        return z[0] + extra
    return z[0]

integrand = mg.Integrand(value=value, value_and_grad=value)
estimator = mg.Estimator(integrand, mg.Normal(0.3, 1.2), backend="cpu", threads=2, wrt=())
right, inner, chunks = estimator(3_000_000).value, estimator(1_000_000, 1).value, []
MOST = 6
found = estimator(3_000_000, progress=chunks.append)
assert len(chunks) > 4
assert seen == [inner] * MOST, seen
assert found.value == right, found
print("done")
"""
    found = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=300)
    assert found.stdout == "done\n", found.stderr


class Refusing(ThreadPoolExecutor):
    """As where no thread can be started, or the process ends."""

    def __init__(self, after):
        super().__init__(WORKERS)
        self.left = after

    def submit(self, *args, **kwargs):
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")
        return super().submit(*args, **kwargs)


@pytest.mark.parametrize("after", [0, 1, 7])
def test_a_run_without_threads(after, monkeypatch):
    executor = Refusing(after)
    monkeypatch.setattr(running, "pool", lambda threads: executor)
    assert bits(run(Bound(), 0, CHUNKS, lambda: WORKERS, False)) == RIGHT
    executor.shutdown()
