"""The methods and attributes that a Tracer shares with ndarray, as tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mcgrad.ir.program import Var
from mcgrad.trace import elementwise, products, reductions, shaping
from mcgrad.trace.arguments import as_dtype


def _reshape(x: Var, *shape: Any) -> Var:
    return shaping.reshape(x, shape[0] if len(shape) == 1 else shape)


def _transpose(x: Var, *axes: Any) -> Var:
    return shaping.transpose(x, None if not axes else axes[0] if len(axes) == 1 else axes)


def _astype(x: Var, dtype: Any) -> Var:
    return as_dtype(x, dtype, "astype")


ATTRIBUTES: dict[str, Callable[[Var], Var]] = {
    "T": shaping.transpose,
    "mT": shaping.matrix_transpose,
    "real": elementwise.same,
}

METHODS: dict[str, Callable[..., Any]] = {
    "all": reductions.all,
    "any": reductions.any,
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
    "take": shaping.take,
    "trace": products.trace,
    "transpose": _transpose,
    "var": reductions.var,
}

REMEDIES: dict[str, str] = {
    "item": "compute with the array itself",
    "tolist": "iterate over the array itself, or index it",
    "fill": "use np.full_like",
    "sort": "sorting is not supported; np.max, np.min and np.where choose by value",
    "argsort": "sorting is not supported; np.max, np.min and np.where choose by value",
    "argmax": "use np.max, or np.where(x == np.max(x), a, b)",
    "argmin": "use np.min, or np.where(x == np.min(x), a, b)",
    "nonzero": "how many elements it finds depends on the draw; use np.where(condition, a, b)",
}
