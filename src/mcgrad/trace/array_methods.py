"""The methods and attributes that a Tracer shares with ndarray, as tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mcgrad.ir.build import apply
from mcgrad.ir.program import Var
from mcgrad.trace import elementwise, lookup, positions, products, reductions, remedies, shaping
from mcgrad.trace.operands import as_dtype
from mcgrad.trace.whole import is_whole_anyway


def _reshape(x: Var, *shape: Any) -> Var:
    return shaping.reshape(x, shape[0] if len(shape) == 1 else shape)


def _transpose(x: Var, *axes: Any) -> Var:
    return shaping.transpose(x, None if not axes else axes[0] if len(axes) == 1 else axes)


def _astype(x: Var, dtype: Any) -> Var:
    if np.dtype(dtype).kind in "iu":  # whole numbers, that index
        x = apply("float", x)
        if is_whole_anyway(x):
            return x
        return apply("where", apply("less", x, 0.0), apply("ceil", x), apply("floor", x))
    return as_dtype(x, dtype, "astype")


ATTRIBUTES: dict[str, Callable[[Var], Var]] = {
    "T": shaping.transpose,
    "mT": shaping.matrix_transpose,
    "real": elementwise.same,
}

METHODS: dict[str, Callable[..., Any]] = {
    "all": reductions.all,
    "any": reductions.any,
    "argmax": positions.argmax,
    "argmin": positions.argmin,
    "argsort": positions.argsort,
    "astype": _astype,
    "clip": elementwise.clip,
    "conj": elementwise.same,
    "conjugate": elementwise.same,
    "copy": elementwise.same,
    "cumprod": reductions.cumprod,
    "cumsum": reductions.cumsum,
    "diagonal": products.diagonal,
    "dot": products.dot,
    "flatten": shaping.ravel,
    "max": reductions.max,
    "mean": reductions.mean,
    "min": reductions.min,
    "prod": reductions.prod,
    "ravel": shaping.ravel,
    "repeat": shaping.repeat,
    "reshape": _reshape,
    "squeeze": shaping.squeeze,
    "std": reductions.std,
    "sum": reductions.sum,
    "swapaxes": shaping.swapaxes,
    "take": lookup.take,
    "trace": products.trace,
    "transpose": _transpose,
    "var": reductions.var,
}

METHOD_REMEDIES: dict[str, str] = {
    "sort": "use z = np.sort(z)",
    "item": "compute with the array itself",
    "tolist": "iterate over the array itself, or index it",
    "fill": "use np.full_like",
    "pow": "use z ** p or np.power",
    "at": "build a new array with np.where(mask, value, z) or np.concatenate",
    "view": "use .reshape",
    "unsqueeze": "use z[..., None] or np.expand_dims",
    "permute": "use .transpose",
    "dim": "use .ndim",
    "sigmoid": "use scipy.special.expit",
    "norm": "use np.linalg.norm",
    "iloc": "index it as a NumPy array",
    "loc": "index it as a NumPy array",
}


def remedy(name: str) -> str:
    """Say what to write for an attribute that an array does not have, as tensors of other libraries do."""
    if name in ("detach", "numpy", "cpu", "to", "to_numpy", "values", "block_until_ready", "requires_grad"):
        return "leave it out: what f is given takes NumPy's functions as it is"
    if name in METHOD_REMEDIES:
        return METHOD_REMEDIES[name]
    if name in remedies.FUNCTIONS:
        return remedies.FUNCTIONS[name]
    if callable(getattr(np, name, None)):
        return f"use np.{name}"
    return "it is not among the supported methods and attributes, which docs/numpy.md lists"
