"""Chunks are cut where they always were, and take no memory, however many there are."""

import itertools
import tracemalloc
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import mcgrad as mg
from mcgrad.backends import registry
from mcgrad.backends.base import Cost, Partial
from mcgrad.backends.chunks import CORE, Chunks, Cut, after, ends_at, split, whole
from mcgrad.backends.numpy import NumpyBackend, NumpyKernel
from mcgrad.engine.call import RunState
from mcgrad.engine.run import run
from mcgrad.moments import Moments
from mcgrad.reals import MOST_DRAWS
from mcgrad.tasks.fold import total
from tests.estimators import estimator

FAR = 10**14  # draws, of which a list of the chunks takes gigabytes


def listed(n, first, block, work, cut=CORE, most=None):
    """The same cut, as a list: by its definition."""
    work = max(work, 1.0)
    step = max(int(max(min(cut.most / work, n / cut.chunks), cut.least / work) // block), 1) * block
    ends = {(first // block + 1) * block, *range((first // step + 1) * step, first + n, step)}
    edges = sorted({first, first + n, *(end for end in ends if end < first + n)})
    if most is None:
        return list(itertools.pairwise(edges))
    found = []
    for start, stop in itertools.pairwise(edges):
        found += itertools.pairwise([start, *range(start // block * block + most, stop, most), stop])
    return found


BLOCKS = st.sampled_from([1, 2, 7, 8, 256, 512, 4096, 1 << 14])
FIRSTS = st.integers(0, 10**5) | st.integers(0, MOST_DRAWS - 10**9) | st.integers(0, 10**12).map(lambda i: 512 * i)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.integers(2, 10**9), FIRSTS, BLOCKS, st.floats(0.0, 1e7), st.none() | st.integers(1, 300), st.data())
def test_chunks_are_those_of_the_definition(n, first, block, work, longest, data):
    cut = Cut(most=max(4e8, n * work / 1000), least=2e7)
    n = min(n, 3000 * block * (longest or 1))
    most = longest and longest * block
    right, found = listed(n, first, block, work, cut, most), split(n, first, block, work, cut, most)
    assert list(found) == right
    start, stop = data.draw(st.sampled_from(right))
    assert list(found.after(start)) == right[right.index((start, stop)) :]
    assert list(found.scaled(7)) == [(7 * start, 7 * stop) for start, stop in right]
    assert found.scaled(7).ends_at(7 * stop)
    assert not found.scaled(7).ends_at(7 * stop - 1)
    for draw in (first, first + n, first + n + 1, stop - 1, stop, stop + 1):
        assert found.ends_at(draw) == ends_at(right, draw)
    assert not found.ends_at(first)


def test_one_chunk():
    assert list(whole(10, 3)) == [(3, 13)]


def test_a_list_will_do():
    chunks = listed(10**6, 77, 512, 80.0)
    assert list(after(chunks, chunks[3][0])) == chunks[3:]
    assert ends_at(chunks, chunks[3][1])
    assert not ends_at(chunks, chunks[3][1] + 1)


class StopError(Exception):
    """Raised after some chunks of many."""


class Counting:
    """A bound kernel whose chunks cost nothing: each gives its number of draws, until it has had enough."""

    def __init__(self, enough):
        self.left = itertools.count(enough, -1)

    def shift(self, *chunk):
        return np.empty(0), self.partial(np.empty(0), *chunk)

    def partial(self, shift, seed, start, stop, omit):
        if not next(self.left):
            raise StopError
        return Partial(Moments(stop - start, np.array([0.5]), np.array([1.0])))


def peak(work):
    """Return the largest memory in bytes that some work takes, beyond what there is."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("n", [FAR, MOST_DRAWS])
def test_a_run_of_very_many_chunks_takes_little_memory(workers, n):
    chunks = split(n, 0, 512, 80.0)

    def stopped():
        with pytest.raises(StopError):
            run(Counting(200), 0, chunks, lambda: workers, False)

    stopped()  # starts the threads
    assert peak(stopped) < 1e6


def test_a_run_goes_on_in_the_middle_of_very_many_chunks_at_once():
    """What comes before is neither listed nor gone through."""
    chunks = split(FAR, 0, 512, 80.0)
    start, stop = next(chunks.after(FAR // 2 // chunks.step * chunks.step))
    shift, half = Counting(9).shift(0, 0, start, False)
    state, seen = RunState(start, shift, (half,), 0.0, "counting"), []

    def watch(draw, shift, parts):
        seen.append((draw, total(parts).moments.count))
        raise StopError

    with pytest.raises(StopError):
        run(Counting(9), 0, chunks, lambda: 1, False, watch, state)
    assert seen == [(stop, stop)]


class Listing(NumpyBackend):
    """A user's backend, whose chunks are a list or come one by one."""

    name = "listing"

    def __init__(self, made):
        self.made = made

    def cost(self, program, draws, threads):
        return Cost(0.0, 0.0, 0.0)

    def compile(self, program):
        right = NumpyKernel(program)
        shared = {name: getattr(right, name) for name in ("block", "workers", "limits", "source", "bind")}
        return SimpleNamespace(**shared, chunks=lambda first, n: self.made(right.chunks(first, n)))


@pytest.mark.parametrize("made", [list, iter])
def test_a_backend_whose_chunks_are_listed_or_come_one_by_one(made, monkeypatch):
    monkeypatch.setitem(registry.BACKENDS, "listing", Listing(made))
    ours, theirs = (mg.Estimator(np.sin, mg.Normal(0.3, 1.2), backend=name, threads=2) for name in ("numpy", "listing"))
    seen, n = [], 15 * 10**5
    right = ours.run(n, 3, watch=seen.append)
    assert theirs(n, 3).grad == right.grad
    assert len(seen) > 3
    assert theirs.run(n, 3, resume=seen[len(seen) // 2]).grad == right.grad
    with pytest.raises(mg.ParameterError, match="resume"):
        theirs.run(n, 3, resume=replace(seen[0], stop=seen[0].stop + 1))


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
def test_our_backends_make_them_one_by_one(backend):
    run_of_ours = estimator("scalar", "float32", backend)
    assert isinstance(run_of_ours._kernel.chunks(0, FAR), Chunks)
    state = RunState(FAR // 3, np.zeros(0), (Partial(Moments.of(np.zeros((1, 0)))),), 0.0, backend)
    assert peak(lambda: run_of_ours.resumes(state, FAR)) < 1e5
