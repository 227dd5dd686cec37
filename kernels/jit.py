"""Decorators that compile kernel functions: scalar functions, and the options of functions with loops.

A scalar function is inlined into its caller by Numba, before type inference. So it serves a CPU kernel and a
numba-cuda kernel alike, and LLVM sees straight-line code in the lane loop.

`LOOP` holds the options of every function that has a loop over lanes. `contract` lets a multiply and an add fuse. No
other flag of fast mathematics is set: NaN and infinity keep their meaning, and sums keep their order, but for those
made by `accumulate` (`intrinsics.py`). `error_model="numpy"` leaves out the check for division by zero, which would
prevent vectorisation.
"""

from types import FunctionType

from numba import njit

from mcgrad.kernels import symbols  # noqa: F401 - before anything is compiled

LOOP = {"fastmath": {"contract"}, "error_model": "numpy", "nogil": True}
CALLED = {**LOOP, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # by compiled code alone, not by Python
INLINED = {**CALLED, "forceinline": True}  # into each loop that calls it


def scalar(function):
    """Compile a plain scalar function so that it is inlined wherever it is called."""
    return njit(inline="always")(function)


_lanes = {}


def lane(function):
    """Compile a scalar function once, for a kernel that may call it in many places; LLVM inlines the machine code.

    So it is with the scalar functions that it calls. Numba's own inlining costs tens of milliseconds at each place,
    LLVM's next to nothing. Python itself cannot call the result. An intrinsic is returned as it is.
    """
    python = getattr(function, "py_func", None)
    if python is None:
        return function
    if function not in _lanes:
        scope = {**python.__globals__, **{name: lane(called) for name, called in _scalars(python).items()}}
        copy = FunctionType(python.__code__, scope, python.__name__)
        _lanes[function] = njit(**INLINED)(copy)
    return _lanes[function]


def _scalars(python):
    """Scalar functions that a function calls, by name."""
    found = {name: python.__globals__.get(name) for name in python.__code__.co_names}
    return {
        name: value for name, value in found.items() if getattr(value, "targetoptions", {}).get("inline") == "always"
    }
