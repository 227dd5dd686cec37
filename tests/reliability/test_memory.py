"""What nothing holds is let go: compiled code, Programs, source lines; and what is the same is compiled once."""

import gc
import linecache
import sys
import threading
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest

import mcgrad as mg
from mcgrad.system.recent import Recent
from mcgrad.toolchain import compile

Q = mg.Normal(0.3, 1.2)


@numba.njit
def square(z):
    return z[0] ** 2


@numba.njit
def square_and_grad(z, grad):
    grad[0] = 2 * z[0]
    return z[0] ** 2


@pytest.fixture
def two(monkeypatch):
    """Keep two functions that nothing holds."""
    monkeypatch.setattr(compile, "_loaded", Recent(2))


@pytest.fixture
def compiled(two, monkeypatch):
    """Weak references to what was compiled or loaded."""
    functions, original = [], compile._compiled

    def counted(*args):
        function = original(*args)
        functions.append(weakref.ref(function))
        return function

    monkeypatch.setattr(compile, "_compiled", counted)
    return functions


def scaled(c):
    return lambda z: np.sin(c * z)


def alive(references):
    gc.collect()
    return [reference() is not None for reference in references]


def sources():
    return sum(str(name).startswith("<mcgrad-") for name in linecache.cache)


def modules():
    return sum(name.startswith("mcgrad_") for name in sys.modules)


def test_compiled_functions_stay_as_long_as_an_estimator_and_the_last_few_longer(compiled):
    before = sources(), modules()
    kept = mg.Estimator(scaled(1.5), Q, backend="cpu")
    first = kept(100, 1)
    for c in (2.5, 3.5, 4.5):
        mg.estimate(scaled(c), Q, 100, backend="cpu")
    assert alive(compiled) == [True, False, True, True]
    assert (sources(), modules()) == (before[0] + 3, before[1])
    again = mg.Estimator(scaled(1.5), Q, backend="cpu")
    assert len(compiled) == 4
    assert again(100, 1).value == kept(100, 1).value == first.value


def test_a_function_that_was_let_go_comes_back_from_the_cache_with_the_same_bits(compiled):
    values = [mg.estimate(scaled(c), Q, 100, backend="cpu").value for c in (1.5, 2.5, 3.5)]
    assert alive(compiled) == [False, True, True]
    assert mg.estimate(scaled(1.5), Q, 100, backend="cpu").value == values[0]
    assert len(compiled) == 4
    (back,) = compiled[-1]().stats.cache_hits.values()
    assert back == 1


def test_one_integrand_is_compiled_once_and_let_go_with_the_last_few(compiled):
    value, gradient = (numba.njit(function.py_func) for function in (square, square_and_grad))
    for seed in range(3):  # another Integrand at each call, of the same functions
        mg.estimate(mg.Integrand(value=value, value_and_grad=gradient), Q, 100, seed=seed, backend="cpu")
    assert len(compiled) == 1
    for c in (2.5, 3.5):
        mg.estimate(scaled(c), Q, 100, backend="cpu")
    assert alive(compiled) == [False, True, True]


def test_threads_that_use_let_go_and_load_again(compiled):
    problems = [scaled(c) for c in (1.5, 2.5, 3.5)]

    def run(f):
        return mg.estimate(f, Q, 2000, seed=1, backend="cpu", threads=1).value

    right = [run(f) for f in problems]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: run(problems[i % 3]) == right[i % 3] and gc.collect() >= 0, range(24)))
    assert found == [True] * 24
    assert len(compiled) > 3


def test_what_is_compiled_is_found_while_another_thread_compiles(monkeypatch):
    compiled, compiling, leave = compile._compiled, threading.Event(), threading.Event()
    right = mg.estimate(scaled(1.5), Q, 100, backend="cpu").value

    def slowly(*args):
        compiling.set()
        assert leave.wait(300)
        return compiled(*args)

    monkeypatch.setattr(compile, "_compiled", slowly)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(mg.estimate, scaled(9.5), Q, 100, backend="cpu")
        assert compiling.wait(300)
        try:
            assert mg.estimate(scaled(1.5), Q, 100, backend="cpu").value == right
            assert not other.done()
        finally:
            leave.set()
        assert other.result().n == 100


def test_a_function_of_the_same_name_that_was_defined_anew_is_another(compiled):
    def define(factor):
        @numba.njit
        def value(z):
            return factor * z[0] ** 2

        return mg.Integrand(value=value, value_and_grad=square_and_grad)

    one, two = (mg.estimate(define(factor), Q, 1000, wrt=(), backend="cpu").value for factor in (1.0, 2.0))
    assert two == pytest.approx(2 * one)
    assert len(compiled) == 2


def test_estimates_leave_nothing_behind():
    """All kinds of objects of ours, counted before and after."""

    def run():
        f, given = (lambda z, *, a: np.sin(a * z)), {"params": {"a": 0.5}, "backend": "numpy"}
        for method in ("pathwise", "score+mean", "score+leave_one_out", "difference", "auto"):
            mg.estimate(f, Q, 64, method={"loc": method} if "+" in method else method, **given)
        mg.estimate(mg.elbo(lambda z: -(z**2), Q), n=64, backend="numpy")
        mg.verify(f, Q, 64, params={"a": 0.5}, backends=["numpy"])
        mg.compare(f, Q, 64, methods=["pathwise", "score"], **given)

    def count():
        gc.collect()
        kinds = (type(thing) for thing in gc.get_objects())
        return Counter(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds if "mcgrad" in str(kind.__module__))

    run()
    before = count()
    run()
    run()
    assert count() - before == Counter()


def test_recent():
    class Thing:
        pass

    recent, things = Recent(2), [Thing() for _ in range(4)]
    for i, thing in enumerate(things):
        recent.put(i, thing)
    assert [recent.find(i) is thing for i, thing in enumerate(things)] == [True] * 4  # all are held here
    assert recent.find(2) is things[2]  # so it is used after 3
    del things, thing
    gc.collect()
    assert sorted(recent.keys()) == [2, 3]
    recent.put(4, Thing())
    assert sorted(recent.keys()) == [2, 4]
    assert recent.get(3) is None
    recent.clear()
    assert recent.values() == []
