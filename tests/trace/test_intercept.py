"""np.array and scipy.special's plain functions under the tracer, however and whenever the user imported them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from types import ModuleType

import numba
import numpy as np
import pytest
import scipy.special
from scipy.special import logsumexp as imported

from mcgrad.ir import build
from mcgrad.ir.interpret import interpret
from mcgrad.trace.trace import trace

Z = build.noise(0, "normal", (3,))
NAMES = ("logsumexp", "softmax", "log_softmax")


@pytest.mark.parametrize("name", NAMES)
def test_scipy_is_left_as_it_was(name: str):
    function = getattr(scipy.special, name)
    code, closure, signature = function.__code__, function.__closure__, function.__defaults__
    trace(lambda z: function(z), (Z,), {})
    with pytest.raises(ZeroDivisionError):
        trace(lambda z: 1 / 0, (Z,), {})
    assert (function.__code__, function.__closure__, function.__defaults__) == (code, closure, signature)


def test_calls_without_a_tracer_are_scipys_own():
    x = np.array([1.0, 2.0, 3.0])
    expected = imported(x, b=[1, 2, 3], return_sign=True)
    seen = []

    def function(z):
        seen.append(imported(x, b=[1, 2, 3], return_sign=True))
        thread = threading.Thread(target=lambda: seen.append(imported(x, b=[1, 2, 3], return_sign=True)))
        thread.start()
        thread.join()
        return imported(z) + imported([1.0, 2.0])

    trace(function, (Z,), {})
    assert seen == [expected] * 4  # in two threads, at two traces


def test_a_trace_inside_a_trace():
    def function(z):
        trace(lambda y: imported(y), (Z,), {})
        return imported(z)

    trace(function, (Z,), {})


def in_a_fresh_process(code: str, **environment: str) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


SETUP = """
import sys
from mcgrad.ir import build
from mcgrad.ir.interpret import interpret
from mcgrad.trace.trace import trace
z = build.noise(0, "normal", (3,))
"""


def test_tracing_does_not_import_scipy():
    in_a_fresh_process(SETUP + "import numpy as np; trace(np.sin, (z,), {}); assert 'scipy' not in sys.modules")


def test_imported_inside_the_function():
    in_a_fresh_process(
        SETUP
        + """
def f(z):
    from scipy.special import logsumexp
    return logsumexp(z)
assert trace(f, (z,), {}).shape == ()
"""
    )


def test_under_the_array_api():
    in_a_fresh_process(
        SETUP
        + """
import numpy as np
from scipy.special import digamma, expit, logsumexp, psi, xlogy
assert type(expit).__name__ == "function"
assert trace(lambda z: expit(z) + logsumexp(z) + xlogy(2.0, z) + digamma(z) + psi(z), (z,), {}).shape == (3,)
assert expit(0.0) == 0.5 and np.isfinite(psi(1.0))
""",
        SCIPY_ARRAY_API="1",
    )


def test_numpy_is_as_it_was_for_all_code_but_the_users():
    before, found = dict(vars(np)), []

    def f(z):
        found.append(np.array([1.0, 2.0]).tolist() == [1.0, 2.0])
        found.append(np.linalg._linalg.asarray is before["asarray"])
        return np.sum(np.array([z[0], z[1], 2.0]))

    trace(f, (Z,), {})
    assert found == [True, True] * 2
    assert type(np) is ModuleType
    assert vars(np) == before


def test_numba_compiles_what_calls_np_array_while_a_function_is_traced():
    def f(z):
        return np.sum(z * numba.njit(lambda x: np.array([x, 2.0, x]) + np.asarray([1.0, x, x]))(3.0))

    result = trace(f, (Z,), {})
    np.testing.assert_allclose(interpret([result], {Z: np.ones((3, 1))}, "float64")[0], [15.0])
