"""One compiled lane loop per kernel function and dtype, shared by all tests of a session."""

import importlib
from functools import cache

import numpy as np
from numba import njit

from mcgrad.kernels import elementary64, special64
from mcgrad.kernels.intrinsics import prefer_vector_width
from mcgrad.kernels.jit import LOOP, lane

FLOATS = {32: np.float32, 64: np.float64}
GAMMA = {"gamma_log_ratio", "gamma_slope_a", "gamma_slope_e"}
BINARY = {"arctan2", "hypot", "logaddexp", "maximum", "minimum", "nextafter", "power"} | GAMMA
NAMES = elementary64.__all__ + special64.__all__


def function(name, bits):
    for module in ("elementary", "special"):
        found = getattr(importlib.import_module(f"mcgrad.kernels.{module}{bits}"), name, None)
        if found is not None:
            return found
    raise AttributeError(name)


@cache
def loop(name, bits):
    scalar = lane(function(name, bits))  # as an emitted kernel calls it
    if name in BINARY:

        def run(x, y, out):
            prefer_vector_width()
            for i in range(out.size):
                out[i] = scalar(x[i], y[i])
    else:

        def run(x, out):
            prefer_vector_width()
            for i in range(out.size):
                out[i] = scalar(x[i])

    kind = f"float{bits}[::1]"
    result = "boolean[::1]" if name.startswith("is") else kind
    arguments = [kind, kind, result] if name in BINARY else [kind, result]
    return njit(f"void({', '.join(arguments)})", **LOOP)(run)


def evaluate(name, bits, *arguments):
    arrays = [np.ascontiguousarray(argument, FLOATS[bits]) for argument in arguments]
    out = np.empty(arrays[0].size, bool if name.startswith("is") else FLOATS[bits])
    loop(name, bits)(*arrays, out)
    return out
