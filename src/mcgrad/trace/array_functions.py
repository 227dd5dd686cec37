"""The table of traced NumPy functions that are not ufuncs: the function, and the one that builds its Vars.

An entry takes Vars where NumPy takes arrays, and the arguments under NumPy's names; a keyword that it does not have is
refused by name. It returns a Var, a list or tuple of Vars, or a plain value that depends on the shape alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mcgrad.trace import (
    elementwise,
    linear_algebra,
    lookup,
    polynomials,
    positions,
    products,
    reductions,
    shaping,
    sorting,
)

FUNCTIONS: dict[str, Callable[..., Any]] = {
    # element by element
    "where": elementwise.where,
    "select": elementwise.select,
    "piecewise": elementwise.piecewise,
    "clip": elementwise.clip,
    "nan_to_num": elementwise.nan_to_num,
    "sinc": elementwise.sinc,
    "copy": elementwise.same,
    "real": elementwise.same,
    # of the shape
    "shape": elementwise.shape,
    "ndim": elementwise.ndim,
    "size": elementwise.size,
    "zeros_like": elementwise.zeros_like,
    "empty_like": elementwise.zeros_like,
    "ones_like": elementwise.ones_like,
    "full_like": elementwise.full_like,
    # found by value
    "argmax": positions.argmax,
    "argmin": positions.argmin,
    "argsort": positions.argsort,
    "searchsorted": lookup.searchsorted,
    "digitize": lookup.digitize,
    "interp": lookup.interp,
    # sums, extremes, moments
    "sum": reductions.sum,
    "prod": reductions.prod,
    "max": reductions.max,
    "min": reductions.min,
    "amax": reductions.max,
    "amin": reductions.min,
    "any": reductions.any,
    "all": reductions.all,
    "count_nonzero": reductions.count_nonzero,
    "mean": reductions.mean,
    "average": reductions.average,
    "var": reductions.var,
    "std": reductions.std,
    "ptp": reductions.ptp,
    # sorted values
    "sort": sorting.sort,
    "partition": sorting.partition,
    "median": sorting.median,
    "quantile": sorting.quantile,
    "percentile": sorting.percentile,
    # running
    "cumsum": reductions.cumsum,
    "cumprod": reductions.cumprod,
    "diff": reductions.diff,
    "trapezoid": reductions.trapezoid,
    # products
    "dot": products.dot,
    "vdot": products.vdot,
    "inner": products.inner,
    "outer": products.outer,
    "kron": products.kron,
    "cross": products.cross,
    "einsum": products.einsum,
    "tensordot": products.tensordot,
    "trace": products.trace,
    "diagonal": products.diagonal,
    "diag": products.diag,
    "tril": products.tril,
    "triu": products.triu,
    # matrices
    "linalg.cholesky": linear_algebra.cholesky,
    "linalg.solve": linear_algebra.solve,
    "linalg.inv": linear_algebra.inv,
    "linalg.det": linear_algebra.det,
    "linalg.slogdet": linear_algebra.slogdet,
    "linalg.matrix_power": linear_algebra.matrix_power,
    "linalg.eigvalsh": linear_algebra.eigvalsh,
    "linalg.eigh": linear_algebra.eigh,
    "linalg.svdvals": linear_algebra.svdvals,
    "linalg.cond": linear_algebra.cond,
    "linalg.norm": linear_algebra.norm,
    # polynomials
    "polyval": polynomials.polyval,
    "vander": polynomials.vander,
    "convolve": polynomials.convolve,
    # shape
    "reshape": shaping.reshape,
    "ravel": shaping.ravel,
    "squeeze": shaping.squeeze,
    "expand_dims": shaping.expand_dims,
    "broadcast_to": shaping.broadcast_to,
    "broadcast_arrays": shaping.broadcast_arrays,
    "transpose": shaping.transpose,
    "permute_dims": shaping.transpose,
    "matrix_transpose": shaping.matrix_transpose,
    "swapaxes": shaping.swapaxes,
    "moveaxis": shaping.moveaxis,
    "atleast_1d": shaping.at_least(1),
    "atleast_2d": shaping.at_least(2),
    "meshgrid": shaping.meshgrid,
    # joining and splitting
    "concatenate": shaping.concatenate,
    "stack": shaping.stack,
    "hstack": shaping.hstack,
    "vstack": shaping.vstack,
    "column_stack": shaping.column_stack,
    "append": shaping.append,
    "split": shaping.split,
    "array_split": shaping.array_split,
    "hsplit": shaping.hsplit,
    "vsplit": shaping.vsplit,
    # rearranging
    "flip": shaping.flip,
    "roll": shaping.roll,
    "repeat": shaping.repeat,
    "tile": shaping.tile,
    "take": lookup.take,
    "take_along_axis": lookup.take_along_axis,
    "choose": lookup.choose,
    "pad": shaping.pad,
    "fliplr": lambda m: shaping.flip(m, 1),
    "flipud": lambda m: shaping.flip(m, 0),
}


def resolve(name: str) -> Any:
    """Return NumPy's function of this dotted name, or None where this NumPy does not have it."""
    found: Any = np
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


BUILDERS: dict[Any, Callable[..., Any]] = {
    resolve(name): builder for name, builder in FUNCTIONS.items() if resolve(name) is not None
}

JUMPING = frozenset((positions.argmax, positions.argmin, positions.argsort, lookup.searchsorted, lookup.digitize))
