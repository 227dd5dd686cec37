"""Kernels over rows of the stand-in for CuPy that are the emitted ones, and our own, in numba's simulator."""

import math
import warnings
from types import FunctionType

import numpy as np

from mcgrad.kernels import cuda_rows
from mcgrad.kernels.target import cuda
from tests.cuda import row_machines, simulator

SCALARS = {
    "int32": np.int32,
    "int64": np.int64,
    "boolean": np.bool_,
    "float64": np.float64,
}


def typed(kinds, arguments):
    """Give numbers the types that a kernel declares."""
    return [SCALARS[k](x) if k in SCALARS else x for k, x in zip(kinds, arguments, strict=False)]


def simulated_rows(compiled):
    """Return the kernel over rows."""
    launch, emitted = simulator.kernel(compiled.emitted, str(compiled.dtype)), compiled.emitted

    def run(grid, threads, shared, *arguments):
        assert (threads, shared) == (emitted.threads, emitted.shared)
        given = typed(row_machines.ROWS, arguments)
        launch(grid, *given, *arguments[len(given) :])

    return run


def own_kernel(python, kinds):
    """Return one of our own kernels."""
    names = simulator.Loader("float64").names
    names |= {key: value for key, value in vars(cuda_rows).items() if key.isupper()} | {"math": math}
    function = cuda.jit(FunctionType(python.__code__, names, python.__name__))

    def run(grid, threads, shared, *arguments):
        assert (threads, shared) == (cuda_rows.THREADS, 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            function[grid, threads](*typed(kinds, arguments))

    return run


OVER_ROWS = (
    simulated_rows,
    own_kernel(cuda_rows.merge_rows, row_machines.MERGE_ROWS),
    own_kernel(cuda_rows.add_rows, row_machines.ADD_ROWS),
)
