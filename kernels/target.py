"""Numba's CUDA target, from numba-cuda, patched to load on NumPy 2.5; modules for GPUs import `cuda` from here.

numba-cuda 0.30 overloads `np.row_stack`, which NumPy 2.5 removed, when it first compiles something: the name is
defined again, as the alias of `np.vstack` that it was. Its import uses a form of `np.timedelta64` that NumPy 2.5
deprecates; that warning is ignored, as it would be an error under ``-W error``. Where NumPy has the name, or numba-cuda
does not warn, nothing is changed.
"""

import warnings

import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from numba import cuda

if not hasattr(np, "row_stack"):
    np.row_stack = np.vstack

__all__ = ["cuda"]
