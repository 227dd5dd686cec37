"""BLAS has one thread while anything of ours runs, and the user's own number again after, whatever overlaps."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace

import numpy as np
import pytest
import threadpoolctl

import mcgrad as mg
from mcgrad.backends import blas_threads
from mcgrad.backends.blas_threads import limit_worker, one_blas_thread
from mcgrad.backends.registry import BACKENDS
from mcgrad.ir.build import apply, einsum, input_, noise
from mcgrad.ir.program import Output, Program


def numbers():
    return [library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]


@pytest.fixture(autouse=True)
def theirs():
    """The user's own number, which is not one on any machine."""
    with one_blas_thread():  # loads every BLAS
        pass
    with threadpoolctl.threadpool_limits(3, "blas"):
        yield numbers()
        assert not blas_threads._open


def in_turn(*steps):
    """Take steps in a thread of their own each, one after the other; each thread stays until all steps are done."""
    with ExitStack() as stack:
        pools = {name: stack.enter_context(ThreadPoolExecutor(1)) for name, _ in steps}
        return [pools[name].submit(step).result(300) for name, step in steps]


def test_the_number_is_not_one_already(theirs):
    assert set(theirs) == {3}


@pytest.mark.parametrize("first_out", ["a", "b"])
def test_limits_that_overlap_in_two_threads(theirs, first_out):
    a, b = one_blas_thread(), one_blas_thread()
    limits = {"a": a, "b": b}
    last_out = "ba"[first_out == "b"]
    leave = [(name, lambda name=name: limits[name].__exit__(None, None, None)) for name in (first_out, last_out)]
    found = in_turn(
        ("a", a.__enter__), ("b", b.__enter__), ("c", numbers), leave[0], ("c", numbers), leave[1], ("c", numbers)
    )
    assert set(found[2]) == set(found[4]) == {1}
    assert found[6] == theirs


def test_runs_that_overlap_in_two_threads(theirs):
    """The first one ends while the second one runs."""
    q = mg.Normal(np.zeros(20), 1.0)
    X = np.random.default_rng(0).standard_normal((30, 20))
    estimator = mg.Estimator(lambda z, *, X: np.sum(np.cos(X @ z)), q, data={"X": X}, backend="numpy", threads=1)
    first_runs, second_runs, first_is_over = (threading.Event() for _ in range(3))
    seen = []

    def first(_):
        first_runs.set()
        assert second_runs.wait(300)

    def second(_):
        assert first_runs.wait(300)
        second_runs.set()
        assert first_is_over.wait(300)
        seen.extend(numbers())

    with ThreadPoolExecutor(2) as pool:
        early, late = (pool.submit(estimator, 100, progress=progress) for progress in (first, second))
        early.result(300)
        first_is_over.set()
        late.result(300)
    assert set(seen) == {1}
    assert numbers() == theirs


def test_limits_in_limits_and_errors(theirs):
    with one_blas_thread():
        with pytest.raises(KeyError), one_blas_thread():
            raise KeyError
        assert set(numbers()) == {1}
    with pytest.raises(KeyError), one_blas_thread():
        raise KeyError
    assert numbers() == theirs


def test_a_number_that_the_user_sets_meanwhile_stays():
    with one_blas_thread():
        threadpoolctl.threadpool_limits(2, "blas")
    assert set(numbers()) == {2}


def test_a_number_that_the_user_sets_meanwhile_does_not_reach_the_next_run():
    with one_blas_thread():
        threadpoolctl.threadpool_limits(2, "blas")
        with one_blas_thread():
            assert set(numbers()) == {1}


def test_a_limit_in_a_thread_that_is_not_the_first_to_set_one(theirs):
    """From threadpoolctl 3.8 on only the thread that controls OpenBLAS can set its number; the fixture's does."""

    def limited():
        with one_blas_thread():
            return numbers()

    found = in_turn(("a", limited), ("a", numbers))
    assert set(found[0]) == {1}
    assert found[1] == theirs


def in_child(work):
    """Return what a function gives in a forked child, as text."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(write, str(work()).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        found = pipe.read()
    os.waitpid(child, 0)
    return found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_that_is_forked_meanwhile(theirs):
    def after():
        with one_blas_thread():
            pass
        return numbers()

    limit = one_blas_thread()
    found = in_turn(
        ("a", limit.__enter__),
        ("b", lambda: in_child(numbers)),
        ("b", lambda: in_child(after)),
        ("a", lambda: in_child(numbers)),
        ("a", lambda: limit.__exit__(None, None, None)),
    )
    assert found[1] == found[2] == str(theirs)  # the thread that holds the limit is not there
    assert found[3] == str([1] * len(theirs))  # it is
    assert numbers() == theirs


class OpenMP(SimpleNamespace):
    """OpenBLAS with OpenMP, where a number is one thread's own."""

    internal_api, threading_layer = "openblas", "openmp"

    def __init__(self):
        super().__init__(local=threading.local())

    @property
    def num_threads(self):
        return getattr(self.local, "number", 3)

    def set_num_threads(self, number):
        self.local.number = number


def test_numbers_that_each_thread_has(monkeypatch):
    library = OpenMP()
    monkeypatch.setattr(blas_threads, "_libraries", lambda: ([], [library]))

    def limited():
        with one_blas_thread():
            return library.num_threads

    def number():
        return library.num_threads

    with one_blas_thread():
        found = in_turn(("a", number), ("a", limited), ("a", number), ("pool", limit_worker), ("pool", number))
        assert library.num_threads == 1
    assert library.num_threads == 3
    assert found == [3, 1, 3, None, 1]


def test_products_that_no_draw_changes_are_computed_with_one_thread():
    """With several threads BLAS adds up in another order."""
    rng = np.random.default_rng(0)
    data = {"A": rng.standard_normal((300, 300)), "B": rng.standard_normal((300, 300))}

    def f(z, *, A, B):
        return np.sum(A @ B * z)

    estimator = mg.Estimator(f, mg.Normal(np.zeros(300), 1.0), data=data, backend="numpy", wrt=())
    seen = []
    for number in (1, 2, 3):
        with threadpoolctl.threadpool_limits(number, "blas"):
            seen.append(estimator(16).value)
    assert len(set(seen)) == 1


def test_rows_in_lanes_leave_blas_alone_unless_matrices_are_multiplied_before_the_draws(theirs):
    w, loc = input_("w", (3, 2)), input_("loc", (2,), by_row=True)
    z = apply("add", loc, noise(0, "normal", (2,)))
    of_each_draw = einsum("ij,j->i", w, z)
    before = apply("add", einsum("ij,j->i", w, loc), noise(1, "normal", (3,)))
    for value, few, ours in ((of_each_draw, 2, False), (of_each_draw, 5000, True), (before, 2, True)):
        kernel = BACKENDS["cpu"].compile(Program((Output("value", value),), "float32"))
        with kernel.limits_of_rows(0, few):
            assert numbers() == ([1] * len(theirs) if ours else theirs)
