"""Running over threads: progress, interrupts, forks, and the number of threads."""

import itertools
import multiprocessing
import os

import numpy as np
import pytest
from threadpoolctl import threadpool_info

import mcgrad as mg
from mcgrad.backends.chunks import split
from mcgrad.engine.threads import THREADS_VARIABLE, thread_count


def wave(z):
    return np.sin(z) * np.exp(-(z**2) / 10)


@pytest.fixture(scope="module")
def estimator():
    return mg.Estimator(wave, mg.Normal(0.3, 1.2), dtype="float32", backend="cpu", threads=2)


def test_progress_counts_up_to_all_draws(estimator):
    seen = []
    estimator(20_000_001, progress=seen.append)
    assert len(seen) > 4
    assert seen == sorted(seen)
    assert seen[-1] == 20_000_001


def test_an_interrupt_leaves_an_estimator_that_works(estimator):
    before = estimator(20_000_000)

    def interrupt(done):
        if done > 5_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        estimator(20_000_000, progress=interrupt)
    assert estimator(20_000_000).grad == before.grad


@pytest.mark.parametrize(("n", "first"), [(2, 0), (7, 3), (10**6, 12345), (10**9, 2**40 + 1)])
def test_chunks_cover_the_range_once_and_start_at_blocks(n, first):
    chunks = list(split(n, first, block=512, work=80.0))
    assert chunks[0][0] == first
    assert chunks[-1][1] == first + n
    assert all(stop == start for (_, stop), (start, _) in itertools.pairwise(chunks))
    assert all(start % 512 == 0 for start, _ in chunks[1:])


def test_threads_come_from_the_argument_then_the_environment(monkeypatch):
    monkeypatch.setenv(THREADS_VARIABLE, "3")
    assert thread_count(None) == 3
    assert thread_count(5) == 5
    monkeypatch.setenv(THREADS_VARIABLE, "many")
    with pytest.raises(mg.ParameterError, match=THREADS_VARIABLE):
        thread_count(None)
    monkeypatch.delenv(THREADS_VARIABLE)
    assert thread_count(None) >= 1


def test_blas_has_one_thread_while_ours_run_and_its_own_again_after():
    rng = np.random.default_rng(0)
    estimator = mg.Estimator(
        lambda z, *, X: np.sum(np.cos(X @ z)), mg.Normal(np.zeros(20), 1.0), data={"X": rng.standard_normal((30, 20))}
    )

    def counts():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    before, during = counts(), []
    estimator(5000, progress=lambda done: during.extend(counts()))
    assert set(during) == {1}
    assert counts() == before


def _in_child(estimator, queue):
    queue.put(estimator(5_000_000).value)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own(estimator):
    value = estimator(5_000_000).value
    fork = multiprocessing.get_context("fork")
    queue = fork.Queue()
    child = fork.Process(target=_in_child, args=(estimator, queue))
    child.start()
    assert queue.get(timeout=300) == value
    child.join()
