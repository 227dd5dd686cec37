"""Both widths of a function are made of one source: its literals, its globals and what it calls."""

import numpy as np
import pytest
from numba import njit

from mcgrad.kernels import cuda32, elementary32, elementary64, special, special32
from mcgrad.kernels.intrinsics import fma
from mcgrad.kernels.jit import LOOP
from mcgrad.kernels.widths import FLOAT32, Width, by_width, each_width

EXACT, LACKING = 0.1, by_width(-1e-9, 0.0)
STEPS = by_width(2, 3)


@each_width
def shifted(x):
    return x + EXACT


@each_width
def summed(x):
    total = LACKING
    for _ in range(STEPS):
        total = fma(shifted(x), 1.0 / 3.0, total)
    return total


@each_width
def also_summed(x):
    return summed(x)


def result(function, x):
    called = njit(**LOOP)(lambda x: function(x))
    value = called(x)
    return value, str(called.nopython_signatures[0].return_type)


@pytest.mark.parametrize("width", ["float32", "float64"])
def test_literals_globals_and_calls_are_of_the_width(width):
    kind = np.dtype(width).type
    value, found = result(getattr(summed, width), kind(0.7))
    assert found == width
    steps = 2 if width == "float32" else 3
    assert value == pytest.approx(steps * (0.7 + 0.1) / 3, rel=4 * float(np.finfo(kind).eps))


def test_a_function_is_made_once():
    assert summed.float32 is summed.float32
    assert summed.float32 is not summed.float64


def test_a_width_may_put_another_function_in_place_of_one_wherever_that_is_called():
    @each_width
    def doubled(x):
        return 2.0 * x

    other = Width("other", FLOAT32.real, {shifted: doubled.float32})
    value, found = result(also_summed.at(other), np.float32(0.75))
    assert found == "float32"
    assert value == pytest.approx(2 * (2 * 0.75) / 3, rel=1e-6)
    assert result(also_summed.float32, np.float32(0.75))[0] == pytest.approx(2 * (0.75 + 0.1) / 3, rel=1e-6)


def test_gpus_have_their_own_exp_and_what_is_made_of_it():
    """Under names of their own: where code and types are equal, Numba takes two functions of a GPU for one."""
    names = {name: (getattr(cuda32, name), getattr(special32, name)) for name in special.__all__}
    codes = [(ours.py_func.__code__, theirs.py_func.__code__) for ours, theirs in names.values()]
    assert all(ours != theirs for ours, theirs in codes)
    assert cuda32.exp.py_func.__code__.co_names[:2] != elementary32.exp.py_func.__code__.co_names[:2]


def test_modules_of_both_widths_have_the_same_names():
    assert elementary32.__all__ == elementary64.__all__
    assert all(hasattr(module, name) for module in (elementary32, elementary64) for name in module.__all__)
