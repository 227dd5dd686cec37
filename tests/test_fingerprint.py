"""A problem has the same fingerprint in another process, and another one as soon as anything in it is another."""

import subprocess
import sys

import numba
import numpy as np
import pytest

import mcgrad as mg
from mcgrad.ir.identity import identity

MODULE = """
import math
import numba
import numpy as np

SCALE = 2.0
TABLE = np.arange(3.0)

@numba.njit
def helper(x):
    return x * SCALE + TABLE[0]

def outer(power):
    @numba.njit
    def value(z, *rest):
        total = 0.0
        for x in z:
            total += helper(math.sin(x)) ** power
        return total
    return value

@numba.njit
def value_and_grad(z, grad):
    grad[:] = 1.0
    return z[0]

value = outer(2)
"""


def defined(source=MODULE):
    namespace = {"__name__": "model"}
    exec(source, namespace)
    return namespace["value"]


def test_the_same_code_is_the_same_function():
    assert identity(defined()) == identity(defined())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SCALE = 2.0", "SCALE = 2.5"),
        ("arange(3.0)", "ones(3)"),
        ("outer(2)", "outer(3)"),
        ("x * SCALE", "SCALE - x"),
        ("math.sin", "math.cos"),
        ("@numba.njit\ndef helper", "@numba.njit(fastmath=True)\ndef helper"),
        ("import math", "import cmath as math"),
        ("total = 0.0", "total = -0.0"),
    ],
)
def test_what_a_function_reads_tells_it_from_others(old, new):
    assert old in MODULE
    assert identity(defined()) != identity(defined(MODULE.replace(old, new)))


def test_a_function_may_call_itself():
    scope = {}
    exec("def f(x):\n    return 1 if x < 1 else x * f(x - 1)", scope)
    assert identity(scope["f"]) == identity(scope["f"])


def test_a_function_with_objects_that_cannot_be_described_is_another_one():
    class Anything:
        pass

    def reading(thing):
        return lambda z: thing

    assert identity(reading(Anything())) != identity(reading(Anything()))


def test_integrands_of_two_processes_are_one_problem():
    code = f"""{MODULE}
import mcgrad as mg
f = mg.Integrand(value=value, value_and_grad=value_and_grad)
q = mg.Normal(np.zeros(2), 1.0)
print(mg.Estimator(f, q, backend="numpy").fingerprint)
"""
    found = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout for _ in range(2)}
    assert len(found) == 1
    assert len(found.pop()) == 33


def test_estimates_of_an_integrand_that_is_defined_again_merge():
    def estimate(first):
        @numba.njit
        def value(z):
            return z[0] ** 2

        @numba.njit
        def value_and_grad(z, grad):
            grad[0] = 2.0 * z[0]
            return z[0] ** 2

        f = mg.Integrand(value=value, value_and_grad=value_and_grad)
        return mg.Estimator(f, mg.Normal(np.zeros(1), 1.0), backend="numpy")(100, first=first)

    assert estimate(0).merge(estimate(100)).n == 200
