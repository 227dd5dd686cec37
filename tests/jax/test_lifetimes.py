"""Calls live as long as the functions that JAX compiled of them, and the handler is safe to call from any thread."""

import gc
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed")

import jax.numpy as jnp  # noqa: E402

import mcgrad as mg  # noqa: E402
import mcgrad.jax  # noqa: E402
from mcgrad.jax import ffi, host_call, operands, primitive, structures  # noqa: E402
from tests.jax.problems import phi, value, without_jax  # noqa: E402


def forget():
    """Empty the caches of what was used last."""
    for recent in (host_call._calls, operands._statics, primitive._alone):
        recent._last.clear()
    gc.collect()


def test_a_compiled_function_keeps_its_call_and_nothing_else_does():
    compiled = jax.jit(
        lambda loc: mcgrad.jax.expectation(lambda z: z + 123.0, mg.Normal, 100, 0, loc=loc, backend="numpy")
    )
    before = set(host_call._calls.keys())
    first = compiled(jnp.float32(1.0))
    (number,) = set(host_call._calls.keys()) - before
    call = weakref.ref(host_call.call_of(number))
    jax.clear_caches()
    first = compiled(jnp.float32(1.0))
    forget()
    assert compiled(jnp.float32(1.0)) == first
    del compiled
    jax.clear_caches()
    forget()
    assert call() is None
    with pytest.raises(mg.McgradError, match="no expectation has the number"):
        host_call.call_of(number)


def test_calls_outside_of_compiled_functions_keep_the_last_alone():
    before, calls = set(host_call._calls.keys()), []
    for factor in range(3):

        def f(z, factor=factor):
            return factor * z + 321.0

        mcgrad.jax.expectation(f, mg.Normal, 100, 0, loc=1.0, backend="numpy")
        (number,) = set(host_call._calls.keys()) - before
        calls.append(weakref.ref(host_call.call_of(number)))
        before.add(number)
    forget()
    assert [call() for call in calls] == [None] * 3
    with jax.disable_jit():
        assert mcgrad.jax.expectation(f, mg.Normal, 100, 0, loc=1.0, backend="numpy").shape == ()


def test_equal_computations_have_one_number_in_any_process():
    code = """
import mcgrad as mg, mcgrad.jax, numpy as np
from mcgrad.jax import host_call
for _ in range(2):  # two functions that do the same
    mcgrad.jax.expectation(lambda z: np.sin(z), mg.Normal, 100, 0, loc=1.0, backend="numpy")
print(*host_call._calls.keys())
"""
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    (first,), (second,) = (run.stdout.split() for run in runs)
    assert first == second


def test_calls_from_several_threads():
    both = jax.jit(jax.value_and_grad(value))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda seed: both(phi(), seed)[0], range(40)))
    np.testing.assert_allclose(found, [without_jax(seed).value for seed in range(40)], rtol=2e-6)


def test_operands_cannot_be_written():
    memory = np.ones(3)
    array = ffi._readable(memory.ctypes.data, (3,), memory.dtype)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 2.0
    assert np.shares_memory(array, memory)


def test_structures_are_those_of_the_header():
    assert ffi._version()[0] == structures.MAJOR
    assert ffi.available("cpu")


def test_another_version_of_the_interface_is_left_alone(monkeypatch):
    monkeypatch.setattr(ffi, "_version", lambda: (structures.MAJOR + 1, 0))
    ffi.available.cache_clear()
    try:
        assert not ffi.available("cpu")
        text = jax.jit(lambda p: value(p, 9)).lower(phi()).as_text()
        assert ffi.TARGET not in text
    finally:
        ffi.available.cache_clear()


def test_importing_loads_no_jax():
    code = "import sys, mcgrad.jax; print('jax' in sys.modules, 'numba' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]
