"""The float32 functions of the GPU on NumPy arrays, their instructions as inexact as NVIDIA's documents allow.

ex2.approx errs by up to 2 ulps, div.full by 2 ulps, sqrt.approx by 2**-23 of the result (PTX ISA and the CUDA
programming guide); here each errs by that much, up or down at random. All else is exact or rounded once.
"""

from __future__ import annotations

from functools import reduce
from types import FunctionType
from typing import Any

import numpy as np

from mcgrad.kernels import cuda32

F = np.float32
_rng = np.random.default_rng(1)


def _off(exact, ulps):
    """Numbers in float32 that miss the float64 ones by `ulps` units in the last place."""
    with np.errstate(all="ignore"):
        near = exact.astype(F)
        step = np.where(np.isfinite(near) & (near != 0), np.spacing(np.abs(near)), F(0))
    return np.asarray(near + _rng.choice([-1, 1], np.shape(near)).astype(F) * ulps * step, F)


def _wide(*args):
    return [np.asarray(x, np.float64) for x in args]


def fma(x, y, z):
    x, y, z = _wide(x, y, z)
    return (x * y + z).astype(F)


def polynomial(x, coefficients):
    return reduce(lambda total, c: fma(total, x, F(c)), reversed(coefficients[:-1]), F(coefficients[-1]))


def divide(x, y):
    x, y = _wide(x, y)
    return _off(x / y, 2)


def square_root(x):
    root = np.sqrt(_wide(x)[0])
    return (root * (1 + _rng.choice([-1, 1], root.shape) * 2.0**-23)).astype(F)


def float_bits(x):
    return np.asarray(x, F).view(np.int32)


def bits_float(x):
    return np.asarray(x, np.int32).view(F)


SHIMS: dict[str, Any] = {
    "fma": fma,
    "polynomial": polynomial,
    "long_polynomial": lambda x, x2, c: fma(polynomial(x2, c[1::2]), x, polynomial(x2, c[::2])),
    "divide": divide,
    "square_root": square_root,
    "root_of_normal": square_root,
    "exp2_instruction": lambda x: _off(np.exp2(_wide(x)[0]), 2),
    "select": lambda condition, a, b: np.where(condition, a, b),
    "absolute": np.abs,
    "floor": np.floor,
    "copysign": np.copysign,
    "exact_add": np.add,
    "exact_sub": np.subtract,
    "exact_mul": np.multiply,
    **dict.fromkeys(("float_bits", "float_bits32"), float_bits),
    **dict.fromkeys(("bits_float", "bits_float32"), bits_float),
    **dict.fromkeys(("sint", "int32"), lambda x: np.asarray(x).astype(np.int32)),
    **dict.fromkeys(("uint", "uint32"), lambda x: np.asarray(x).astype(np.uint32)),
}
_made: dict[Any, Any] = {}


def polynomial2(rows):
    return lambda x, y: polynomial(y, [polynomial(x, row) for row in rows])


def emulated(function: Any) -> Any:
    """Return a kernel function as one of arrays."""
    if hasattr(function, "rows"):
        return polynomial2(function.rows)
    python = getattr(function, "py_func", None)
    name = getattr(function, "__name__", "")
    if python is None or name in SHIMS:
        return SHIMS.get(name, function)
    if python not in _made:
        scope: dict[str, Any] = {}
        _made[python] = FunctionType(python.__code__, scope, python.__name__)
        names = {k: v for k, v in python.__globals__.items() if k in python.__code__.co_names}
        scope.update({k: SHIMS[k] if k in SHIMS else emulated(v) for k, v in names.items()})
    return _made[python]


def evaluate(name: str, *arguments: Any) -> Any:
    """Evaluate one of the GPU's float32 functions."""
    with np.errstate(all="ignore"):
        return np.asarray(emulated(getattr(cuda32, name))(*[np.asarray(x, F) for x in arguments]))
